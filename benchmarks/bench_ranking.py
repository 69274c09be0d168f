"""How many rows a second does a ranker train on, beside plain torch with Adam, and does it depend on the tables' size?

26 categorical columns, three of a million values, and 13 numbers; DLRM and DCN-v2 as Merlin's own scripts build them.
Tamis runs `fit` as a whole from a parquet folder, loader included, and takes each step's time between two ends of
steps; plain torch (a table per column, dense gradients, `torch.optim.Adam`, also with `fused=True`) runs over batches
that lie in memory. Each is a process of its own, one after the other in each round; the median step of the round in the
middle is reported. With `MERLIN_PYTHON`, Merlin with Adagrad, its fastest, runs in the same rounds at the same widths.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from criteo_like import NUM_NUMBERS, forward_flops, frame_of, matmul_peak, model_of, schema_of, sizes_with
from measure import peak_mb, report

SEED = 42
WARM_UP = 5
MERLIN = Path(os.environ.get("MERLIN_BASELINE", Path(__file__).parents[2] / "shared" / "merlin-baseline"))


def with_tamis(kind: str, batch: int, dim: int, largest: int, steps: int, optimizer: str) -> dict[str, Any]:
    from statistics import median

    import tamis
    from tamis.nn.precision import chosen_device, chosen_precision
    from tamis.training.callbacks import Callback

    ends: list[float] = []

    class Clock(Callback):
        def on_step_end(self, trainer: Any) -> None:
            ends.append(time.perf_counter())

    sizes = sizes_with(largest)
    schema = schema_of(sizes)
    with tempfile.TemporaryDirectory() as folder:
        frame = frame_of(sizes, batch * (steps + WARM_UP), SEED)
        train = tamis.Dataset(frame, schema=schema).to_parquet(f"{folder}/train")
        del frame
        model = model_of(kind, schema, dim)
        model.compile(optimizer=optimizer)
        model.fit(train, batch_size=batch, epochs=1, callbacks=[Clock()], device="cpu", verbose=False)
    step = median(after - before for before, after in zip(ends[WARM_UP - 1 :], ends[WARM_UP:], strict=False))
    precision = str(chosen_precision("auto", chosen_device("cpu"))).removeprefix("torch.")
    flops = 3 * batch * forward_flops(model)  # backward: the gradient of the weights, and that of the inputs
    return {
        "rows_per_s": round(batch / step),
        "step_ms": round(step * 1e3, 1),
        "peak_mb": peak_mb(),
        "precision": precision,
        "share_of_peak": round(flops / step / matmul_peak(precision), 3),
    }


def with_torch(kind: str, batch: int, dim: int, largest: int, steps: int, fused: bool) -> dict[str, Any]:
    from statistics import median

    import torch
    from torch.nn import functional as F

    from ranking_by_hand import NETWORKS

    sizes = sizes_with(largest)
    frame = frame_of(sizes, batch * (steps + WARM_UP), SEED)
    codes = frame.select(f"C{i + 1}" for i in range(len(sizes))).to_torch()
    numbers = frame.select(f"I{i + 1}" for i in range(NUM_NUMBERS)).to_torch()
    labels = frame["label"].to_torch()
    torch.manual_seed(SEED)
    network = NETWORKS[kind](sizes, NUM_NUMBERS, dim)
    optimizer = torch.optim.Adam(network.parameters(), fused=True) if fused else torch.optim.Adam(network.parameters())
    taken = []
    for number in range(steps + WARM_UP):
        start = time.perf_counter()
        rows = slice(number * batch, (number + 1) * batch)
        loss = F.binary_cross_entropy_with_logits(network(codes[rows], numbers[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
    step = median(taken[WARM_UP:])
    return {"rows_per_s": round(batch / step), "step_ms": round(step * 1e3, 1), "peak_mb": peak_mb()}


def with_merlin(kind: str, batch: int, dim: int, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "results.jsonl"
        command = [os.environ["MERLIN_PYTHON"], "train_throughput.py", kind, "--batch", str(batch), "--dim", str(dim)]
        command += ["--steps", str(steps), "--optimizer", "adagrad"]
        environment = {**os.environ, "BENCH_OUT": str(out), "BENCH_DATA": work}
        subprocess.run(command, check=True, env=environment, cwd=MERLIN, stdout=subprocess.DEVNULL)
        rows = {row["metric"]: row["value"] for row in map(json.loads, out.read_text().splitlines())}
    found = {"rows_per_s": round(rows["throughput (from median step)"]), "step_ms": round(rows["step median"], 1)}
    return {**found, "peak_mb": round(rows["peak RSS"])}


def apart(function: Any, *arguments: Any) -> dict[str, Any]:
    """What a function finds in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, Any] = pool.apply(function, arguments)
    return found


def beside(kind: str, batch: int, dim: int, steps: int, runs: int) -> None:
    """One network, trained by all."""
    rounds: dict[str, list[dict[str, Any]]] = {}
    for _ in range(runs):
        for optimizer in ("adam", "adagrad"):
            found = apart(with_tamis, kind, batch, dim, 1_000_000, steps, optimizer)
            rounds.setdefault(f"tamis {optimizer}", []).append(found)
        for name, fused in (("torch adam", False), ("torch fused adam", True)):
            found = apart(with_torch, kind, batch, dim, 1_000_000, max(steps // 2, 5), fused)
            rounds.setdefault(name, []).append(found)
        if "MERLIN_PYTHON" in os.environ:
            rounds.setdefault("merlin adagrad", []).append(with_merlin(kind, batch, dim, steps))
    report(
        "ranking",
        model=kind,
        batch_size=batch,
        dim=dim,
        **{name.replace(" ", "_"): middle(found) for name, found in rounds.items()},
        runs=runs,
        steps=steps,
        load=round(os.getloadavg()[0], 1),
        seed=SEED,
    )


def by_table_size(kind: str, batch: int, dim: int, steps: int, runs: int) -> None:
    """The same step with three tables of 10^4, 10^6 and 4 * 10^6 rows."""
    sizes = (10_000, 1_000_000, 4_000_000)
    rounds = [{size: apart(with_tamis, kind, batch, dim, size, steps, "adam") for size in sizes} for _ in range(runs)]
    by_size = {str(size): middle([found[size] for found in rounds]) for size in sizes}
    report("ranking-tables", model=kind, batch_size=batch, dim=dim, by_size=by_size, runs=runs, steps=steps, seed=SEED)


def middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The run in the middle."""
    return sorted(found, key=lambda run: run["rows_per_s"])[len(found) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["dlrm", "dcn"])
    parser.add_argument("--batches", type=int, nargs="+", default=[4096, 16_384])
    parser.add_argument("--dims", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    for kind in given.models:
        for dim in given.dims:
            for batch in given.batches:
                if dim == min(given.dims) or batch == min(given.batches):
                    beside(kind, batch, dim, given.steps, given.runs)
        by_table_size(kind, min(given.batches), min(given.dims), given.steps, given.runs)


if __name__ == "__main__":
    main()
