import os
import shutil

import pytest

from segcore.store.publish import find, publish
from segcore.store.steps import Step
from segcore.store.verify import verify_run

STEPS = [Step("index", 1, "index", {}), Step("label", 1, "round_01/labels/shard_0000", {"a": 1})]


def build(folder):
    (folder / "logs").mkdir()
    (folder / "logs" / "log").write_text("x")
    (folder / "a.bin").write_text("result")


@pytest.fixture
def run_dir(tmp_path):
    for step in STEPS:
        publish(tmp_path, step, build)
    for name in ("quarantine/index.00000000", "outputs/a.00000000", "round_01/student.00000000.work"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_a_whole_run_has_no_findings_and_is_counted(run_dir):
    verification = verify_run(run_dir)
    assert verification.whole
    assert verification.findings == ()
    assert (verification.num_steps, verification.num_files, verification.num_bytes) == (2, 4, 14)


@pytest.mark.parametrize(
    ("damage", "problem", "harmful"),
    [
        (lambda folder: (folder / "a.bin").write_text("resulT"), "must have sha256", True),
        (lambda folder: (folder / "a.bin").unlink(), "must exist", True),
        (lambda folder: (folder / "manifest.json").unlink(), "must exist", True),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "is damaged", True),
        (lambda folder: folder.rename(folder.with_suffix(".0123abcd")), "must end in the key", True),
        (lambda folder: (folder / "logs" / "log").unlink(), "log logs/log is missing", False),
        (lambda folder: (folder / "logs" / "log").write_text("y"), "log logs/log has changed", False),
        (lambda folder: (folder / "notes.txt").write_text("y"), "notes.txt is not in the manifest", False),
    ],
)
def test_each_damage_is_one_finding_and_nothing_is_moved(run_dir, damage, problem, harmful):
    damage(run_dir / STEPS[1].folder)
    verification = verify_run(run_dir)
    (finding,) = verification.findings
    assert problem in finding.problem
    assert finding.folder.startswith("round_01/labels/shard_0000.")
    assert (finding.harmful, verification.whole) == (harmful, not harmful)
    assert sorted(path.name for path in (run_dir / "quarantine").iterdir()) == ["index.00000000"]


def test_verify_does_not_believe_the_memo(run_dir):
    path = run_dir / STEPS[0].folder / "a.bin"
    status = path.stat()
    (run_dir / "hash_memo.txt").unlink(missing_ok=True)
    path.write_text("resulT")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not verify_run(run_dir).whole


def test_an_empty_folder_verifies_as_empty(tmp_path):
    assert verify_run(tmp_path).num_steps == 0


def test_a_verified_copy_is_usable(run_dir, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(run_dir, copy)
    assert verify_run(copy).whole
    assert all(find(copy, step) for step in STEPS)
