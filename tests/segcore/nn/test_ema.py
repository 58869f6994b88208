from __future__ import annotations

import torch
from torch import nn

from segcore.nn.ema import Average


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def shaken(model: nn.Module) -> None:
    """Change every weight and, by a forward pass, batch norm's statistics."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    model(torch.randn(4, 2, 3, 3))


def test_an_average_is_what_the_plain_formula_gives():
    model = network()
    average = Average(model, 0.3)  # type: ignore[arg-type]
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    for decay in (1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3):
        shaken(model)
        average.update(model)
        weights = list(model.parameters())
        expected = [decay * mean + (1 - decay) * weight for mean, weight in zip(expected, weights, strict=True)]
    for mean, parameter in zip(expected, average.network.parameters(), strict=True):
        torch.testing.assert_close(parameter, mean)
        assert not parameter.requires_grad
    for mine, other in zip(average.network.buffers(), model.buffers(), strict=True):
        assert torch.equal(mine, other)


def test_an_average_goes_on_from_its_state_as_if_it_had_never_stopped():
    model = network()
    whole = Average(model, 0.9)  # type: ignore[arg-type]
    shaken(model)
    whole.update(model)
    resumed = Average(network(), 0.9)  # type: ignore[arg-type]
    resumed.load_state_dict(whole.state_dict())
    shaken(model)
    for average in (whole, resumed):
        average.update(model)
    assert all(
        torch.equal(one, two) for one, two in zip(whole.network.parameters(), resumed.network.parameters(), strict=True)
    )
