import json

from benchmarks.page import last_lines, write_page


def test_a_page_lies_beside_its_json_and_says_how_to_make_it_again(tmp_path):
    def page(result, stamp):
        return "\n".join([f"# {result['what']}, {stamp}", *last_lines({"torch": "2.13"}, "speed")])

    path = write_page("speed", {"what": "Speed"}, page, tmp_path)
    assert json.loads(path.with_suffix(".json").read_text()) == {"what": "Speed"}
    title, *rest = path.read_text().splitlines()
    assert title == f"# Speed, {path.name.removesuffix('-speed.md')}"
    assert rest == ["", "Environment: torch 2.13", "", "`python -m benchmarks speed`"]
