import numpy as np

from segcore.cards.calibration import calibration_card
from segcore.outputs.reliability import calibration_report
from segcore.pseudo.histograms import CalibHistogram
from segcore.trust.calibration import calibration_card as measured


def test_the_card_has_a_summary_and_a_row_for_all_and_for_each_predicted_class():
    cells = np.array([[0, 0, 50, 90, 80], [1, 0, 60, 90, 90], [1, 1, 20, 30, 9]]).T
    report = calibration_report(measured(CalibHistogram(("a", "b"), *cells), ("back|ground", "can", "bag"), 0))
    text = calibration_card(report)
    assert text.startswith("On 2 calib images the mean confidence is 0.")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| all classes", "| back\\|ground", "| can"]
    assert "images it was not fitted on" in text
