import numpy as np
import pytest
import torch

from segcore.nn.agreement import STEP_PX, Agreement

NUM_CLASSES = 3


def one_hot(labels):
    return torch.nn.functional.one_hot(torch.as_tensor(labels).long(), NUM_CLASSES).permute(2, 0, 1).float()


def agreement_of(views, final, least=2):
    found = Agreement(NUM_CLASSES, 0.5, least)
    for view in views:
        found.see(torch.stack([one_hot(labels) for labels in view]))
    found.compare(torch.as_tensor(final).long())
    return float(found.mean_iou())


def slow_agreement(maps, final):
    """Mean over maps of the mean IoU with the final map, over the classes in either, on the sparse grid."""
    final = final[::STEP_PX, ::STEP_PX]
    scores = []
    for labels in (found[::STEP_PX, ::STEP_PX] for found in maps):
        present = [c for c in range(NUM_CLASSES) if ((labels == c) | (final == c)).any()]
        scores.append(
            np.mean([((labels == c) & (final == c)).sum() / ((labels == c) | (final == c)).sum() for c in present])
        )
    return np.mean(scores)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_is_the_mean_iou_of_each_view_with_all(seed):
    maps = np.random.default_rng(seed).integers(0, NUM_CLASSES, (4, 22, 31))
    found = agreement_of([(maps[0],), (maps[1],), (maps[2],)], maps[3])
    assert found == pytest.approx(slow_agreement(maps[:3], maps[3]))


def test_a_mirror_image_is_compared_where_its_pixels_belong():
    labels = np.random.default_rng(0).integers(0, NUM_CLASSES, (9, 14))
    assert agreement_of([(labels, labels[:, ::-1].copy())], labels) == 1.0
    assert agreement_of([(labels, labels)], labels) < 1.0


def test_bands_add_up_to_the_whole_image():
    maps = np.random.default_rng(1).integers(0, NUM_CLASSES, (3, 24, 20))
    found = Agreement(NUM_CLASSES, 0.5, least=2)
    for rows in (slice(0, 7), slice(7, 9), slice(9, 12), slice(12, 24)):
        found.begin(rows.start)
        for labels in maps[:2]:
            found.see(one_hot(labels[rows])[None])
        found.compare(torch.as_tensor(maps[2][rows]))
    assert float(found.mean_iou()) == pytest.approx(slow_agreement(maps[:2], maps[2]))


def test_a_single_view_has_no_agreement_and_a_single_checkpoint_has():
    labels = np.zeros((5, 5), int)
    assert np.isnan(agreement_of([(labels,)], labels))
    assert agreement_of([(labels,)], labels, least=1) == 1.0
    assert np.isnan(agreement_of([], labels, least=1))
