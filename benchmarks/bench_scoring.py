"""How long does it take to score 100, 500 and 1,000 candidates for one user, beside the least that it can?

The floor: the FLOPs of all matrix products of the repeated rows, over the fastest product of two large matrices that
this machine does on one thread in float32, measured right before and after each case. Scoring runs on one thread too,
as a server would have it: requests share the cores. Of the 26 categorical columns every other one (C1, C3, ...) is the
user's and the other 13 are the item's. The 13 numbers are either all the user's and the situation's, or six of them
(I8 to I13) are the item's: then DLRM's lower layers, which mix all numbers, have to run for every candidate.
Candidates are drawn anew for each request from a catalogue of 100,000 items. `whole` is the network on the repeated
rows, which lie ready as tensors.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from criteo_like import NUM_NUMBERS, forward_flops, frame_of, matmul_peak, model_of, schema_of, sizes_with
from measure import peak_mb, report

SEED = 42
DIM = 16
CODES = [f"C{i}" for i in range(1, 27, 2)]  # the user's


def times_ms(function: Callable[[int], Any], requests: int) -> dict[str, float]:
    """p50 and p99 of calls with 0, 1, 2, ..."""
    import numpy as np

    for number in range(20):
        function(number)
    taken = []
    for number in range(requests):
        start = time.perf_counter()
        function(number)
        taken.append((time.perf_counter() - start) * 1e3)
    return {"p50_ms": round(float(np.median(taken)), 3), "p99_ms": round(float(np.quantile(taken, 0.99)), 3)}


def measure(kind: str, num_items: int, widths: list[int], requests: int, item_numbers: int) -> None:
    import numpy as np
    import torch

    from tamis.models.candidate_scorer import CandidateScorer

    query_columns = CODES + [f"I{i + 1}" for i in range(NUM_NUMBERS - item_numbers)]
    schema = schema_of(sizes_with(1_000_000))
    model = model_of(kind, schema, DIM)
    items = frame_of(sizes_with(1_000_000), num_items, SEED).drop(["label", *query_columns])
    start = time.perf_counter()
    scorer = CandidateScorer(model, items, widths=widths)
    build_s = time.perf_counter() - start
    query = frame_of(sizes_with(1_000_000), 1, SEED + 1).select(query_columns).to_dicts()[0]
    generator, flops = np.random.default_rng(SEED), forward_flops(model)
    for width in widths:
        drawn = generator.integers(0, num_items, (20 + requests, width))
        peak = matmul_peak()
        found = times_ms(lambda number, drawn=drawn: scorer.score(query, drawn[number]), requests)
        columns = {name: torch.from_numpy(items[name].to_numpy()[drawn[0]]) for name in items.columns}
        columns |= {name: torch.tensor([value] * width) for name, value in query.items()}
        with torch.inference_mode():
            whole = times_ms(lambda _, columns=columns: model.network(columns).sigmoid(), requests)
        peak = max(peak, matmul_peak())
        floor_ms = flops * width / peak * 1e3
        report(
            "scoring",
            model=kind,
            candidates=width,
            item_numbers=item_numbers,
            **found,
            floor_ms=round(floor_ms, 3),
            times_floor=round(found["p50_ms"] / floor_ms, 2),
            whole_p50_ms=whole["p50_ms"],
            whole_p99_ms=whole["p99_ms"],
            mflop=round(flops * width / 1e6, 1),
            peak_gflops=round(peak / 1e9),
            items=num_items,
            build_s=round(build_s, 2),
            table_mb=round(scorer.table_mb),
            peak_mb=peak_mb(),
            dim=DIM,
            threads=1,
            requests=requests,
            load=round(os.getloadavg()[0], 1),
            seed=SEED,
        )


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mlp", "deepfm", "dcn", "dlrm"])
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--item-numbers", type=int, nargs="+", default=[0, 6], help="of the 13, the item's")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for kind in given.models:
        for item_numbers in given.item_numbers:
            measure(kind, given.items, given.candidates, given.requests, item_numbers)


if __name__ == "__main__":
    main()
