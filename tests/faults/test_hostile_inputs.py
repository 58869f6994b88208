"""Rows 19 and 25: files that were made to do harm. What is merely wrong is in tests/segcore/data/test_bad_inputs.py."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segcore.config.load import load_config
from segcore.data.check import check_data
from segcore.data.index import build_index
from segcore.errors import CheckpointError, SegloopError
from segcore.nn.resume_files import ResumeFiles, digest_path, sha256_of
from segcore.nn.weights import load_foreign
from segcore.process.jobs import ImportJob, PredictJob, TeacherFiles, write_import_job, write_predict_job
from segcore.store.publish import find, publish
from segcore.store.steps import Step

from .conftest import ENVIRONMENT

BOMB_SIDE = 50_000  # 7.5 GB of pixels in 7 MB of file
MEMORY_BYTES = 3_000_000_000


def png_bomb(path: Path) -> None:
    """Write a PNG of black pixels that is whole and would take gigabytes to decode."""
    squeeze, rows = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(100 * (1 + 3 * BOMB_SIDE))
    block = squeeze.compress(rows) + squeeze.flush(zlib.Z_FULL_FLUSH)
    checksum = ((len(rows) * BOMB_SIDE // 100) % 65521 << 16) + 1  # Adler-32 of zeros
    data = b"\x78\xda" + block * (BOMB_SIDE // 100) + b"\x03\x00" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


INDEX_OF = """
import sys; from pathlib import Path
from segcore.config.load import load_config; from segcore.data.index import build_index
Path(sys.argv[2]).mkdir()
summary = build_index(load_config(Path(sys.argv[1])), Path(sys.argv[2]))
print(*(f"{item.image_id} {item.reason}" for item in summary.quarantined))
"""


def test_an_image_of_gigabytes_in_a_small_file_is_set_aside_by_its_header_in_little_memory(few_images: Path) -> None:
    root = few_images.parent
    png_bomb(root / "data" / "unlabeled" / "000.png")
    edit(root / "data" / "unlabeled.json", lambda coco: coco["images"][0].update(width=BOMB_SIDE, height=BOMB_SIDE))
    done = subprocess.run(
        [sys.executable, "-c", INDEX_OF, str(few_images), str(root / "index")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unlabeled_0/unlabeled/000.png" in done.stdout
    assert "50000x50000 is 2500.0 megapixels, more than data.max_megapixels (200)" in done.stdout


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def first(document: Any) -> Any:
    return document["annotations"][0]


DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: first(c).update(segmentation={"size": [BOMB_SIDE, BOMB_SIDE], "counts": [BOMB_SIDE**2]}),
         r"size must be the image's \[height, width\] = \[64, 64\], got \[50000, 50000\]"),
        (lambda c: first(c).update(segmentation={"size": [64, 64], "counts": [10**12]}), "numbers from 0 to 4096"),
        (lambda c: first(c).update(segmentation={"size": [64, 64], "counts": "o" * 10_000_001}), "damaged"),
        (lambda c: first(c).update(segmentation=[[1e308, 0, 1, 1, 2, 2]]), "finite numbers only"),
        (lambda c: first(c).update(category_id=10**30), "category_id must be one of"),
        (lambda c: first(c).update(image_id=-1), "image_id must be the id of an image"),
        (lambda c: c["images"][0].update(id=True), "id must be a whole number, got True"),
        (lambda c: c["images"][0].update(file_name="../../../../etc/passwd"), "must stay inside"),
        (lambda c: c["images"][0].update(file_name="/etc/passwd"), "must be relative"),
        (lambda c: c["images"][0].update(width=10**9, height=10**9), r"train\.json: .*must|says 1000000000x1000000000"),
    ],
    ids=["RLE size", "RLE count", "RLE text", "infinite polygon", "huge id", "no such image", "true as id",
         "path out", "absolute path", "declared size"],
)  # fmt: skip
def test_an_annotation_file_made_to_do_harm_is_one_clear_error(
    few_images: Path, change: Callable[[Any], object], words: str
) -> None:
    edit(few_images.parent / "data" / "train.json", change)
    (few_images.parent / "index").mkdir()
    with pytest.raises(SegloopError, match=words):
        build_index(load_config(few_images), few_images.parent / "index")
    assert [finding for finding in check_data(load_config(few_images)) if finding.severity == "error"]


@pytest.mark.parametrize("text", [DEEP, f'{{"images": {DEEP}}}', '{"images": [{"id": ' + "9" * 5000 + "}]}"])
def test_json_made_to_exhaust_the_parser_is_one_clear_error(few_images: Path, text: str) -> None:
    (few_images.parent / "data" / "train.json").write_text(text)
    (few_images.parent / "index").mkdir()
    with pytest.raises(SegloopError, match=r"train\.json: not a COCO file"):
        build_index(load_config(few_images), few_images.parent / "index")


def doubling_yaml(levels: int = 30) -> str:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run_id: !!python/object/apply:os.system ['touch {marker}']\n", "not valid YAML"),
        (doubling_yaml(), "no such field"),
        ("a: " + "[" * 20_000, "not valid YAML"),
    ],
    ids=["code", "doubling aliases", "deep"],
)
def test_a_config_made_to_do_harm_is_one_clear_error_and_runs_no_code(tmp_path: Path, text: str, words: str) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "run.yaml").write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(SegloopError, match=words):
        load_config(tmp_path / "run.yaml")
    assert not marker.exists()


class RunsCode:
    """Something whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return a file that exists once code of a poisoned file has run, tried out on a plain torch.load."""
    path = tmp_path / "marker"
    torch.save({"meta": RunsCode(path)}, tmp_path / "poison.pth")
    torch.load(tmp_path / "poison.pth", weights_only=False)
    assert path.exists(), "the poison does nothing, so the tests with it would prove nothing"
    path.unlink()
    return path


def poisoned(path: Path, marker: Path) -> Path:
    """Write a checkpoint as mmengine does, whose unpickling would make the marker."""
    torch.save({"state_dict": {"weight": torch.zeros(3)}, "meta": {"config": "x = 1", "hook": RunsCode(marker)}}, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_poisoned_checkpoint_is_refused_and_its_code_does_not_run(tmp_path: Path, marker: Path, suffix: str) -> None:
    with pytest.raises(CheckpointError, match="w"):
        load_foreign(poisoned(tmp_path / f"weights{suffix}", marker))
    assert not marker.exists()


def test_a_poisoned_meta_config_is_never_looked_at(tmp_path: Path, marker: Path) -> None:
    code = f"import os\nos.system('touch {marker}')\nmodel = dict()\n"
    torch.save({"state_dict": {"weight": torch.zeros(3)}, "meta": {"config": code, "cfg": code}}, tmp_path / "w.pth")
    assert set(load_foreign(tmp_path / "w.pth")) == {"weight"}
    assert not marker.exists()


PROGRAMS = {
    "import": ("segcore.nn.import_process", lambda path, weights, config: write_import_job(
        path, ImportJob(weights, config, ("a", "b"), ((0, 0, 0), (1, 1, 1)), 64, str(path.parent)))),
    "predict": ("segcore.nn.predict_process", lambda path, weights, config: write_predict_job(
        path, PredictJob((TeacherFiles(weights, config),), 2, load_config(path.parent / "tiny.yaml").label))),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_child_programs_refuse_a_poisoned_checkpoint_in_words(
    few_images: Path, tmp_path: Path, marker: Path, program: str
) -> None:
    module, write = PROGRAMS[program]
    folder = few_images.parent
    weights = poisoned(folder / "weights.pth", marker)
    (folder / "model.py").write_text(TINY_MODEL)
    write(folder / "job.json", str(weights), str(folder / "model.py"))
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder / "job.json")],
        env=ENVIRONMENT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "could run code" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()


TINY_MODEL = """
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.0] * 3, std=[1.0] * 3, size=(64, 64)),
    backbone=dict(type="ResNetV1c", depth=18, base_channels=8, out_indices=(0, 1, 2, 3)),
    decode_head=dict(type="FCNHead", in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=2),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
"""


def test_a_poisoned_resume_file_is_set_aside_though_its_digest_fits_and_the_one_before_is_used(
    tmp_path: Path, marker: Path
) -> None:
    files = ResumeFiles(tmp_path / "resume", "f", 3)
    for iteration in (2, 4):
        files.save(iteration, {"model": {"weight": torch.zeros(3)}, "optimizer": {}})
    newest = files.newest_first()[0]
    poisoned(newest, marker)
    digest_path(newest).write_text(sha256_of(newest))
    state = files.load_newest()
    assert state is not None
    assert state["iteration"] == 2
    assert "could run code" in next((tmp_path / "resume" / "quarantine").glob("*/reason.txt")).read_text()
    assert not marker.exists()


def test_a_poisoned_published_file_is_set_aside_unopened(tmp_path: Path, marker: Path) -> None:
    step = Step("train", 1, "round_00/student", {})

    def build(work: Path) -> int:
        torch.save({"weight": torch.zeros(3)}, work / "model.pth")
        return 1

    poisoned(publish(tmp_path / "run", step, build).path / "model.pth", marker)
    assert find(tmp_path / "run", step) is None
    assert not marker.exists()


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    step = Step("train", 1, "round_00/student", {})
    folder = publish(tmp_path, step, lambda work: (work / "a").write_text("x")).path
    edit(
        folder / "manifest.json",
        lambda manifest: manifest["files"].update({"../../../etc/passwd": {"size": 1, "sha256": "0"}}),
    )
    assert find(tmp_path, step) is None
