import json
from pathlib import Path

import pytest

from segcore.errors import RunChangedError, RunError
from segcore.store.run_file import open_run_file, read_run_file

CONFIG = {
    "train": {"lr": 0.1, "workers": 2, "size": 64},
    "runtime": {"device": "auto", "artifacts": Path("artifacts")},
    "label": {"sizes": (1, 2)},
}


def changed(section: str, **fields: object) -> dict[str, object]:
    return {**CONFIG, section: {**CONFIG[section], **fields}}


def test_a_new_run_is_written_and_the_same_config_opens_it_again(tmp_path):
    first = open_run_file(tmp_path / "new" / "run", "demo", CONFIG)
    before = (tmp_path / "new" / "run" / "run.json").stat()
    assert open_run_file(tmp_path / "new" / "run", "demo", CONFIG) == first == read_run_file(tmp_path / "new" / "run")
    assert (tmp_path / "new" / "run" / "run.json").stat().st_mtime_ns == before.st_mtime_ns
    assert first.config["label"]["sizes"] == [1, 2]
    assert first.created_with["python"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed("train", lr=0.2), r"train\.lr: 0\.1 -> 0\.2"),
        (changed("label", sizes=(1, 3)), r"label\.sizes: \[1, 2\] -> \[1, 3\]"),
        (changed("label", flip=True), r"label\.flip: absent -> true"),
        ({name: CONFIG[name] for name in ("train", "runtime")}, r"label: \{.*\} -> absent"),
    ],
)
def test_another_config_under_the_same_run_id_is_refused_by_field_unless_updated(tmp_path, config, message):
    open_run_file(tmp_path, "demo", CONFIG)
    with pytest.raises(RunChangedError, match=message):
        open_run_file(tmp_path, "demo", config)
    assert read_run_file(tmp_path).config["train"]["lr"] == 0.1
    updated = open_run_file(tmp_path, "demo", config, update=True)
    assert updated.changed
    assert read_run_file(tmp_path) == updated == open_run_file(tmp_path, "demo", config)


@pytest.mark.parametrize(
    "config",
    [
        changed("train", workers=9),
        changed("train", checkpoint_every=7, keep_checkpoints=5),
        changed("runtime", device="cuda", log_every=3),
    ],
)
def test_fields_that_change_no_result_may_change_freely(tmp_path, config):
    open_run_file(tmp_path, "demo", CONFIG)
    again = open_run_file(tmp_path, "demo", config)
    assert again.changed == ()
    assert read_run_file(tmp_path) == again


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be a run folder with run.json"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({"format": 1}), "is damaged"),
        (json.dumps({"format": 2}), "install the segloop that wrote it"),
    ],
)
def test_a_run_file_that_cannot_be_used_says_why_and_what_to_do(tmp_path, text, message):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_run_file(tmp_path)


def test_a_run_file_that_cannot_be_written_is_a_run_error(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RunError, match="check the disk"):
        open_run_file(tmp_path, "demo", CONFIG)
