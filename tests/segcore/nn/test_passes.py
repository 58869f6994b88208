from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segcore.nn.passes import PassBudget, is_out_of_memory, release_memory


def doubled(inputs: Tensor) -> Tensor:
    return 2 * inputs


@pytest.mark.parametrize(("pixels", "passes"), [(1, [1] * 5), (100, [1] * 5), (200, [2, 2, 1]), (10**6, [5])])
def test_inputs_run_together_as_the_budget_says_and_come_back_in_order(pixels: int, passes: list[int]) -> None:
    seen: list[int] = []

    def network(inputs: Tensor) -> Tensor:
        seen.append(len(inputs))
        return doubled(inputs)

    inputs = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 10, 10)
    assert torch.equal(PassBudget(pixels).run(network, inputs), 2 * inputs)
    assert seen == passes


def test_a_halved_budget_allows_half_as_many_inputs_as_ran_last_until_one_runs_alone() -> None:
    budget = PassBudget(10**6)
    inputs = torch.zeros(5, 3, 10, 10)
    for expected in (2, 1):
        budget.run(doubled, inputs)
        assert budget.halve()
        assert budget.inputs(10, 10) == expected
    budget.run(doubled, inputs)
    assert not budget.halve()


def test_memory_that_torch_refuses_on_the_cpu_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    release_memory()
