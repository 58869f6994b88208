import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import RunError, StepError
from segcore.records import StepOutput
from segcore.store.layout import MANIFEST, RunLayout
from segcore.store.publish import ensure, find, look, publish, published_candidates
from segcore.store.steps import Step, difference

STEP = Step("label", 1, "round_01/labels/shard_0000", {"weights": "abc", "views": {"sizes": (1, 2)}}, shared=True)


class Builder:
    """Builds a step of three files and counts how often."""

    def __init__(self, text: str = "result") -> None:
        self.text = text
        self.count = 0

    def __call__(self, folder: Path) -> object:
        self.count += 1
        (folder / "a.bin").write_text(self.text)
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "b.bin").write_bytes(b"")
        (folder / "logs").mkdir()
        (folder / "logs" / "log").write_text(f"attempt {self.count}")
        return {"shape": (2, 3)}


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "run"


def reasons(run_dir: Path) -> list[str]:
    return [json.loads(path.read_text())["reason"] for path in sorted(run_dir.glob("quarantine/*/reason.json"))]


def test_a_step_is_made_once_and_reused_with_the_same_value_and_digest(run_dir):
    build = Builder()
    first, second = ensure(run_dir, STEP, build), ensure(run_dir, STEP, build)
    assert build.count == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.value == second.value == {"shape": [2, 3]}
    assert (first.path, first.digest, first.key) == (second.path, second.digest, STEP.key)
    assert first.path == run_dir / STEP.folder
    assert not first.path.with_name(first.path.name + ".work").exists()
    assert second.output(run_dir) == StepOutput("label", STEP.folder, STEP.key, first.digest, reused=True)


def test_the_manifest_says_what_went_in_and_what_came_out(run_dir):
    published = publish(run_dir, STEP, Builder())
    manifest = json.loads((published.path / MANIFEST).read_text())
    assert manifest["format"] == 1
    assert manifest["inputs"] == {"weights": "abc", "views": {"sizes": [1, 2]}}
    assert sorted(manifest["files"]) == ["a.bin", "deep/er/b.bin", "logs/log"]
    assert manifest["files"]["a.bin"]["size"] == 6
    assert manifest["environment"]["python"]


def test_equal_content_has_an_equal_digest_whatever_the_logs_say(run_dir, tmp_path):
    build = Builder()
    digests = {ensure(tmp_path / name, STEP, build).digest for name in ("one", "two")}
    assert build.count == 2
    assert len(digests) == 1
    assert ensure(run_dir, STEP, Builder("other")).digest not in digests


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "a.bin").write_text("resulT"), "must have sha256"),
        (lambda folder: (folder / "a.bin").write_text("resul"), "must have 6 bytes, and has 5"),
        (lambda folder: (folder / "a.bin").unlink(), "must exist (6 bytes), and does not"),
        (lambda folder: shutil.rmtree(folder / "deep"), "must exist (0 bytes), and does not"),
        (lambda folder: (folder / MANIFEST).unlink(), "must exist in a published step"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is damaged"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "is damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 1}'), "is damaged"),
        (lambda folder: change_manifest(folder, value={"shape": [9]}), "the digest must be the hash"),
        (lambda folder: change_manifest(folder, inputs={"weights": "abd"}), "the key must be the hash"),
        (lambda folder: change_manifest(folder, key="0" * 64), "the key must be the hash"),
        (lambda folder: change_manifest(folder, format=0), "is damaged: format 0"),
        (lambda folder: replace_by_link(folder / "a.bin"), "must be a plain file"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("a file")), "must exist in a published step"),
    ],
)
def test_what_is_not_whole_is_set_aside_with_its_reason_and_made_again(run_dir, damage, reason):
    build = Builder()
    before = ensure(run_dir, STEP, build)
    damage(before.path)
    after = ensure(run_dir, STEP, build)
    assert build.count == 2
    assert (after.digest, after.reused) == (before.digest, False)
    assert len(reasons(run_dir)) == 1
    assert reason in reasons(run_dir)[0]


def change_manifest(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}))


def replace_by_link(path: Path) -> None:
    moved = path.rename(path.with_name("elsewhere"))
    path.symlink_to(moved)


def test_a_folder_named_like_the_step_but_with_another_key_is_set_aside(run_dir):
    other = Step("label", 2, STEP.place, {})
    published = publish(run_dir, other, Builder())
    published.path.rename(run_dir / STEP.folder)
    assert find(run_dir, STEP) is None
    assert f"must have key {STEP.key}" in reasons(run_dir)[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_any_flipped_bit_of_the_manifest_is_found_or_does_no_harm(tmp_path_factory, position, bit):
    run_dir = tmp_path_factory.mktemp("run")
    before = publish(run_dir, STEP, Builder())
    data = bytearray((before.path / MANIFEST).read_bytes())
    data[position % len(data)] ^= 1 << bit
    (before.path / MANIFEST).write_bytes(data)
    try:
        found = find(run_dir, STEP)
    except RunError:  # the flipped bit was in the format number
        return
    assert found is None or (found.digest, found.value, found.key) == (before.digest, before.value, before.key)


def test_looking_moves_nothing(run_dir):
    published = ensure(run_dir, STEP, Builder())
    found = look(run_dir, STEP)
    assert found is not None
    assert (found.digest, found.reused) == (published.digest, True)
    (published.path / "a.bin").unlink()
    assert look(run_dir, STEP) is None
    assert published.path.exists()
    assert reasons(run_dir) == []


def test_several_broken_results_are_kept_apart_in_quarantine(run_dir):
    for _ in range(3):
        (ensure(run_dir, STEP, Builder()).path / "a.bin").unlink()
    assert find(run_dir, STEP) is None
    assert len(reasons(run_dir)) == 3


def test_a_lost_log_does_not_cost_the_step(run_dir):
    shutil.rmtree(publish(run_dir, STEP, Builder()).path / "logs")
    assert find(run_dir, STEP) is not None


def test_a_manifest_of_a_newer_format_is_refused_with_the_way_out_and_left_alone(run_dir):
    folder = publish(run_dir, STEP, Builder()).path
    change_manifest(folder, format=2)
    with pytest.raises(RunError, match="install the segloop that wrote it"):
        find(run_dir, STEP)
    assert folder.exists()


def test_a_moved_and_a_copied_run_go_on(run_dir, tmp_path):
    published = publish(run_dir, STEP, Builder())
    shutil.copytree(run_dir, tmp_path / "copy")
    run_dir.rename(tmp_path / "moved")
    for place in ("copy", "moved"):
        found = find(tmp_path / place, STEP)
        assert found is not None
        assert found.digest == published.digest


def test_a_shared_step_is_found_in_another_round_and_a_private_one_is_not(run_dir):
    published = publish(run_dir, STEP, Builder())
    later = Step(STEP.kind, STEP.version, "round_07/labels/shard_0000", STEP.inputs, shared=True)
    found = find(run_dir, later)
    assert found is not None
    assert found.path == published.path
    assert find(run_dir, Step(later.kind, later.version, later.place, later.inputs)) is None
    assert find(run_dir, Step("label", 1, "round_07/labels/shard_0001", STEP.inputs, shared=True)) is None


def test_a_broken_result_of_another_round_is_set_aside_and_made_in_this_one(run_dir):
    (publish(run_dir, STEP, Builder()).path / "a.bin").unlink()
    later = Step(STEP.kind, STEP.version, "final/labels/shard_0000", STEP.inputs, shared=True)
    assert ensure(run_dir, later, Builder()).path == run_dir / later.folder
    assert len(reasons(run_dir)) == 1


def test_an_error_of_build_passes_through_and_leaves_nothing(run_dir):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise StepError("out of memory")

    with pytest.raises(StepError, match="out of memory"):
        ensure(run_dir, STEP, fail)
    assert [path for path in run_dir.rglob("*") if path.is_file()] == []


def test_a_value_that_is_not_json_is_refused_before_anything_is_published(run_dir):
    with pytest.raises(ValueError, match=r"value\.miou must be a finite number"):
        ensure(run_dir, STEP, lambda folder: {"miou": float("nan")})
    assert find(run_dir, STEP) is None


def test_links_cannot_be_published(run_dir):
    with pytest.raises(StepError, match="must be a plain file or folder"):
        ensure(run_dir, STEP, lambda folder: (folder / "link").symlink_to("/etc/hostname"))


def test_what_a_dead_attempt_left_is_removed_and_its_resume_files_are_kept_until_the_step_is_done(run_dir):
    layout = RunLayout(run_dir)
    for folder in (layout.work_dir(STEP), layout.resume_dir(STEP)):
        folder.mkdir(parents=True)
        (folder / "old").write_text("x")
    seen = []

    def build(folder: Path) -> None:
        seen.extend(path.name for path in folder.iterdir())
        assert (layout.resume_dir(STEP) / "old").exists()

    assert list(ensure(run_dir, STEP, build).path.iterdir()) == [run_dir / STEP.folder / MANIFEST]
    assert seen == []
    assert not layout.resume_dir(STEP).exists()


def test_publishing_over_an_existing_result_sets_the_old_one_aside(run_dir):
    publish(run_dir, STEP, Builder("old"))
    assert (publish(run_dir, STEP, Builder("new")).path / "a.bin").read_text() == "new"
    assert reasons(run_dir) == ["made again by request"]


def test_candidates_of_other_keys_tell_why_a_step_is_redone(run_dir):
    publish(run_dir, STEP, Builder())
    new = Step("label", 1, STEP.place, {"weights": "abc", "views": {"sizes": (1, 3)}})
    assert find(run_dir, new) is None
    ((folder, manifest),) = published_candidates(run_dir, new.place)
    assert folder == run_dir / STEP.folder
    assert difference(new, manifest.inputs) == ("views.sizes",)
    assert published_candidates(run_dir, "round_09/student") == ()
