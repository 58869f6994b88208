import html

from hypothesis import example, given
from hypothesis import strategies as st

from segcore.cards.markdown import code, count, plain, table


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@example(["a|b", "c\nd", "e\\|f", "`g", "<b>h</b>", "\\", "\u2028x\x85y\x1cz", "![](http://x/y.png)"])
def test_no_name_breaks_a_table(names):
    text = table(("class", "round 0"), [(plain(name), "0.5") for name in names])
    lines = text.split("\n")
    assert len(lines) == 2 + len(names)
    assert len(text.splitlines()) == len(lines), "no other character that ends a line"
    assert {line.count("|") for line in lines} == {3}


@given(st.text())
def test_a_name_is_read_as_it_was_written_but_for_white_space(name):
    escaped = plain(name)
    assert html.unescape(escaped) == " ".join(name.split()) or "&" not in escaped
    assert not set(escaped) & set("<>|`*_[]~\\\n")


def test_code_and_counts():
    assert code("/runs/a b|c") == "<code>/runs/a b&#124;c</code>"
    assert [count(number) for number in (0, 999, 1234567)] == ["0", "999", "1\u202f234\u202f567"]
