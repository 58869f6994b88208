import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from segcore.store.events import append_event, read_events


def names(run_dir) -> list[str]:
    return [record["event"] for record in read_events(run_dir)]


def test_events_come_back_in_order_with_their_fields(tmp_path):
    assert append_event(tmp_path, "round_started", round_index=1)
    assert append_event(tmp_path, "gate", outcome="worse", delta=(0.1, -0.2))
    first, second = read_events(tmp_path)
    assert (first["event"], first["round_index"]) == ("round_started", 1)
    assert second["delta"] == [0.1, -0.2]
    assert first["time"] <= second["time"]


def test_no_file_means_no_events(tmp_path):
    assert list(read_events(tmp_path)) == []


@pytest.mark.parametrize("torn", [b'{"time": "x", "ev', b"\x00\x00\x00\x00", b"[1]", b'{"no": "event"}', b"12"])
def test_a_torn_last_line_is_left_out_and_does_not_spoil_the_next(tmp_path, torn):
    append_event(tmp_path, "one")
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(torn)
    assert names(tmp_path) == ["one"]
    append_event(tmp_path, "two")
    assert names(tmp_path) == ["one", "two"]


def test_events_of_many_threads_do_not_mix(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_event(tmp_path, f"event_{n}", text="x" * 5000), range(100)))
    assert sorted(names(tmp_path)) == sorted(f"event_{n}" for n in range(100))


def test_an_event_that_cannot_be_written_costs_a_warning_only(tmp_path, caplog):
    (tmp_path / "events.jsonl").mkdir()
    with caplog.at_level(logging.WARNING):
        assert append_event(tmp_path, "one") is False
    assert "event one not written" in caplog.text
