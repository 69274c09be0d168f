"""Frappe's rows for all sides: the same files, the same tenth of `train` held out. Wants NumPy and PyArrow alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

DATA = Path(os.environ.get("TAMIS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "frappe"
LABEL = "label"
HELD_OUT_SEED = 2026
EPOCHS, PATIENCE = 60, 3  # early stopping on the AUC of the held-out rows, the same for all

Part = dict[str, Any]  # arrays of one length by column


def read(folder: Path = DATA) -> dict[str, Part]:
    """The rows to train on (`fit`), to stop and choose by (`held_out`), and to judge by (`test`)."""
    train, test = _columns(folder / "train.parquet"), _columns(folder / "test.parquet")
    num_rows = len(train[LABEL])
    order = np.random.default_rng(HELD_OUT_SEED).permutation(num_rows)
    held_out, fit = np.sort(order[: num_rows // 10]), np.sort(order[num_rows // 10 :])
    return {"fit": _rows(train, fit), "held_out": _rows(train, held_out), "test": test}


def codes(parts: Mapping[str, Part]) -> tuple[dict[str, Part], dict[str, int]]:
    """Codes from 0 within each column, as most libraries want them, and how many each column has."""
    names = [name for name in parts["fit"] if name != LABEL]
    first = {name: min(int(part[name].min()) for part in parts.values()) for name in names}
    last = {name: max(int(part[name].max()) for part in parts.values()) for name in names}
    moved = {
        key: {LABEL: part[LABEL], **{name: part[name].astype(np.int64) - first[name] for name in names}}
        for key, part in parts.items()
    }
    return moved, {name: last[name] - first[name] + 1 for name in names}


def _columns(path: Path) -> Part:
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def _rows(part: Part, rows: Any) -> Part:
    return {name: values[rows] for name, values in part.items()}
