"""Columns and networks like those of click logs: 26 categorical columns, a few of a million values, and 13 numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from tamis import Schema
    from tamis.models.ranking import RankingModel

SIZES = [1_000_000] * 3 + [100_000] * 5 + [10_000] * 4 + [2000, 1500, 1000, 600, 300, 100, 60, 30, 24, 14, 10, 7, 4, 3]
NUM_NUMBERS = 13


def sizes_with(largest: int) -> list[int]:
    """The sizes, with another one of the three largest columns."""
    return [largest if size == 1_000_000 else size for size in SIZES]


def schema_of(sizes: list[int]) -> Schema:
    """26 categorical columns `C1`..., 13 numbers `I1`..., and whether it was clicked."""
    from tamis import ColumnSchema, Schema, Tags

    columns = [
        ColumnSchema(f"C{i + 1}", "int32", {Tags.CATEGORICAL}).with_domain(size - 1) for i, size in enumerate(sizes)
    ]
    columns += [ColumnSchema(f"I{i + 1}", "float32", {Tags.CONTINUOUS}) for i in range(NUM_NUMBERS)]
    return Schema([*columns, ColumnSchema("label", "float32", {Tags.TARGET})])


def frame_of(sizes: list[int], num_rows: int, seed: int) -> pl.DataFrame:
    """Rows with frequencies like Zipf's law; the click follows some of the columns."""
    import numpy as np
    import polars as pl

    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for i, size in enumerate(sizes):
        cumulative = np.cumsum(1 / np.arange(1, size + 1) ** 1.05)
        drawn = np.searchsorted(cumulative / cumulative[-1], generator.random(num_rows)).clip(max=size - 1)
        columns[f"C{i + 1}"] = drawn.astype(np.int32)
    numbers = generator.normal(size=(NUM_NUMBERS, num_rows)).astype(np.float32)
    columns |= {f"I{i + 1}": number for i, number in enumerate(numbers)}
    logit = 0.5 * numbers[0] - 0.3 * numbers[1] + 0.3 * (columns["C13"] % 7 - 3) - 1.2
    columns["label"] = (generator.random(num_rows) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return pl.DataFrame(columns)


def model_of(kind: str, schema: Schema, dim: int) -> RankingModel:
    """The networks that Merlin's own benchmark scripts use, at this width of the embeddings."""
    import tamis
    from tamis import MLPBlock

    options, top = tamis.EmbeddingOptions(embedding_dim_default=dim), MLPBlock([256, 128, 64])
    if kind == "dlrm":
        return tamis.DLRMModel(schema, MLPBlock([256, 128, dim]), top, embedding_options=options)
    if kind == "dcn":
        return tamis.DCNModel(schema, 3, top, embedding_options=options)
    if kind == "deepfm":
        return tamis.DeepFMModel(schema, top, embedding_options=options)
    return tamis.MLPModel(schema, top, embedding_options=options)


def forward_flops(model: RankingModel, num_rows: int = 64) -> float:
    """Floating point operations of the matrix products of one row's scores."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    features = {c.name: torch.zeros(num_rows, dtype=torch.int32) for c in model.input_schema if c.cardinality}
    features |= {c.name: torch.zeros(num_rows) for c in model.input_schema if not c.cardinality}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.network(features)
    return float(counter.get_total_flops()) / num_rows


def matmul_peak(precision: str = "float32", tries: int = 20) -> float:
    """FLOP/s of the fastest of some products of [2048, 1024] and [1024, 1024], with torch's threads as they are."""
    import torch

    left, right = torch.randn(2048, 1024), torch.randn(1024, 1024)
    if precision == "bfloat16":
        left, right = left.bfloat16(), right.bfloat16()
    best = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return float(2 * 2048 * 1024 * 1024 / best)
