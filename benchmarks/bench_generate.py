"""How many rows a second does the generator write, and in how much memory?

Streams synthetic Ali-CCP rows with and without a planted truth to parquet. One JSON line per kind.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time

from measure import peak_mb, report


def measure(num_rows: int, signal: float) -> dict[str, float]:
    from tamis.datasets import generate_data

    generate_data("aliccp-raw", 10_000, signal=signal)  # imports and caches
    with tempfile.TemporaryDirectory() as folder:
        started, cpu_started = time.perf_counter(), time.process_time()
        generate_data("aliccp-raw", num_rows, (0.7, 0.3), signal=signal, path=f"{folder}/data")
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "rows_per_s": round(num_rows / wall_s),
        "rows_per_cpu_s": round(num_rows / cpu_s),
        "peak_mb": peak_mb(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    num_rows = parser.parse_args().rows
    for kind, signal in (("planted", 1.0), ("independent", 0.0)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process of its own for the peak memory
            found = pool.apply(measure, (num_rows, signal))
        report("generate", kind=kind, rows=num_rows, **found)


if __name__ == "__main__":
    main()
