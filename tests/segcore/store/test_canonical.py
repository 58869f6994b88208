import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from segcore.store.canonical import canonical_json, digest_of, dump, file_sha256, plain


@dataclass(frozen=True)
class Recipe:
    lr: float
    sizes: tuple[int, ...]


class Model(BaseModel):
    path: Path
    recipe: Recipe


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-0.0, "0.0"),
        ("ü\n", '"\\u00fc\\n"'),
        ({"b": 1, "a": (2, [3])}, '{"a":[2,[3]],"b":1}'),
        (OrderedDict(z=1, y=2), '{"y":2,"z":1}'),
        (Path("a/b"), '"a/b"'),
        (PureWindowsPath("a\\b"), '"a/b"'),
        ({3, 1, 2}, "[1,2,3]"),
        (Recipe(0.5, (1, 2)), '{"lr":0.5,"sizes":[1,2]}'),
        (Model(path=Path("x"), recipe=Recipe(1, ())), '{"path":"x","recipe":{"lr":1,"sizes":[]}}'),
    ],
)
def test_a_value_has_one_spelling(value, text):
    assert canonical_json(value) == text


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": [1, float("nan")]}, ValueError, r"value\.a\[1\] must be a finite number"),
        (Recipe(float("inf"), ()), ValueError, r"value\.lr must be a finite number"),
        ({"a": {1: 2}}, TypeError, r"keys of value\.a must be strings, got 1 of type int"),
        ({"a": b"x"}, TypeError, r"value\.a has type bytes"),
        ([object()], TypeError, r"value\[0\] has type object"),
        (Recipe, TypeError, "value has type type"),
    ],
)
def test_what_has_no_one_spelling_is_refused_by_its_place(value, error, message):
    with pytest.raises(error, match=message):
        canonical_json(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_plain_values_stay_what_they_are(value):
    assert plain(value) == value
    assert canonical_json(plain(value)) == canonical_json(value)


rich_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([0.0, -0.0, "-0.0"]) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.builds(Path, st.sampled_from(["a", "a/b"]))
        | st.builds(Recipe, st.floats(), st.tuples(st.integers()))
        | st.sets(st.integers())
    ),
    max_leaves=20,
)


def spelled(spell, value):
    try:
        return spell(value)
    except (TypeError, ValueError) as error:
        return repr(error)


@given(rich_values)
def test_the_fast_way_spells_and_refuses_as_the_slow_one(value):
    assert spelled(canonical_json, value) == spelled(lambda value: dump(plain(value)), value)


@given(st.dictionaries(st.text(), st.integers()), st.randoms())
def test_the_order_of_keys_does_not_matter(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert digest_of(dict(items)) == digest_of(value)


@given(st.integers(-1000, 1000))
def test_a_whole_number_and_the_equal_float_are_different_values(number):
    assert digest_of(number) != digest_of(float(number))


def test_the_digest_is_the_same_in_another_process():
    code = "from segcore.store.canonical import digest_of; print(digest_of({'b': {'x', 'y'}, 'a': 0.1}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == digest_of({"a": 0.1, "b": {"y", "x"}})


def test_a_file_hash_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
