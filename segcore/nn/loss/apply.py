"""train.loss put into a network: any mmseg segmentor, whether it came from a preset or from a config file.

What is set in train.loss wins over what the model's config says of the same matter: class_weights over `class_weight`,
ohem over `sampler`, region over Dice and Lovász losses of its own; the config that is saved beside the weights stays
as it was. What a head cannot do is refused before training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg.models import BaseSegmentor
from mmseg.models.decode_heads import DAHead, EncHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss, DiceLoss, LovaszLoss, OhemCrossEntropy
from torch import Tensor, nn

from segcore.config.train_schema import LossConfig
from segcore.errors import ConfigError
from segcore.nn.class_pixels import class_shares, inverse_sqrt_weights, labelled_pixels, weights_by_name
from segcore.nn.loss.batch_weights import BatchWeights
from segcore.nn.loss.pixel_sampler import WeightedPixels, hard_pixels
from segcore.nn.loss.region import RegionLoss
from segcore.process.jobs import TrainJob

ASKING_THEIR_SAMPLER = {head.loss_by_feat for head in (BaseDecodeHead, DAHead, EncHead)}
REGIONS = (DiceLoss, LovaszLoss)


@dataclass(frozen=True)
class LossPlan:
    """What is asked of a network's heads. class_weights: one per class; None: as the heads have them. size: px."""

    config: LossConfig
    class_weights: tuple[float, ...] | None
    size: int

    @property
    def weighs_pixels(self) -> bool:
        """Return whether pseudo-labelled pixels may count less than others."""
        return self.config.confidence_weighted or self.config.pseudo_weight != 1 or self.config.pseudo_ramp > 0


def loss_plan(job: TrainJob) -> LossPlan:
    """Return what a job asks for; class weights by frequency follow from its ground truth."""
    names, weights = job.model.class_names, job.train.loss.class_weights
    if weights == "inverse_sqrt":
        return LossPlan(job.train.loss, inverse_sqrt_weights(class_shares(labelled_pixels(job))), job.train.size)
    return LossPlan(job.train.loss, None if weights == "none" else weights_by_name(weights, names), job.train.size)


def apply_loss(network: BaseSegmentor, plan: LossPlan) -> None:
    """Change a network's heads in place; with everything off, only what mmseg's losses would stumble over.

    ConfigError names the head that cannot do what is asked, and the remedy.
    """
    heads = list(heads_of(network))
    for name, head in heads:
        check_head(name, head, plan)
    weights = BatchWeights()
    if plan.weighs_pixels:
        network.register_forward_pre_hook(weights, with_kwargs=True)
    for _, head in heads:
        set_class_weights(head, plan.class_weights)
        for loss in losses_of(head):
            if isinstance(loss, OhemCrossEntropy):
                loss.register_forward_hook(zero_without_hard_pixels)
        if plan.weighs_pixels or plan.config.ohem is not None:
            mining = head.sampler if plan.config.ohem is None else hard_pixels(head, plan.config.ohem, plan.size)
            head.sampler = WeightedPixels(weights, mining)
        if plan.config.region != "none":
            add_region(head, plan.config, weights)


def heads_of(network: BaseSegmentor) -> Iterator[tuple[str, BaseDecodeHead]]:
    """Yield the decode and auxiliary heads of a network by name."""
    for key in ("decode_head", "auxiliary_head"):
        found = getattr(network, key, None)
        if isinstance(found, nn.ModuleList):
            yield from ((f"{key}[{index}]", head) for index, head in enumerate(found))
        elif found is not None:
            yield key, found


def losses_of(head: nn.Module) -> list[nn.Module]:
    """Return the losses of a head in their order."""
    found = getattr(head, "loss_decode", None)
    if isinstance(found, nn.ModuleList):
        return list(found)
    return [] if found is None else [found]


def check_head(name: str, head: nn.Module, plan: LossPlan) -> None:
    """Raise ConfigError when a head cannot do what the plan asks."""
    losses, kind = losses_of(head), type(head).__name__
    fields = ", ".join(f"train.loss.{field}" for field in asked_of_pixels(plan))
    if fields and getattr(type(head), "loss_by_feat", None) not in ASKING_THEIR_SAMPLER:
        raise ConfigError(
            f"{fields} cannot be used with {name}: {kind} computes a loss of its own, without weights of pixels; "
            f"leave out what is named, or take a model with an ordinary head such as UPerHead"
        )
    other = [type(loss).__name__ for loss in losses if not isinstance(loss, weighable(plan))]
    if other and (plan.weighs_pixels or plan.config.ohem is not None):
        raise ConfigError(
            f"{fields} cannot be used with {name}: its {', '.join(other)} cannot weigh pixels; name CrossEntropyLoss "
            f"alone in loss_decode, and set train.loss.region for Dice or Lovász"
        )
    if plan.class_weights is not None and not any(map(is_classifying, losses)):
        raise ConfigError(
            f"train.loss.class_weights cannot be used with {name}: {kind} has "
            f"{', '.join(type(loss).__name__ for loss in losses) or 'losses of its own'}, and classes are weighed in "
            f"CrossEntropyLoss (softmax) and OhemCrossEntropy; leave class_weights at none, or name one of these"
        )


def asked_of_pixels(plan: LossPlan) -> list[str]:
    """Return the fields in force that need mmseg's ordinary way from logits to losses."""
    config = plan.config
    in_force = {
        "region": config.region != "none",
        "ohem": config.ohem is not None,
        "pseudo_weight": config.pseudo_weight != 1,
        "pseudo_ramp": config.pseudo_ramp > 0,
        "confidence_weighted": config.confidence_weighted,
    }
    return [field for field, wanted in in_force.items() if wanted]


def weighable(plan: LossPlan) -> tuple[type[nn.Module], ...]:
    """Return the kinds of losses that may stand in a head whose pixels are weighed: the rest fails or looks away."""
    return (CrossEntropyLoss,) if plan.config.region == "none" else (CrossEntropyLoss, *REGIONS)


def is_classifying(loss: nn.Module) -> bool:
    """Return whether weights of classes can be set in a loss."""
    plain = isinstance(loss, CrossEntropyLoss) and not (loss.use_sigmoid or loss.use_mask)
    return plain or isinstance(loss, OhemCrossEntropy)


def set_class_weights(head: nn.Module, weights: Sequence[float] | None) -> None:
    """Weigh the classes in a head's losses, None: as its config has it.

    The mean is over the sum of the labelled pixels' weights. mmseg's cross-entropy fails when it has class weights and
    is told to pass ignored pixels over; without being told, they weigh nothing.
    """
    for loss in filter(is_classifying, losses_of(head)):
        if weights is not None:
            vars(loss)["class_weight"] = list(weights)
        if isinstance(loss, CrossEntropyLoss) and loss.class_weight is not None:
            loss.avg_non_ignore = False


def zero_without_hard_pixels(_: nn.Module, arguments: tuple[Any, ...], loss: Tensor) -> Tensor:
    """Return the loss of an OhemCrossEntropy, 0 where every labelled pixel is equally easy: mmseg's is NaN there."""
    logits = arguments[0]
    return logits.sum() * 0.0 if loss.isnan() and not logits.isnan().any() else loss


def add_region(head: nn.Module, config: LossConfig, weights: BatchWeights) -> None:
    """Add a region loss beside a head's own losses, in place of those of its kind; an auxiliary head's weighs less."""
    own = [loss for loss in losses_of(head) if not isinstance(loss, REGIONS)]
    scale = getattr(own[0], "loss_weight", 1.0) if own else 1.0
    head.loss_decode = nn.ModuleList([*own, RegionLoss(config.region, config.region_weight * scale, weights)])
