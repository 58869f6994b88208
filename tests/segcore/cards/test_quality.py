from segcore.cards.quality import quality_card
from segcore.outputs.card_text import HEADER, card_report

ROW = {
    "name": "cup|mug", "tau": 0.9, "coverage": 0.6, "precision": {"point": 0.95, "low": 0.8, "high": 0.99},
    "kept_share": 0.05, "truth_share": 0.1, "pool_confidence": 0.91, "churn_last": None, "churn_first": 0.125,
}  # fmt: skip
CARD = {
    "coverage": 0.6, "share_ignored": 0.4, "num_images": 8, "policy": "fixed", "num_calib": 4, "accuracy": 0.9,
    "ece": 0.03, "num_sampled": 8, "churn": {"last": {"changed": 0.1}, "first": None}, "classes": [ROW],
    "shift": {"distance": 0.25, "p_value": 0.002, "mean_confidence_is": "lower"},
    "alarms": [{"kind": "shift", "class_name": None, "action": "warn", "message": "the pool is strange"}],
    "actions": {"kept_from": {}},
}  # fmt: skip


def test_alarms_come_first_then_facts_then_a_row_a_class():
    text = quality_card(card_report("round 2", CARD))
    assert text.startswith("## Pseudo-labels of round 2\n\n- **shift (warning): the pool is strange**\n\n- 60.0 %")
    assert "10.0 % since the last teacher" in text
    assert "distance 0.250 (p 0.002)" in text
    cells = "cup\\|mug | 0.900 | 60.0 % | 95.0 % (80.0 % … 99.0 %) | 5.0 % | 10.0 % | 0.910 | – | 12.5 %"
    assert f"| {cells} |" in text
    assert len(HEADER) == len(card_report("round 2", CARD).rows[0])


def test_a_card_without_alarms_says_so():
    assert "No alarms." in quality_card(card_report("round 1", CARD | {"alarms": [], "shift": None}))
