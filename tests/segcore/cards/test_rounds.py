from segcore.cards.rounds import round_metrics

CARD = """\
| round | gate mIoU (95 %) | gain over the best before | outcome | labelled | coverage |
| :--- | ---: | ---: | ---: | ---: | ---: |
| 0 | 0.489 (0.439 … 0.539) | – | first | – | – |
| 1 | 0.572 (0.522 … 0.622) | +0.083 (+0.063 … +0.103) | improved | 1\u202f234 | 60.9 % |
| 2 | 0.552 (0.502 … 0.602) | −0.020 (−0.040 … +0.000) | inconclusive | 1\u202f234 | 60.9 % |

Scored on 42 gate images; 3 are in this model's lineage and do not score it.

### IoU by class

| class | round 0 | round 1 | round 2 |
| :--- | ---: | ---: | ---: |
| background | 0.589 | 0.672 | 0.652 |
| bottle\\|can | 0.389 | 0.472 | 0.452 |
| paper cup | – | – | – |
"""


def test_every_round_is_a_row_compared_with_the_best_before_it(round_of):
    rounds = [
        round_of(0, 0.489, "first"),
        round_of(1, 0.572, "improved", 0.083),
        round_of(2, 0.552, "inconclusive", -0.02, num_excluded=3),
    ]
    assert round_metrics(rounds, ("background", "bottle|can", "paper\ncup")) == CARD
