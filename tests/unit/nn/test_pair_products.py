"""The gradient of the products of fields, which has a rule of its own."""

import pytest
import torch

from tamis.nn.interaction import DotInteraction


def test_the_gradient_of_products_is_that_of_the_sum_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    (DotInteraction(4)(fields) * upstream).sum().backward()  # type: ignore[no-untyped-call]
    expected, values = torch.zeros(3, 4, 2, dtype=torch.float64), fields.detach()
    pairs = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    for number, (first, second) in enumerate(pairs):
        expected[:, first] += upstream[:, number, None] * values[:, second]
        expected[:, second] += upstream[:, number, None] * values[:, first]
    assert fields.grad is not None
    torch.testing.assert_close(fields.grad, expected)


def test_numerical_differences_agree_with_the_gradient() -> None:
    fields = torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(DotInteraction(3), (fields,))


def test_with_and_without_gradient_the_products_are_the_same() -> None:
    fields = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    plain = DotInteraction(5)(fields)
    assert torch.equal(DotInteraction(5)(fields.requires_grad_()).detach(), plain)


@pytest.mark.parametrize("num_fields", [1, 2])
def test_few_fields_have_few_products(num_fields: int) -> None:
    fields = torch.ones(2, num_fields, 3, requires_grad=True)
    products = DotInteraction(num_fields)(fields)
    assert products.shape == (2, num_fields - 1)
    products.sum().backward()
    assert fields.grad is not None
    assert fields.grad.tolist() == [[[num_fields - 1.0] * 3] * num_fields] * 2


def test_in_bfloat16_the_gradient_comes_back_in_float32() -> None:
    fields = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(3), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        products = DotInteraction(4)(fields)
    assert products.dtype == torch.bfloat16
    products.float().sum().backward()
    assert fields.grad is not None
    assert fields.grad.dtype == torch.float32
    others = fields.detach().sum(dim=1, keepdim=True) - fields.detach()
    torch.testing.assert_close(fields.grad, others, rtol=0.02, atol=0.05)
