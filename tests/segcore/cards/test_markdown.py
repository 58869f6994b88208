import re

from hypothesis import example, given
from hypothesis import strategies as st

from segcore.cards.markdown import count, plain, table


def cells(line):
    """Return the cells of a table row as Markdown takes it apart: at bars that no backslash makes plain."""
    return re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]


def read(text):
    """Return escaped text as it is shown."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@example(["a|b", "c\nd", "e\\|f", "`g", "<b>h</b>", "\\", "\u2028x\x85y\x1cz", "![](http://x/y.png)"])
def test_no_name_breaks_a_table(names):
    text = table(("class", "round 0"), [(plain(name), "0.5") for name in names])
    lines = text.split("\n")
    assert len(text.splitlines()) == len(lines) == 2 + len(names), "a name ended a line"
    assert [len(cells(line)) for line in lines] == [2] * len(lines)
    assert [read(cells(line)[0][1:-1]) for line in lines[2:]] == [" ".join(name.split()) for name in names]


@given(st.text())
def test_nothing_in_a_name_is_taken_for_markdown_or_html(name):
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]<>|~#!&]", plain(name))


def test_a_count_has_its_thousands_set_apart():
    assert [count(number) for number in (0, 999, 1234567)] == ["0", "999", "1\u202f234\u202f567"]
