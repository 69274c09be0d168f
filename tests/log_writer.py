"""Writes updates into a log until it is killed, and says on stdout what was acknowledged; then another one goes on.

    python log_writer.py FOLDER NUMBER_OF_KILLS SEED

A process of its own, small and with one thread, so that it can fork a writer for each kill: a kill costs milliseconds.
Before each writer starts, everything that was ever acknowledged is looked for. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from tamis.serving.update_log import Event, UpdateLog

ITEM, REMOVED, USER, EVENT = "item", "removed", "user", "event"


def write(folder: Path, first: int, said: int) -> None:
    """Updates of all kinds, one after the other; each is said when the log has taken it."""
    log = UpdateLog(folder)
    for number in range(first, first + 100_000):
        log.put_items([(number, {"price": float(number), "title": "x" * (number % 3000)})])
        os.write(said, f"{ITEM} {number}\n".encode())
        if number % 3 == 0:
            log.remove_items([number])
            os.write(said, f"{REMOVED} {number}\n".encode())
        log.put_user(f"u{number}", {"age": number})
        os.write(said, f"{USER} {number}\n".encode())
        log.put_events([Event(f"u{number}", item) for item in (number, number + 1)])
        os.write(said, f"{EVENT} {number}\n".encode())


def killed(folder: Path, first: int, wait_s: float) -> list[tuple[str, int]]:
    """Let a process write, kill it so long after its first update, and give what was acknowledged."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(heard)
            write(folder, first, said)
        finally:
            os._exit(1)
    os.close(said)
    try:
        assert select.select([heard], [], [], 30)[0], "no update was taken within 30 s"
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        with os.fdopen(heard, "rb", closefd=False) as pipe:
            text = pipe.read().decode()
    finally:
        os.close(heard)
    lines = text[: text.rfind("\n") + 1].splitlines()  # the last may be cut short
    return [(kind, int(number)) for kind, number in (line.split() for line in lines)]


def missing(folder: Path, acknowledged: dict[str, set[int]], asked_to_remove: set[int]) -> list[str]:
    """What was acknowledged and is not there."""
    log = UpdateLog(folder)
    kept = {int(one.item): one for one in log.items_after(0, limit=10_000_000)}
    wrong = [f"item {n}" for n in acknowledged[ITEM] if n not in kept or kept[n].columns["price"] != n]
    wrong += [f"item {n} is back" for n in acknowledged[REMOVED] if kept[n].is_offered]
    wrong += [f"item {n} is gone" for n in acknowledged[ITEM] - asked_to_remove if not kept[n].is_offered]
    wrong += [f"user {n}" for n in acknowledged[USER] if log.user(f"u{n}").features != {"age": n}]
    wrong += [f"events of {n}" for n in acknowledged[EVENT] if log.user(f"u{n}").met != [n, n + 1]]
    log.close()
    return wrong


def main() -> None:
    """Kill so many writers."""
    folder, times, draws = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    all_kinds = (ITEM, REMOVED, USER, EVENT)
    acknowledged: dict[str, set[int]] = {kind: set() for kind in all_kinds}
    UpdateLog(folder).close()
    for round_ in range(times):
        found = killed(folder, round_ * 100_000, draws.uniform(0, 0.04))
        latest: dict[str, set[int]] = {kind: {n for one, n in found if one == kind} for kind in all_kinds}
        for kind in all_kinds:
            acknowledged[kind] |= latest[kind]
        looked_for = acknowledged if round_ % 20 == 19 or round_ == times - 1 else latest  # all of it now and then
        wrong = missing(folder, looked_for, {n for n in acknowledged[ITEM] if n % 3 == 0})
        assert not wrong, f"after kill {round_ + 1}: {wrong[:5]} of {len(wrong)}"
    print(json.dumps({"kills": times, **{kind: len(found) for kind, found in acknowledged.items()}}))


if __name__ == "__main__":
    main()
