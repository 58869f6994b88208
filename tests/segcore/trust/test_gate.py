import numpy as np
import pytest

from benchmarks.gate import Case, null_run
from benchmarks.gate_scenes import NAMES, Scenes, image_ids
from segcore.errors import DataError, HonestScoreError
from segcore.trust.confusion import ConfusionTable, miou
from segcore.trust.gate import GateSpec, gate, score


def spec_of(**changes):
    fields = {
        "level": 0.05,
        "num_comparisons": 3,
        "resamples": 400,
        "seed": 0,
        "class_names": NAMES,
        "baseline_round": 0,
    }
    return GateSpec(**(fields | changes))


@pytest.mark.parametrize("case", [Case(12, 0.05, 3), Case(40, 0.3, 4)])
def test_at_most_5_percent_of_runs_with_nothing_gained_claim_a_gain_or_harm(case):
    claims = [null_run(case, seed) for seed in range(60)]
    assert sum(gained for gained, _ in claims) / 60 <= 0.05
    assert sum(harm for _, harm in claims) / 60 <= 0.05


def test_a_gain_of_the_size_the_power_statement_names_is_found_about_half_the_time():
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scenes = Scenes(60, 0.3, rng)
        decision, _ = gate(scenes.student(rng), scenes.student(rng, skill=1.3), spec_of(seed=seed))
        found += decision.outcome == "improved"
        half_width = decision.delta.point - decision.delta.low
        assert f"a gain under {half_width:.3f} would be missed half the time" in " ".join(decision.reasons)
    assert 30 <= found <= 100


@pytest.mark.parametrize(
    ("skill", "outcome", "words"),
    [
        (2.5, "improved", "above round 0"),
        (1.0, "inconclusive", "the interval holds 0"),
        (-0.5, "worse", "below round 0"),
    ],
)
def test_the_outcome_follows_the_skill_and_explains_itself(skill, outcome, words):
    rng = np.random.default_rng(7)
    scenes = Scenes(60, 0.3, rng)
    decision, result = gate(scenes.student(rng), scenes.student(rng, skill), spec_of())
    assert decision.outcome == outcome
    assert words in " ".join(decision.reasons)
    assert "96.7 % interval" in decision.reasons[0]
    assert ("optimistic" in " ".join(decision.reasons)) == (outcome == "improved")
    assert result.miou.low < result.miou.point < result.miou.high


@pytest.mark.parametrize(("class_harm", "outcome"), [("flag", "improved"), ("reject", "worse")])
def test_a_round_that_gains_but_loses_a_class_is_told_of_or_rejected(class_harm, outcome):
    rng = np.random.default_rng(4)
    scenes = Scenes(150, 0.5, rng)
    teacher, student = scenes.student(rng), scenes.student(rng, np.array([3.0, 3.0, 3.0, -1.0]))
    decision, _ = gate(teacher, student, spec_of(class_harm=class_harm), teacher)
    assert decision.outcome == outcome
    assert decision.harmed == ("battery",)
    assert "significantly worse than its teacher at battery \N{MINUS SIGN}0." in decision.reasons[1]
    assert decision.delta.low > 0


def test_a_loss_that_one_single_image_shows_is_no_harm():
    counts = np.tile(np.array([[100, 0], [0, 0]], np.int64), (30, 1, 1))
    before, after = counts.copy(), counts.copy()
    before[0], after[0] = [[50, 0], [10, 40]], [[50, 0], [40, 10]]
    tables = [ConfusionTable(image_ids(30), table) for table in (before, after)]
    assert gate(*tables, spec_of(class_names=("background", "battery")), tables[0])[0].harmed == ()


def test_round_0_has_nothing_to_be_compared_with():
    rng = np.random.default_rng(1)
    student = Scenes(20, 0.3, rng).student(rng)
    decision, result = gate(None, student, spec_of(baseline_round=None, num_excluded=3))
    assert decision.outcome == "first"
    assert decision.delta is None
    assert result.miou.point == pytest.approx(miou(student.total()))
    assert (result.num_images, result.num_excluded) == (20, 3)


def test_a_tie_is_inconclusive():
    rng = np.random.default_rng(1)
    student = Scenes(20, 0.3, rng).student(rng)
    decision, _ = gate(student, student, spec_of())
    assert decision.outcome == "inconclusive"
    assert (decision.delta.point, decision.delta.low, decision.delta.high) == (0, 0, 0)
    assert "is equal to round 0" in decision.reasons[0]


def test_a_gain_that_one_single_image_shows_is_no_gain():
    counts = np.tile(np.array([[100, 0], [0, 0]], np.int64), (30, 1, 1))
    before, after = counts.copy(), counts.copy()
    before[0], after[0] = [[50, 0], [40, 10]], [[50, 0], [10, 40]]
    names = {"class_names": ("background", "battery")}
    decision, _ = gate(ConfusionTable(image_ids(30), before), ConfusionTable(image_ids(30), after), spec_of(**names))
    assert decision.delta.low > 0
    assert decision.outcome == "inconclusive"
    assert "rests on too few images" in decision.reasons[1]


def test_four_images_prove_nothing_however_large_the_gain():
    rng = np.random.default_rng(3)
    scenes = Scenes(4, 1.0, rng)
    assert gate(scenes.student(rng, -3.0), scenes.student(rng, 5.0), spec_of())[0].outcome == "inconclusive"


def test_the_decision_depends_on_neither_the_order_of_images_nor_the_hour():
    rng = np.random.default_rng(5)
    scenes = Scenes(25, 0.3, rng)
    base, student = scenes.student(rng), scenes.student(rng, 1.5)
    shuffled = student.select([student.image_ids[index] for index in rng.permutation(25)])
    assert gate(base, student, spec_of()) == gate(base, shuffled, spec_of())


def test_only_images_that_may_score_both_rounds_are_compared():
    rng = np.random.default_rng(5)
    scenes = Scenes(25, 0.3, rng)
    base, student = scenes.student(rng), scenes.student(rng, 1.5)
    decision, result = gate(base.select(base.image_ids[5:]), student, spec_of())
    assert result.num_images == 25
    assert any("20 of 25 images" in reason for reason in decision.reasons)
    apart, _ = gate(base.select(base.image_ids[:5]), student.select(student.image_ids[5:]), spec_of())
    assert apart.outcome == "inconclusive"
    assert "share no gate image" in apart.reasons[0]


def test_dropping_a_class_that_truth_lacks_is_no_gain():
    counts = np.tile(np.array([[90, 10], [0, 0]], np.int64), (30, 1, 1))
    moved = np.tile(np.array([[90, 0], [0, 0]], np.int64), (30, 1, 1))
    names = {"class_names": ("background", "battery")}
    _, before = gate(None, ConfusionTable(image_ids(30), counts), spec_of(**names))
    assert before.miou.point == pytest.approx(0.9)
    assert before.class_iou == (pytest.approx(0.9), 0.0)
    _, after = gate(None, ConfusionTable(image_ids(30), moved), spec_of(**names))
    assert after.class_iou[1] is None


@pytest.mark.parametrize(("counts", "error"), [((3, 4, 4), HonestScoreError), ((3, 2, 2), DataError)])
def test_what_cannot_be_scored_is_refused(counts, error):
    with pytest.raises(error):
        score(ConfusionTable(image_ids(3), np.zeros(counts, np.int64)), spec_of())
