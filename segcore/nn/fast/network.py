"""An mmsegmentation segmentor made fast for labelling, without changing its result beyond rounding.

Every rewriting is tried on a copy and compared with the original on one small input: a network that a rule does not
fit, however it is written, keeps its own code and its own result.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmseg.models import BaseSegmentor
from torch import Tensor

from segcore.nn.devices import Precision, autocast
from segcore.nn.fast.activations import absorb_activations
from segcore.nn.fast.compiling import agree, compile_backbone, worth_compiling
from segcore.nn.fast.folding import fold_batch_norms
from segcore.nn.fast.heads import fuse_decode_head
from segcore.nn.fast.winograd import use_winograd_convolutions

log = logging.getLogger(__name__)

PROBE_SHAPE = (96, 160)  # of the input on which a rewriting is compared: 3 by 5 at stride 32, so not square, odd
TOLERANCE = 1e-3  # of the largest logit; rounding gives 1e-5, a wrong rewriting 1e-1

Rewriting = Callable[[BaseSegmentor, Tensor], str]  # changes the network in place, returns what it did, "" for nothing


@dataclass(frozen=True)
class FastSpec:
    """What a network is made fast for.

    view_shapes: (h, w) of the inputs to come, the largest last. expected_images: how many this process may see.
    """

    device: str
    precision: Precision
    view_shapes: tuple[tuple[int, int], ...]
    expected_images: int


@dataclass(frozen=True)
class FastNetwork:
    """A segmentor made fast. description: one line for the log, what is used."""

    network: BaseSegmentor
    spec: FastSpec
    description: str

    def __call__(self, inputs_NCHW: Tensor) -> Tensor:
        """Return the logits of inputs: (N, 3, h, w) float32, normalised and padded; gives (N, C, h, w) float32."""
        inputs = inputs_NCHW.contiguous(memory_format=torch.channels_last)
        shape = tuple(inputs.shape[2:])
        metas = [{"ori_shape": shape, "img_shape": shape, "pad_shape": shape} for _ in range(len(inputs))]
        with torch.inference_mode(), autocast(self.spec.precision, self.spec.device):
            logits: Tensor = self.network.inference(inputs, metas)
        return logits.float()


def make_fast(network: BaseSegmentor, spec: FastSpec) -> FastNetwork:
    """Return a network in evaluation, on its device, rewritten for speed. The one given must not be used any more."""
    network.to(device=spec.device, memory_format=torch.channels_last).eval()
    steps = [f"{spec.device} {spec.precision}", "channels-last"]
    for rewriting in rewritings(spec):
        network, done = rewritten(network, rewriting)
        steps += [done] if done else []
    if worth_compiling(spec.device, spec.expected_images):
        done = compile_backbone(network, FastNetwork(network, spec, ""), spec.view_shapes)
        steps += [done] if done else []
    description = ", ".join(steps)
    log.info("network: %s", description)
    return FastNetwork(network, spec, description)


def rewritings(spec: FastSpec) -> tuple[Rewriting, ...]:
    """Return what is tried on a network, in order.

    Units for bf16 and GPUs multiply so fast that saving products there gains less than it costs in memory traffic.
    """
    few_products = spec.device == "cpu" and spec.precision == "fp32"
    return (fold_norms, fuse_head, use_winograd, fuse_activations) if few_products else (fold_norms,)


def fold_norms(network: BaseSegmentor, inputs_NCHW: Tensor) -> str:
    """Fold batch norms into convolutions, in place."""
    count = fold_batch_norms(network, lambda: logits_of(network, inputs_NCHW))
    return f"{count} batch norms folded" if count else ""


def fuse_head(network: BaseSegmentor, _: Tensor) -> str:
    """Let the decode head convolve before it upsamples, in place."""
    return fuse_decode_head(network)


def use_winograd(network: BaseSegmentor, _: Tensor) -> str:
    """Let large convolutions multiply less, in place."""
    count = use_winograd_convolutions(network)
    return f"{count} convolutions by Winograd's algorithm" if count else ""


def fuse_activations(network: BaseSegmentor, inputs_NCHW: Tensor) -> str:
    """Let convolutions do the ReLUs after them, in place."""
    count = absorb_activations(network, lambda: logits_of(network, inputs_NCHW))
    return f"{count} activations fused" if count else ""


def rewritten(network: BaseSegmentor, rewriting: Rewriting) -> tuple[BaseSegmentor, str]:
    """Return a rewritten copy of a network and what was done; the network itself and "" where they do not agree."""
    candidate = copy.deepcopy(network)
    try:
        inputs = probe_input(network)
        done = rewriting(candidate, inputs)
        if done and agree(logits_of(network, inputs), logits_of(candidate, inputs), TOLERANCE):
            return candidate, done
        reason = "its result would change" if done else ""
    except Exception as error:  # foreign code under a rewriting it was not written for: anything can go wrong
        reason = f"{type(error).__name__}: {error}"
    if reason:
        log.info("network: %s left out: %s", rewriting.__name__, reason)
    return network, ""


def probe_input(network: BaseSegmentor) -> Tensor:
    """Return a small random input, (1, 3, *PROBE_SHAPE) float32, the same every time."""
    like = next(network.parameters())
    noise = torch.randn(1, 3, *PROBE_SHAPE, generator=torch.Generator().manual_seed(0))
    return noise.to(like.device).contiguous(memory_format=torch.channels_last)


def logits_of(network: BaseSegmentor, inputs_NCHW: Tensor) -> Tensor:
    """Return a network's logits in its own number format, whatever its test mode."""
    shape = tuple(inputs_NCHW.shape[2:])
    meta = {"ori_shape": shape, "img_shape": shape, "pad_shape": shape}
    with torch.no_grad():
        logits: Tensor = network.encode_decode(inputs_NCHW, [meta])
    return logits
