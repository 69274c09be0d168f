"""How many rows per second does the loader alone give, and what would the usual ways give?

18 int32 columns and a target in zstd parquet, shuffled, batches of 4096: tamis' Loader (first epoch, later epochs, in
order), a torch DataLoader over the rows of an in-memory table, and reading and sampling the table with Polars. One
JSON line. `first_batch_s` is the wait for the first batch of the first epoch, `peak_mb` that of the Loader alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from measure import peak_mb, report
from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.schema import Schema, Tags

BATCH_SIZE = 4096
NUM_COLUMNS = 18


def write_table(path: Path, num_rows: int, seed: int) -> Dataset:
    generator = np.random.default_rng(seed)
    numbers = (generator.pareto(1.0, (NUM_COLUMNS, num_rows)) * 10).clip(0, 1e6).astype(np.int32)
    frame = pl.DataFrame({f"c{i}": numbers[i] for i in range(NUM_COLUMNS)})
    frame = frame.with_columns(click=pl.Series(generator.random(num_rows) < 0.1).cast(pl.Int8))
    schema = Schema(c.with_tags(Tags.TARGET) if c.name == "click" else c for c in Dataset(frame).schema)
    return Dataset(frame, schema=schema).to_parquet(path)


def rate(batches: Callable[[], Iterable[Any]], rows_of: Callable[[Any], int]) -> tuple[float, float]:
    """Rows per second, and seconds to the first batch."""
    start, first, rows = time.perf_counter(), None, 0
    for batch in batches():
        first = first or time.perf_counter() - start
        rows += rows_of(batch)
    return rows / (time.perf_counter() - start), first or 0.0


class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self, frame: pl.DataFrame) -> None:
        self.features = torch.from_numpy(frame.drop("click").to_numpy(order="c", writable=True))
        self.click = torch.from_numpy(frame["click"].to_numpy(writable=True))

    def __len__(self) -> int:
        return len(self.click)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features[row], self.click[row]


def polars_batches(files: tuple[str, ...], seed: int) -> Iterable[torch.Tensor]:
    frame = pl.read_parquet(list(files)).sample(fraction=1.0, shuffle=True, seed=seed)
    for part in frame.iter_slices(BATCH_SIZE):
        yield torch.from_numpy(part.to_numpy(order="c", writable=True))


def measure(num_rows: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, so that the peak is the loader's and not that of writing the table.
        code = f"import bench_loader as b; b.write_table(b.Path({folder!r}) / 'table', {num_rows}, {seed})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        dataset = Dataset(Path(folder) / "table")
        before = peak_mb()
        loader = Loader(dataset, BATCH_SIZE, seed=seed)
        epochs = [rate(lambda: loader, len) for _ in range(4)]
        in_order = [rate(lambda: Loader(dataset, BATCH_SIZE, shuffle=False), len)[0] for _ in range(3)]
        peak = peak_mb()
        sampled = [rate(lambda: polars_batches(dataset.files, seed), len)[0] for _ in range(3)]
        rows = Rows(dataset.head(min(num_rows, 500_000)))
        torch_loader = torch.utils.data.DataLoader(rows, BATCH_SIZE, shuffle=True)
        by_row = rate(lambda: torch_loader, lambda batch: len(batch[1]))[0]
    return {
        "rows": num_rows,
        "tamis_first_epoch_rows_per_s": round(epochs[0][0]),
        "tamis_later_epochs_rows_per_s": round(max(r for r, _ in epochs[1:])),
        "tamis_in_order_rows_per_s": round(max(in_order)),
        "first_batch_s": round(epochs[0][1], 3),
        "peak_mb": peak,
        "peak_before_mb": before,
        "polars_read_and_sample_rows_per_s": round(max(sampled)),
        "torch_dataloader_rows_per_s": round(by_row),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    report("loader", **measure(arguments.rows, arguments.seed))


if __name__ == "__main__":
    main()
