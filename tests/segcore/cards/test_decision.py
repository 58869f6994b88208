import pytest

from segcore.cards.decision import gate_decision

GOES_ON, ENDS = (True, "round 1 is the best so far"), (False, "all 2 rounds allowed after round 0 are done")


def test_a_card_tells_outcome_reasons_and_what_follows(record_of):
    history = [record_of(0, 0.489, "first"), record_of(1, 0.572, "improved", 0.083)]
    assert gate_decision(history, GOES_ON) == (
        "## Round 1: improved\n\n"
        "Gate mIoU **0.572** (95 % interval 0.522 … 0.622) on 42 images.\n\n"
        "### Why\n\n- reason of round 1\n- bottle\\|can +0.1\n\n"
        "### What follows\n\n"
        "- This round's student becomes the next teacher.\n"
        "- Another round follows: round 1 is the best so far.\n"
    )


@pytest.mark.parametrize(
    ("outcome", "goes_on", "follows"),
    [
        ("inconclusive", GOES_ON, "This round's student becomes the next teacher."),
        ("worse", GOES_ON, "The student of round 1 stays the teacher."),
        ("worse", ENDS, "The outputs are those of round 1."),
    ],
)
def test_what_follows_is_what_the_loop_does(record_of, outcome, goes_on, follows):
    history = [record_of(0, 0.489, "first"), record_of(1, 0.572, "improved"), record_of(2, 0.552, outcome)]
    card = gate_decision(history, goes_on)
    assert f"- {follows}\n" in card
    assert ("becomes" in card, "stays" in card) == ("becomes" in follows, "stays" in follows)
