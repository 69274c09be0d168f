"""How long does a user wait for an answer over HTTP, how many can be answered, and what would one write by oneself?

    bench_serving.py                       all rows of the table; the bundle is built at the first run, some minutes
    bench_serving.py --items 20000 --users 2000 --seconds 5     small, to try it
    bench_serving.py --steady 30           half an hour at 70 % of saturation, a swap of the bundle every 20 s

One user in each request. Server and load generator run on the same machine, which has the cores that the result names.
Requests are sent at times that are fixed before (open loop), and latency counts from then. Measured:

- `retrieval`: the candidates of a two-tower model out of an IVF index, best first, at a fixed rate;
- `two-stage`: the same, and a DLRM (26 columns of codes, 13 of numbers) ranks the first 200 of 500 candidates;
- `saturation`: answers a second to eight connections that ask without a pause, and beside it what the same models allow
  when they are called one after the other in as many threads as there are cores, without any server;
- `naive`: `naive_server.py` over the same models, at the same rate and at its own saturation.

Models are trained for one epoch on made-up clicks: vectors are clustered as trained ones are; quality is not measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from measure import report
from serving_bundle import SEED, Size, bundles
from serving_steady import SHARE, SWAP_S, steady
from tamis.serving.load_connection import address_of, request_bytes
from tamis.serving.load_questions import bodies_of_users, users_in
from tamis.serving.load_report import summary
from tamis.serving.load_run import LoadRun
from tamis.serving.load_test import load_test
from tamis.serving.process_memory import memory_mb

HERE = Path(__file__).parent
NUM_RANKED, K = 200, 10
RATES = {"retrieval": 300.0, "two-stage": 100.0}
CONNECTIONS = 8  # that ask without a pause, to see how many answers there are a second


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it answers."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ})
        try:
            _wait_for(process, port, said)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(process: subprocess.Popen[bytes], port: int, said: Any) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=5):
            return
        time.sleep(0.2)
    said.seek(0)
    raise RuntimeError(f"the server did not start: {said.read()[-2000:].decode()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def tamis_command(bundle: Path, port: int, workers: int) -> list[str]:
    settings = {"log_requests": "false", "num_ranked": NUM_RANKED, "threads": 2, "queue": 64}
    chosen = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    start = "from tamis.cli import cli; cli()"
    where = ["serve", str(bundle), "--port", str(port), "--workers", str(workers), "--state", "none"]
    return [sys.executable, "-c", start, *where, *chosen]


def naive_command(bundle: Path, port: int, size: Size) -> list[str]:
    numbers = [str(port), str(size.retrieved), str(min(NUM_RANKED, size.retrieved))]
    return [sys.executable, str(HERE / "naive_server.py"), str(bundle), *numbers]


class Asked:
    """A server at a port, asked at any rate by known users."""

    def __init__(self, port: int, bundle: Path, seconds: float) -> None:
        self.url, self.seconds = f"http://127.0.0.1:{port}", seconds
        self.bodies = bodies_of_users(users_in(bundle, seed=SEED), K)

    def at(self, rate: float, *, seconds: float | None = None, warm_up_s: float = 2.0) -> dict[str, Any]:
        return load_test(
            self.url,
            self.bodies,
            rate=rate,
            duration_s=seconds or self.seconds,
            warm_up_s=warm_up_s,
            seed=SEED,
            verbose=sys.stderr.isatty(),
        )

    def saturation(self) -> dict[str, Any]:
        """The most answers a second: a few connections that ask again as soon as they are answered."""
        first = self._as_fast_as_can_be(200)
        count = max(int(first["achieved_rate"] * self.seconds), 200)
        found = self._as_fast_as_can_be(count)
        kept = ("requests", "statuses", "degraded")
        figures = {"requests_per_s": found["achieved_rate"], "connections": CONNECTIONS, "ms": found["service_ms"]}
        return figures | {name: found[name] for name in kept}

    def _as_fast_as_can_be(self, count: int) -> dict[str, Any]:
        address, path = address_of(self.url)
        requests = [request_bytes(address, path, body, {}) for body in self.bodies[:count]]
        run = LoadRun(address, np.zeros(count), requests, connections=CONNECTIONS, timeout_s=600)
        return summary(run.run(), rate=0.0)


def models_alone(bundle: Path, seconds: float, threads: int) -> dict[str, float]:
    """Requests a second of tower, index and ranker in as many threads, called one after the other without a server."""
    from tamis import Recommender

    recommender = Recommender.load(bundle, runtime="onnx")
    source: Any = recommender.sources[0]
    ids = users_in(bundle, seed=SEED)[:2000]
    rows = [recommender.queries([user]).features.row(0, named=True) for user in ids]
    scorer = None if recommender.ranker is None else recommender.ranker._scorer_of(recommender.catalogue)
    counts, until = [0] * threads, time.perf_counter() + seconds

    def ask(thread: int) -> None:
        number = thread
        while time.perf_counter() < until:
            at = number % len(rows)
            found = source.index.search(source.query_encoder.encode_row(rows[at]), source.quota)
            if scorer is not None:
                scorer.score(rows[at], found.ids[0][:NUM_RANKED])
            counts[thread] += 1
            number += threads

    running = [threading.Thread(target=ask, args=(thread,)) for thread in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return {
        "requests_per_s": round(sum(counts) / seconds, 1),
        "recall_at_100": round(source.index.recall, 3),
        "cells_searched": source.index._effort_for(source.quota, len(source.index), 10**9),
    }


def measured(name: str, bundle: Path, size: Size, seconds: float, workers: int) -> None:
    """Rows of one kind of request."""
    cores = os.cpu_count() or 1
    facts = {"kind": name, "items": size.items, "users": size.users, "retrieved": size.retrieved, "cores": cores}
    facts |= {"ranked": NUM_RANKED if name == "two-stage" else 0, "seed": SEED}
    command = [sys.executable, __file__, "--alone", str(bundle), "--seconds", str(seconds)]
    alone = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    port = free_port()
    with running(tamis_command(bundle, port, workers), port) as process:
        asked = Asked(port, bundle, seconds)
        fixed = asked.at(RATES[name])
        most = asked.saturation()
        memory = memory_mb(process.pid)
    report(
        "serving",
        system="tamis",
        **facts,
        workers=workers,
        at_rate=fixed,
        saturation=most,
        models_alone=alone,
        share_of_models_alone=round(most["requests_per_s"] / alone["requests_per_s"], 3),
        private_memory_mb=round(memory),
    )
    port = free_port()
    with running(naive_command(bundle, port, size), port) as process:
        asked = Asked(port, bundle, seconds)
        most = asked.saturation()
        fixed = asked.at(RATES[name], seconds=min(seconds, 10.0))
        memory = memory_mb(process.pid)
    report(
        "serving",
        system="naive",
        **facts,
        at_rate=fixed,
        saturation=most,
        private_memory_mb=round(memory),
    )


def run_steady(folders: dict[str, Path], given: argparse.Namespace) -> None:
    """Both bundles by turns, at 70 % of what the slower of them can do beside the swaps' loading."""
    port, workers = free_port(), given.workers
    rate = given.rate
    if rate is None:
        with running(tamis_command(folders["two-stage"], port, workers), port):
            rate = SHARE * Asked(port, folders["two-stage"], given.seconds).saturation()["requests_per_s"]
    found = steady(
        folders,
        given.steady,
        rate,
        lambda place, port: tamis_command(place, port, workers),
        running,
        port,
        given.swap_seconds,
    )
    report("serving_steady", items=given.items, users=given.users, workers=workers, cores=os.cpu_count(), **found)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--retrieved", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=list(RATES))
    parser.add_argument("--steady", type=float, metavar="MINUTES")
    parser.add_argument("--rate", type=float, help="of the steady load; by default 70 %% of saturation")
    parser.add_argument("--swap-seconds", type=float, default=SWAP_S, help="of the steady load")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.alone:
        print(json.dumps(models_alone(given.alone, given.seconds, os.cpu_count() or 1)))
        return
    size = Size(given.items, given.users, given.retrieved)
    folders = bundles(size)
    if given.steady:
        run_steady(folders, given)
        return
    for name in [given.only] if given.only else RATES:
        measured(name, folders[name], size, given.seconds, given.workers)


if __name__ == "__main__":
    main()
