from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segcore.nn import resume_files
from segcore.nn.resume_files import ResumeFiles


def files_in(folder: Path, fingerprint: str = "a", keep: int = 2) -> ResumeFiles:
    return ResumeFiles(folder, fingerprint, keep)


def save(files: ResumeFiles, *iterations: int) -> None:
    for iteration in iterations:
        parts = {
            "model": {"weight": torch.full((3,), float(iteration))},
            "optimizer": {"state": {}, "param_groups": []},
        }
        files.save(iteration, parts)


def loaded_iteration(files: ResumeFiles) -> int | None:
    state = files.load_newest()
    return None if state is None else int(state["iteration"])


def test_the_newest_is_loaded_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    save(files_in(tmp_path), 4, 8, 12)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "iteration_00000008.pth",
        "iteration_00000008.sha256",
        "iteration_00000012.pth",
        "iteration_00000012.sha256",
    ]
    state = files_in(tmp_path).load_newest()
    assert state is not None
    assert torch.equal(state["model"]["weight"], torch.full((3,), 12.0))


def test_at_least_two_are_kept_whatever_is_asked(tmp_path: Path) -> None:
    save(files_in(tmp_path, keep=1), 1, 2, 3)
    assert len(list(tmp_path.glob("*.pth"))) == 2


def test_an_empty_or_missing_folder_means_from_the_beginning(tmp_path: Path) -> None:
    assert loaded_iteration(files_in(tmp_path)) is None
    assert loaded_iteration(files_in(tmp_path / "missing")) is None


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "no_digest", "digest_of_other"])
def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    save(files_in(tmp_path), 4, 8)
    newest, digest = tmp_path / "iteration_00000008.pth", tmp_path / "iteration_00000008.sha256"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    {
        "cut": lambda: newest.write_bytes(data[:100]),
        "bit": lambda: newest.write_bytes(data),
        "empty": lambda: newest.write_bytes(b""),
        "no_digest": lambda: digest.unlink(),
        "digest_of_other": lambda: digest.write_text("0" * 64),
    }[damage]()
    assert loaded_iteration(files_in(tmp_path)) == 4
    aside = tmp_path / "quarantine" / "iteration_00000008.0"
    assert (aside / newest.name).exists()
    assert "sha256" in (aside / "reason.txt").read_text()


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    save(files_in(tmp_path, fingerprint="a"), 4)
    assert loaded_iteration(files_in(tmp_path, fingerprint="b")) is None
    assert "other settings" in (tmp_path / "quarantine" / "iteration_00000004.0" / "reason.txt").read_text()


@pytest.mark.parametrize("point", ["fsync", "write_durably", "sha256_of"])
def test_a_death_while_saving_leaves_the_older_checkpoint_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    save(files_in(tmp_path), 4)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume_files, point, die)
        with pytest.raises(KeyboardInterrupt):
            save(files_in(tmp_path), 8)
    assert loaded_iteration(files_in(tmp_path)) == 4
    save(files_in(tmp_path), 8)
    assert loaded_iteration(files_in(tmp_path)) == 8


def test_checkpoints_hold_tensors_and_plain_values_only(tmp_path: Path) -> None:
    save(files_in(tmp_path), 4)
    assert set(torch.load(tmp_path / "iteration_00000004.pth", weights_only=True)) == {
        "format",
        "fingerprint",
        "iteration",
        "model",
        "optimizer",
    }
