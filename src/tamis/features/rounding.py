"""Plain Python numbers as a narrower dtype holds them."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_float


def float32(value: float) -> float:
    """The nearest 32-bit number, infinite where there is none."""
    return c_float(value).value


def rounder(dtype: str) -> Callable[[float], float]:
    """What a cast from float64 to a float dtype does to one number."""
    return float if dtype == "float64" else float32


def whole_range(dtype: str) -> tuple[int, int]:
    """The smallest and the largest number of a dtype of whole numbers."""
    bits = int(dtype.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
