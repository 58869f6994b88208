from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segcore.errors import ConfigError, DataError
from segcore.outputs.submission import write_rows
from segcore.outputs.submission_rows import SubmissionRows
from segcore.pseudo import predictions_by_id
from segcore.pseudo.confidence import dequantise
from segcore.pseudo.predictions import Prediction, PredictionWriter, read_predictions
from segcore.pseudo.predictions_by_id import PredictionsById
from segcore.pseudo.voting import voted
from segcore.steps.vote import VoteSpec, vote

NAMES = tuple(f"test/{index:02d}.jpg" for index in range(20))
Maps = dict[str, np.ndarray]


def maps_of(seed: int) -> Maps:
    """Return label maps of different sizes by image id."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 4, (5 + index, 7), np.uint8) for index, name in enumerate(NAMES)}


def write_predictions(path: Path, maps: Maps, small: bool = False) -> str:
    with PredictionWriter(path) as writer:
        for name, label_map in maps.items():
            writer.write(Prediction(name, label_map, np.full_like(label_map, 40), label_map[:2, :3] if small else None))
    return str(path)


def shuffled(maps: Maps, seed: int) -> Maps:
    order = np.random.default_rng(seed).permutation(len(maps))
    return {NAMES[index]: maps[NAMES[index]] for index in order}


@pytest.mark.parametrize("small", [False, True])
def test_predictions_are_joined_by_image_id_whatever_their_order(tmp_path: Path, small: bool) -> None:
    members = [maps_of(seed) for seed in range(3)]
    files = tuple(
        write_predictions(tmp_path / f"{index}.parquet", shuffled(maps, index), small)
        for index, maps in enumerate(members)
    )
    summary = vote(VoteSpec(files, str(tmp_path / "out.parquet"), (2.0, 1.5, 1.0)))
    found = {prediction.image_id: prediction for prediction in read_predictions(tmp_path / "out.parquet")}
    assert (summary.num_images, set(found)) == (20, set(NAMES))
    agreed = []
    for name, prediction in found.items():
        label_map, share = voted([maps[name] for maps in members], (2.0, 1.5, 1.0))
        agreed += [member[name] == members[0][name] for member in members[1:]]
        assert np.array_equal(prediction.label_map, label_map)
        assert np.all(dequantise(prediction.confidence) <= share)
        assert np.all(dequantise(prediction.confidence) > share - 0.05)
        if small:
            assert prediction.small_label_map is not None
            assert np.array_equal(prediction.small_label_map, label_map[:2, :3])
        else:
            assert prediction.small_label_map is None
    both = [np.logical_and(first, second) for first, second in zip(agreed[::2], agreed[1::2], strict=True)]
    assert summary.unanimous == pytest.approx(np.concatenate([one.ravel() for one in both]).mean())


def test_a_folder_of_shards_is_one_result(tmp_path: Path) -> None:
    maps = maps_of(1)
    for shard in range(2):
        (tmp_path / f"a/shard_{shard}").mkdir(parents=True)
        part = {name: maps[name] for name in NAMES[shard::2]}
        write_predictions(tmp_path / f"a/shard_{shard}" / "predictions.parquet", part)
    whole = write_predictions(tmp_path / "b.parquet", maps)
    assert vote(VoteSpec((str(tmp_path / "a"), whole), str(tmp_path / "out.parquet"))).unanimous == 1.0


def test_csvs_are_joined_by_image_id_and_keep_the_order_of_the_first(tmp_path: Path) -> None:
    members = [{name: maps[:2, :3].ravel() for name, maps in maps_of(seed).items()} for seed in range(3)]
    files = []
    for index, maps in enumerate(members):
        ordered = shuffled(maps, index)
        write_rows(tmp_path / f"{index}.csv", ordered, ordered.values())
        files.append(str(tmp_path / f"{index}.csv"))
    vote(VoteSpec(tuple(files), str(tmp_path / "out.csv")))
    found = SubmissionRows(tmp_path / "out.csv")
    assert list(found.places) == list(SubmissionRows(tmp_path / "0.csv").places)
    for name in NAMES:
        assert np.array_equal(found[name], voted([maps[name] for maps in members], (1, 1, 1))[0])


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_result_that_lacks_images_is_named_with_the_first_of_them(tmp_path: Path, lacking: int) -> None:
    files = []
    for index in range(2):
        maps = {name: one for name, one in maps_of(0).items() if index != lacking or name > NAMES[2]}
        files.append(write_predictions(tmp_path / f"{index}.parquet", maps))
    with pytest.raises(DataError, match=rf"{lacking}\.parquet.*3 are missing.*test/00\.jpg"):
        vote(VoteSpec(tuple(files), str(tmp_path / "out.parquet")))
    assert not list(tmp_path.glob("*out*"))


def test_images_of_different_sizes_are_an_error_that_names_the_image(tmp_path: Path) -> None:
    first = write_predictions(tmp_path / "a.parquet", maps_of(0))
    other = write_predictions(tmp_path / "b.parquet", {**maps_of(0), NAMES[4]: np.zeros((3, 3), np.uint8)})
    with pytest.raises(DataError, match=r"test/04\.jpg.*9 x 7, 3 x 3"):
        vote(VoteSpec((first, other), str(tmp_path / "out.parquet")))
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("members", "out", "words"),
    [
        (("a.parquet",), "out.parquet", "at least two"),
        (("a.parquet", "c.csv"), "out.parquet", r"all be \.parquet or all \.csv, got"),
        (("a.parquet", "b.parquet"), "out.csv", "--out must be a .parquet"),
        (("a.parquet", "b.parquet"), "b.parquet", "another file"),
    ],
)
def test_a_vote_that_makes_no_sense_is_refused(tmp_path: Path, members: tuple[str, ...], out: str, words: str) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_predictions(tmp_path / name, maps_of(0))
    write_rows(tmp_path / "c.csv", [], [])
    with pytest.raises(ConfigError, match=words):
        vote(VoteSpec(tuple(str(tmp_path / member) for member in members), str(tmp_path / out)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,pixels\n", "header"),
        ("image_id,PredictionString\na,0 1\na,1 1\n", "one row"),
        ("image_id,PredictionString\na,0 255\n", "class ids"),
        ("image_id,PredictionString\na,0 x\n", "class ids"),
        ("image_id,PredictionString\na,\n", "class ids"),
    ],
)
def test_a_damaged_csv_is_an_error_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=rf"s\.csv.*{words}"):
        SubmissionRows(tmp_path / "s.csv")["a"]


def test_a_vote_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    for index, last in enumerate(("1 1", "1 x")):
        (tmp_path / f"{index}.csv").write_text(f"image_id,PredictionString\na,0 1\nb,{last}\n")
    with pytest.raises(DataError, match=r"1\.csv: b"):
        vote(VoteSpec((str(tmp_path / "0.csv"), str(tmp_path / "1.csv")), str(tmp_path / "out.csv")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv"]


def test_names_with_commas_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b'\xef\xbb\xbfimage_id,PredictionString\r\n"a,b.jpg",0 1\r\nc.jpg,2 3\r\n')
    rows = SubmissionRows(tmp_path / "s.csv")
    assert {name: rows[name].tolist() for name in rows.places} == {"a,b.jpg": [0, 1], "c.jpg": [2, 3]}


def test_an_image_in_two_files_of_one_result_is_an_error(tmp_path: Path) -> None:
    paths = [Path(write_predictions(tmp_path / f"{index}.parquet", maps_of(0))) for index in range(2)]
    with pytest.raises(DataError, match=r"1\.parquet.*test/00\.jpg.*0\.parquet too"):
        PredictionsById(paths)


def test_few_row_groups_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions_by_id, "GROUPS_IN_MEMORY", 1)
    maps = maps_of(0)
    found = PredictionsById([Path(write_predictions(tmp_path / "a.parquet", maps))])
    for name in (*NAMES, *reversed(NAMES)):
        assert np.array_equal(found[name].label_map, maps[name])
        assert len(found.groups) == 1
