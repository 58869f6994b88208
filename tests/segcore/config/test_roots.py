"""Folders that runs from the API may name files under."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from segcore.config.load import load_config, parse_config
from segcore.config.roots import (
    ROOTS,
    paths_in,
    require_config_under_roots,
    require_parameters_under_roots,
    require_under_roots,
    roots_from_environment,
)
from segcore.config.schema import RunConfig
from segcore.errors import ConfigError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the first root, as the working directory; beside it a second one and a forbidden folder."""
    for name in ("home", "more", "secret"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def roots(home):
    return home, home.parent / "more"


def test_without_the_variable_there_are_no_roots(monkeypatch):
    monkeypatch.delenv(ROOTS, raising=False)
    assert roots_from_environment() is None
    monkeypatch.setenv(ROOTS, "")
    assert roots_from_environment() is None


def test_roots_come_in_order_with_their_links_followed(home, monkeypatch):
    (home.parent / "link").symlink_to(home)
    monkeypatch.setenv(ROOTS, os.pathsep.join([str(home.parent / "more"), str(home.parent / "link")]))
    assert roots_from_environment() == (home.parent / "more", home)


@pytest.mark.parametrize("text", ["relative", "/nowhere/at/all", __file__])
def test_a_root_that_is_no_absolute_folder_is_an_error_with_its_name(text, monkeypatch):
    monkeypatch.setenv(ROOTS, text)
    with pytest.raises(ConfigError, match=f"{ROOTS} must be absolute paths.*{text}"):
        roots_from_environment()


@pytest.mark.parametrize("path", ["a.yaml", "deep/er/a.yaml", ".", "../more/a.yaml", "../secret/../more", "{home}/a"])
def test_what_lies_in_a_root_is_allowed_whether_it_exists_or_not(path, home, roots):
    require_under_roots(Path(path.format(home=home)), roots, "data.train.images")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret", "..", "inside/../../secret/x", "{home}-beside", "~/x", "link/x", "file.py"]
)
def test_what_leads_out_of_the_roots_is_refused_with_field_value_and_remedy(path, home, roots):
    (home / "link").symlink_to(home.parent / "secret")
    (home / "file.py").symlink_to(home.parent / "secret" / "file.py")
    given = path.format(home=home)
    with pytest.raises(ConfigError) as refused:
        require_under_roots(Path(given), roots, "model.config")
    for word in ("model.config must lie under", str(home), given, ROOTS):
        assert word in str(refused.value)


def test_a_config_under_the_roots_is_allowed_and_one_that_leaves_them_is_not(home, roots, write_tiny):
    path = write_tiny(home, "tiny")
    require_config_under_roots(load_config(path), roots)
    with pytest.raises(ConfigError, match=r"runtime\.artifacts must lie under"):
        require_config_under_roots(load_config(path, ["runtime.artifacts=../secret"]), roots)
    with pytest.raises(ConfigError, match=r"model\.weights must lie under"):
        require_config_under_roots(load_config(path, ["model.weights=/secret/w.pth"]), roots)


def path_fields(model: type[BaseModel], name: str = "") -> Iterator[str]:
    """Yield the dotted name of every field of a config that holds a path, from the types alone."""
    for field, info in model.model_fields.items():
        for part in flat(info.annotation):
            if part is Path:
                yield f"{name}{field}"
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from path_fields(part, f"{name}{field}.")


def flat(annotation: Any) -> Iterator[Any]:
    """Yield a type and all that it is made of: tuple[X, ...] | None yields X too."""
    yield annotation
    for part in get_args(annotation):
        yield from flat(part)


OUTSIDE = {"annotations": "/out/a.json", "images": "/out/images"}
EVERYTHING = {
    "data": {
        "train": OUTSIDE, "val": OUTSIDE, "unlabeled": [OUTSIDE, OUTSIDE], "test": OUTSIDE,
        "test_labels": "/out/t.json", "unannotated": "ignore",
    },
    "model": {
        "preset": None, "config": "/out/m.py", "weights": "/out/w.pth",
        "teacher": {"checkpoint": "/out/t.pth", "config": "/out/t.py", "trained_on": [OUTSIDE]},
    },
    "student": {"growing": [{"preset": None, "config": "/out/g.py", "weights": "/out/g.pth"}]},
    "ensemble": {"members": [{"preset": None, "config": "/out/e.py", "weights": "/out/e.pth"}]},
    "train": {"iterations": 1},
    "runtime": {"artifacts": "/out/artifacts"},
}  # fmt: skip


def test_no_path_field_of_the_schema_is_missed():
    found = {field for field, path in paths_in(parse_config(EVERYTHING, "test")) if path.is_relative_to("/out")}
    without_index = {field.replace("[0]", "").replace("[1]", "") for field in found}
    weights = {"model.weights", "student.growing.weights", "ensemble.members.weights"}
    assert without_index == {*path_fields(RunConfig), *weights}
    assert {"data.unlabeled[0].images", "data.unlabeled[1].images"} <= found


def test_a_path_in_a_field_that_does_not_exist_yet_is_found():
    class Later(BaseModel):
        by_name: dict[str, list[Path | int]]

    assert list(paths_in(Later(by_name={"a": [1, Path("/x")]}))) == [("by_name.a[1]", Path("/x"))]


@pytest.mark.parametrize(
    "value",
    ["demo", "artifacts/demo", "red,green", "data/list.json:data", None, (), ("data", "../more/l.json:../more")],
)
def test_parameters_that_name_files_in_the_roots_or_none_are_allowed(value, roots):
    require_parameters_under_roots({"run": value}, roots)


@pytest.mark.parametrize(
    "value",
    ["/etc", "../secret", "data/list.json:/secret", "/secret/list.json:data", ("data", "/secret"), "a:/../../secret"],
)
def test_parameters_that_name_files_elsewhere_are_refused(value, roots):
    with pytest.raises(ConfigError, match="trained_on must lie under"):
        require_parameters_under_roots({"images": "data", "trained_on": value}, roots)
