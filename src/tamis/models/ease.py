"""EASE: linear item-to-item weights in closed form."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from tamis.errors import SettingError


def ease_weights(gram: NDArray[Any], *, l2: float) -> NDArray[Any]:
    """The weights that predict each item of a user best from the user's other items, in the least squares.

    With P = (G + l2 I)^-1: B_ij = -P_ij / P_jj off the diagonal, 0 on it; a user's scores are the sum of the rows of B
    that belong to the items of the history. Takes `gram`'s memory and as much again, and time of its width cubed.

    Args:
        gram: [items, items] float32 or float64, G = X'X: how many users have both items. Its content is lost.
        l2: > 0, of the weights.

    Returns: [items, items], rows are items of the history and columns the items they speak for.

    Raises:
        SettingError: `l2` is too small for the precision of `gram`.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, eq. 8.
    """
    matrix = torch.from_numpy(gram)
    matrix.diagonal().add_(l2)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise SettingError(f"ease_weights: with l2 {l2} the matrix cannot be inverted. Give a larger l2, such as 100.")
    inverse = torch.cholesky_inverse(factor, out=matrix)
    inverse /= -inverse.diagonal().clone()
    inverse.fill_diagonal_(0)
    return inverse.numpy()
