from __future__ import annotations

from segcore.cards.ensemble import ensemble_card
from segcore.outputs.report_data import EnsembleReport


def test_a_row_a_model_with_its_weight_and_a_dash_for_one_that_is_no_member() -> None:
    text = ensemble_card(EnsembleReport(("model: a", "ensemble.members[0]: b"), (1.0, 0.0), (0.5, None), "chosen."))
    model, member = [line for line in text.splitlines() if "model: a" in line or "members" in line]
    assert [cell.strip() for cell in model.strip("|").split("|")][1:] == ["100.0 %", "0.500"]
    assert [cell.strip() for cell in member.strip("|").split("|")][1:] == ["–", "–"]
    assert text.endswith("Chosen.\n")
