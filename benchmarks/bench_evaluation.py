"""How many users a second does a full-catalogue evaluation rank, beside a plain matrix product and torch.topk?

    python benchmarks/bench_evaluation.py [--items 100000 1000000] [--dim 64] [--k 10]

Prints one JSON line per size. Goals on two quiet cores at k = 10: 2,000 users/s at 100,000 items, 330 at 1,000,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from measure import peak_mb, report
from tamis.evaluation.list_judging import Pairs, judge, top_k

REPEATS = 7


def seconds(work: Callable[[], object]) -> dict[str, float]:
    work()  # warm-up
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return {"p50": float(np.median(taken)), "p99": float(np.quantile(taken, 0.99)), "best": min(taken)}


def plainly(queries: torch.Tensor, candidates: torch.Tensor, k: int) -> None:
    rows = max(1, 2**24 // len(candidates))
    for block in queries.split(rows):
        (block @ candidates.T).topk(k)


def measure(num_items: int, dim: int, k: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    num_users = max(128, 204_800_000 // num_items)
    queries, candidates = (
        torch.from_numpy(generator.normal(size=(rows, dim)).astype(np.float32)) for rows in (num_users, num_items)
    )
    rows = generator.integers(0, num_users, 20 * num_users)
    seen = Pairs.from_arrays(rows, generator.integers(0, num_items, len(rows)), num_users)
    relevant = Pairs.from_arrays(np.arange(num_users), generator.integers(0, num_items, num_users), num_users)
    names = [f"{name}_at_{k}" for name in ("recall", "ndcg", "mrr", "map", "precision", "hit_rate", "item_coverage")]
    work = {
        "plain matmul + topk": lambda: plainly(queries, candidates, k),
        "top_k": lambda: top_k(queries, candidates, k),
        "judge, 7 metrics, 20 excluded": lambda: judge(queries, candidates, relevant, metrics=names, excluded=seen),
    }
    timed = {name: seconds(call) for name, call in work.items()}
    return {
        "items": num_items,
        "users": num_users,
        "users_per_s": {name: {at: round(num_users / t) for at, t in found.items()} for name, found in timed.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=10)
    settings = parser.parse_args()
    for num_items in settings.items:
        found = measure(num_items, settings.dim, settings.k)
        report("evaluation", dim=settings.dim, k=settings.k, **found, peak_mb=peak_mb())


if __name__ == "__main__":
    main()
