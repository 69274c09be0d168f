"""The memory that the process may take is found, and Polars is told of it unless the user has told it already."""

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tamis.data import memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of 16 GiB without limits, whose control groups lie in a folder."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_machine", lambda: 16 * GIB)
    monkeypatch.setattr(memory, "_of_process", lambda: iter(()))
    monkeypatch.setattr(memory, "_given_by_us", None)
    for name in ("POLARS_OOC_MEMORY_BUDGET_MB", "POLARS_OVERRIDE_TOTAL_MEMORY_MB"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    os.environ.pop("POLARS_OOC_MEMORY_BUDGET_MB", None)
    pl.Config.load('{"environment": {}, "direct": {}}')  # what a test told Polars goes


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_limits_it_is_the_machines_memory(machine: Path) -> None:
    assert memory.memory_limit() == 16 * GIB
    assert not memory.is_limited()


def test_the_least_of_a_control_group_and_those_above_it_counts(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/pods/mine\n")
    write(machine / "cgroup/pods/mine/memory.max", "max\n")
    write(machine / "cgroup/pods/memory.max", f"{3 * GIB}\n")
    assert memory.memory_limit() == 3 * GIB


def test_the_older_interface_of_control_groups_counts_too(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "9:cpu:/elsewhere\n4:memory:/mine\n0::/\n")
    write(machine / "cgroup/memory/mine/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(machine / "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert memory.memory_limit() == 2 * GIB


def test_in_a_container_whose_path_is_the_hosts_the_root_counts(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/docker/4711\n")
    write(machine / "cgroup/memory.max", f"{GIB}\n")
    assert memory.memory_limit() == GIB


def test_the_processes_own_limit_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_process", lambda: iter([5 * GIB]))
    assert memory.memory_limit() == 5 * GIB


def test_polars_gets_a_third_of_a_limit(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_process", lambda: iter([3 * GIB]))
    memory.spill_in_time()
    assert os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] == "1024"
    monkeypatch.setattr(memory, "_of_process", lambda: iter([6 * GIB]))
    memory.spill_in_time()  # the limit was raised
    assert os.environ["POLARS_OOC_MEMORY_BUDGET_MB"] == "2048"


def test_without_a_limit_polars_is_left_alone(machine: Path) -> None:
    memory.spill_in_time()
    assert "POLARS_OOC_MEMORY_BUDGET_MB" not in os.environ


@pytest.mark.parametrize("name", ["POLARS_OOC_MEMORY_BUDGET_MB", "POLARS_OVERRIDE_TOTAL_MEMORY_MB"])
def test_what_the_user_has_set_stays(machine: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "77")
    monkeypatch.setattr(memory, "_of_process", lambda: iter([GIB]))
    memory.spill_in_time()
    assert os.environ[name] == "77"
    assert os.environ.get("POLARS_OOC_MEMORY_BUDGET_MB") in ("77", None)


def test_large_things_go_where_polars_puts_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_OOC_SPILL_DIR", str(tmp_path / "spill"))
    assert memory.scratch_folder() == tmp_path / "spill"
    assert (tmp_path / "spill").is_dir()


def test_without_a_word_large_things_go_to_a_folder_that_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLARS_OOC_SPILL_DIR", "POLARS_TEMP_DIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert os.access(memory.scratch_folder(), os.W_OK)
