from segcore.cards.summary import run_summary
from segcore.steps.outputs import RunSummary


def test_a_summary_tells_the_result_its_limits_the_files_and_how_to_go_on(round_of, tmp_path):
    outputs = tmp_path / "my run" / "outputs"
    outputs.mkdir(parents=True)
    for name in ("report.html", "model.pth"):
        (outputs / name).touch()
    summary = RunSummary(
        run_id="my_run", outputs=str(outputs), winner_index=1, num_rounds=1, miou=0.572, first_miou=0.489,
        stop_reason="all 1 rounds are done", headline="Round 1 is the best of 2.", caveats=("Few images.",),
    )  # fmt: skip
    card = run_summary(summary, [round_of(0, 0.489, "first"), round_of(1, 0.572, "improved", 0.083)])
    assert card.startswith("## my\\_run: round 1 is the best\n\nRound 1 is the best of 2.\n\n- Few images.\n\n")
    assert "Stopped: all 1 rounds are done." in card
    assert "| 1 | 0.572 (0.522 … 0.622) |" in card
    assert "report.html |" in card
    assert "annotations.json" not in card, "not there"
    assert f"segloop status '{outputs.parent}'\n" in card
