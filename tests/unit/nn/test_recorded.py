"""Recorded operations are the function that they were recorded of, run by torch's interpreter or by Python."""

import pytest
import torch
from torch import Tensor

from tamis.nn.recorded import recorded


def scores(rows: Tensor, query: Tensor, weight: Tensor) -> Tensor:
    table = torch.arange(12.0).reshape(4, 3)
    return torch.relu(table.index_select(0, rows) @ weight + query.to(torch.float32)).sum(dim=1)


EXAMPLE = [torch.zeros(2, dtype=torch.int64), torch.zeros(1), torch.zeros(3, 5)]


@pytest.mark.parametrize("has_interpreter", [True, False])
def test_other_values_of_the_same_sizes_get_their_own_result(
    has_interpreter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_interpreter:
        monkeypatch.delattr(torch.jit, "trace")
    run = recorded(scores, EXAMPLE)
    assert run is not None
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        weight, query = torch.randn(3, 5, generator=generator), torch.randn(1, generator=generator)
        rows = torch.randint(0, 4, (2,), generator=generator)
        assert torch.allclose(run(rows, query, weight), scores(rows, query, weight), atol=1e-5)


def test_a_function_that_decides_by_a_value_is_not_recorded() -> None:
    assert recorded(lambda x: x if x.sum() > 0 else -x, [torch.zeros(2)]) is None
