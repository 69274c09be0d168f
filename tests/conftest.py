"""What every test gets: one thread, and the real data where it is."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads fight over two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets: `TAMIS_DATA`, or `../shared/data` beside the project."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TAMIS_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder. Set TAMIS_DATA to the folder that holds it.")
    return folder
