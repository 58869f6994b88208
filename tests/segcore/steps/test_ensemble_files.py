"""Ensembles on disk: what their files say, and how they are laid out for other programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from segcore.errors import CheckpointError, ConfigError
from segcore.process.jobs import TeacherFiles
from segcore.records import Checkpoint
from segcore.steps import placed_models
from segcore.steps.ensemble_files import Member, earlier_teachers, ensemble_text, member_of, read_ensemble, teachers_of
from segcore.steps.model_files import ModelRequest, find_model
from segcore.steps.placed_models import place_model
from segcore.steps.run import Run

CLASSES = '{"names": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "category_ids": [null, 1]}'


def ensemble(run: Run, name: str, **shares: float) -> Checkpoint:
    """Write an ensemble of models m0, m1 … into a folder of a run."""
    folder = run.path / name
    members = [Member(int(model[1:]), share, f"{name}{model}", "config") for model, share in shares.items()]
    for member in members:
        (folder / member.folder).mkdir(parents=True)
        for file in ("model.pth", "model_config.py", "earlier_0.pth", "earlier_1.pth"):
            (folder / member.folder / file).write_text(f"{name} {member.model} {file}")
    (folder / "lineage.json").write_text("{}")
    (folder / "ensemble.json").write_text(ensemble_text(members))
    path = f"{name}/ensemble.json"
    return Checkpoint(path, f"digest of {name}", path, f"{name}/lineage.json")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run("run", str(tmp_path))


def test_a_checkpoint_is_one_teacher_and_an_ensemble_its_members_with_their_shares(run: Run) -> None:
    single = Checkpoint("student/model.pth", "digest", "student/model_config.py", "student/lineage.json")
    assert teachers_of(run, single) == (
        TeacherFiles(f"{run.path}/student/model.pth", f"{run.path}/student/model_config.py"),
    )
    found = teachers_of(run, ensemble(run, "one", m0=0.3, m2=0.7))
    assert [(Path(files.checkpoint).parent.name, files.weight) for files in found] == [
        ("member_0", 0.3),
        ("member_2", 0.7),
    ]
    assert Path(found[1].config).read_text() == "one 2 model_config.py"


def test_weights_kept_on_the_way_are_those_of_all_members(run: Run) -> None:
    joined = ensemble(run, "one", m0=0.5, m1=0.5)
    assert earlier_teachers(run, joined) == ()
    kept = earlier_teachers(run, Checkpoint(*list(vars(joined).values())[:4], ("a", "b", "c", "d")))
    assert [Path(files.checkpoint).read_text() for files in kept] == [
        f"one {model} earlier_{index}.pth" for model in (0, 1) for index in (0, 1)
    ]
    assert Path(kept[2].config).read_text() == "one 1 model_config.py"


def test_a_model_finds_its_own_weights_in_an_ensemble(run: Run) -> None:
    joined = ensemble(run, "one", m0=0.5, m2=0.5)
    own = member_of(run, joined, 2)
    assert own is not None
    assert (own.digest, (run.path / own.path).read_text(), own.lineage) == ("onem2", "one 2 model.pth", joined.lineage)
    assert member_of(run, joined, 1) is None
    single = Checkpoint("student/model.pth", "digest", "student/model_config.py", "student/lineage.json")
    assert (member_of(run, single, 0), member_of(run, single, 1), member_of(run, None, 0)) == (single, None, None)


@pytest.mark.parametrize("text", ["no json", "[]", '{"format": 2, "members": []}', '{"format": 1, "members": []}'])
def test_anything_else_is_refused_with_what_was_expected(tmp_path: Path, text: str) -> None:
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"ensemble\.json: expected the members of an ensemble, format 1"):
        read_ensemble(tmp_path / "ensemble.json")


def test_what_is_laid_out_follows_the_checkpoint_and_nothing_else_stays(run: Run) -> None:
    folder = run.path / "outputs"
    folder.mkdir()
    single = run.path / "student"
    single.mkdir()
    for name in ("model.pth", "model_config.py", "lineage.json"):
        (single / name).write_text(name)
    checkpoint = Checkpoint("student/model.pth", "digest", "student/model_config.py", "student/lineage.json")

    def names() -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    place_model(run, ensemble(run, "one", m0=0.5, m1=0.5), folder, CLASSES)
    place_model(run, ensemble(run, "two", m1=1.0), folder, CLASSES)
    assert names() == {
        "classes.json", "ensemble/classes.json", "ensemble/ensemble.json", "ensemble/lineage.json",
        "ensemble/member_1/model.pth", "ensemble/member_1/model_config.py",
    }  # fmt: skip
    assert (folder / "ensemble" / "member_1" / "model.pth").read_text() == "two 1 model.pth"
    place_model(run, checkpoint, folder, CLASSES)
    assert names() == {"classes.json", "model.pth", "model_config.py", "lineage.json"}


def test_while_members_change_there_is_no_ensemble_json_that_lies(run: Run, monkeypatch) -> None:
    (run.path / "outputs").mkdir()
    place_model(run, ensemble(run, "one", m0=0.5, m1=0.5), run.path / "outputs", CLASSES)

    def full(source: Path, target: Path) -> None:
        raise OSError("no space")

    monkeypatch.setattr(placed_models, "place_file", full)
    with pytest.raises(OSError, match="no space"):
        place_model(run, ensemble(run, "two", m0=0.5, m1=0.5), run.path / "outputs", CLASSES)
    assert not (run.path / "outputs" / "ensemble" / "ensemble.json").exists()


def test_a_folder_of_an_ensemble_is_a_model_anywhere_and_takes_no_config(run: Run) -> None:
    (run.path / "outputs").mkdir()
    place_model(run, ensemble(run, "one", m0=0.25, m1=0.75), run.path / "outputs", CLASSES)
    for name in ("outputs", "outputs/ensemble", "outputs/ensemble/ensemble.json"):
        found = find_model(ModelRequest(None, str(run.path / name)))
        assert [files.weight for files in found.teachers] == [0.25, 0.75]
        assert found.known_classes.names == ("a", "b")
    with pytest.raises(ConfigError, match="its members have configs of their own"):
        find_model(ModelRequest(None, str(run.path / "outputs"), config="mine.py"))
