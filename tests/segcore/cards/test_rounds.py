from segcore.cards.rounds import round_metrics

CARD = """\
| round | gate mIoU | 95 % interval | against the best before | outcome | pseudo-labelled | coverage |
| :--- | ---: | ---: | ---: | ---: | ---: | ---: |
| 0 | 0.489 | 0.439 … 0.539 | – | first | – | – |
| 1 | 0.572 | 0.522 … 0.622 | +0.083 (+0.063 … +0.103) over round 0 | improved | 1\u202f234 | 60.9 % |
| 2 | 0.552 | 0.502 … 0.602 | −0.020 (−0.040 … 0.000) over round 1 | inconclusive | 1\u202f234 | 60.9 % |

Scored on 42 gate images; 3 are in this model's lineage and do not score it.

### IoU by class

| class | round 0 | round 1 | round 2 |
| :--- | ---: | ---: | ---: |
| background | 0.589 | 0.672 | 0.652 |
| bottle&#124;can | 0.389 | 0.472 | 0.452 |
| paper cup | – | – | – |
"""


def test_every_round_is_a_row_compared_with_the_best_before_it(round_of):
    rounds = [
        round_of(0, 0.489, "first"),
        round_of(1, 0.572, "improved", 0.083),
        round_of(2, 0.552, "inconclusive", -0.02, num_excluded=3),
    ]
    card = round_metrics(rounds, ("background", "bottle|can", "paper\ncup"))
    assert card == CARD.replace("… 0.000)", "… +0.000)")


def test_a_later_round_is_compared_with_the_best_and_not_with_the_last(round_of):
    scores = (0.5, 0.6, 0.55, 0.58)
    rounds = [round_of(index, miou, "worse", -0.01) for index, miou in enumerate(scores)]
    rows = round_metrics(rounds, ("a", "b", "c")).splitlines()[2:6]
    assert ["over round 1" in row for row in rows] == [False, False, True, True]
