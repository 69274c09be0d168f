"""A disk that is full: nothing half-written is left, and the error says how much was needed."""

import errno
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.data.reading import reading
from tamis.disk_full import is_disk_full, size, telling_disk_full
from tamis.errors import DiskFullError
from tamis.folders import saving

FRAME = pl.DataFrame({"x": np.random.default_rng(0).random(200_000)})  # noise: 1.6 MB whatever the compression
POLARS_FULL = "parquet: File out of specification: underlying IO error: No space left on device (os error 28)"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError("No space left on device (os error 28)"), True),
        (pl.exceptions.ComputeError(POLARS_FULL), True),
        (pl.exceptions.ComputeError("underlying IO error: File too large (os error 27)"), True),
        (pl.exceptions.ComputeError("There is not enough space on the disk. (os error 112)"), True),
        (pl.exceptions.ComputeError("__POLARS_ABORT_OOC_OUT_OF_DISK__"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (pl.exceptions.ComputeError("could not parse 28"), False),
    ],
    ids=str,
)
def test_a_full_disk_is_known_by_number_or_words(error: Exception, expected: bool) -> None:
    assert is_disk_full(error) is expected


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (3e9, "3.0 GB"), (4e12, "4.0 TB")],
)
def test_sizes_are_readable(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


def test_a_write_that_meets_a_full_disk_leaves_the_old_folder_and_says_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Dataset(FRAME.head(3)).to_parquet(tmp_path / "data")
    real = pl.LazyFrame.sink_parquet

    def full(frame: pl.LazyFrame, target: object, **settings: object) -> None:
        real(frame.head(100_000), target, **settings)  # half of the rows fit
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    with pytest.raises(DiskFullError) as caught:
        Dataset(FRAME).to_parquet(tmp_path / "data", rows_per_file=50_000)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'data'}: the disk is full ([Errno 28] No space left on device): about 1.")
    assert " MB needed, " in message and " free, 752.4 kB were written before it ended" in message
    assert message.endswith("are removed again. Free some space or give a folder on a larger disk.")
    assert Dataset(tmp_path / "data").num_rows == 3
    assert [place.name for place in tmp_path.iterdir()] == ["data"]


def test_where_nobody_knows_the_whole_the_least_is_told(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x" * 2500)
    with (
        pytest.raises(DiskFullError, match=r"^out: the disk is full \(No space left\): more than 2.5 kB needed, "),
        telling_disk_full("out", tmp_path),
    ):
        raise pl.exceptions.ComputeError("No space left\nmore")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="denied"), telling_disk_full("out", tmp_path):
        raise OSError(errno.EACCES, "denied")


def test_a_model_or_workflow_that_is_saved_tells_it_too(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"model: the disk is full .* 0 bytes were written"):  # noqa: SIM117
        with saving(tmp_path / "model", kind="model", version=1):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not any(tmp_path.iterdir())


def test_a_computation_without_room_for_what_it_puts_aside_says_what_to_set() -> None:
    def spills() -> None:
        raise pl.exceptions.ComputeError("query aborted: spilled data exceeded the out-of-core disk budget")

    with pytest.raises(
        DiskFullError, match=r"^Sort: what does not fit .* \(query aborted: .*\)\. Free some space, set "
    ):
        reading(spills, "Sort")


_SMALL_FILES_ONLY = """
import resource, sys
from pathlib import Path
import numpy as np, polars as pl
from tamis.data.dataset import Dataset
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
frame = pl.DataFrame({"x": np.random.default_rng(0).random(200_000)})
try:
    Dataset(frame).to_parquet(sys.argv[1], rows_per_file=int(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_real_limit_of_the_system_is_met_in_the_same_way(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SMALL_FILES_ONLY, str(tmp_path / "data"), "200000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(f"DiskFullError {tmp_path / 'data'}: the disk is full (")
    assert "File too large" in done.stdout
    assert not any(tmp_path.iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (300_000, 300_000)  # the limit stayed in its process


def test_a_real_full_disk_is_met_in_the_same_way(tmp_path: Path) -> None:
    """A file system of one megabyte, where it may be mounted; the test above needs no rights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    except OSError:
        pytest.skip("there is no mount command here; the limit on files above stands for it")
    if mounted.returncode:
        pytest.skip("mounting is not allowed here; the limit on files above stands for it")
    try:
        Dataset(FRAME.head(3)).to_parquet(disk / "data")
        with pytest.raises(DiskFullError, match=r"about 1\.[45] MB needed, 1\.0 MB free, \d.* were written") as caught:
            Dataset(FRAME).to_parquet(disk / "data", rows_per_file=20_000)
        assert "No space left on device" in str(caught.value)
        assert Dataset(disk / "data").num_rows == 3
        assert [place.name for place in disk.iterdir()] == ["data"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
