from __future__ import annotations

import dataclasses

import pytest

from segcore.nn.networks import build_network, model_config
from segcore.nn.training import parameter_groups
from segcore.process.jobs import TrainJob


@pytest.mark.parametrize(
    ("preset", "ending"),
    [
        ("swin_tiny_upernet", "relative_position_bias_table"),
        ("dinov2_small_fpn", "position_embeddings"),
        ("dinov3_small_fpn", "register_tokens"),
    ],
)
def test_weights_decay_but_norms_biases_and_positions_do_not(preset: str, ending: str, tiny_job: TrainJob) -> None:
    spec = dataclasses.replace(tiny_job.model, preset=preset, weights=None, tiny=True)
    network = build_network(model_config(spec, 64))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, tiny_job)
    kept = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert any(name.endswith(ending) for name in kept)
    assert not any(name.endswith((ending, "bias")) for name in decayed)
    assert "decode_head.conv_seg.weight" in decayed
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert kept | decayed == trained
