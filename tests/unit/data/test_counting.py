"""Rows that pass through a lazy frame move a bar, and come out as they went in."""

import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Workflow, ops
from tamis.data import counting
from tamis.data.counting import counted
from tamis.features import statistics

FRAME = pl.DataFrame(
    {"id": [1, 2, 3], "tags": [["a"], [], None], "kind": pl.Series(["x", None, "y"], dtype=pl.Categorical)}
)


@pytest.mark.parametrize("name", FRAME.columns)
def test_every_row_is_counted_and_none_is_changed(name: str) -> None:
    rows: list[int] = []
    frame = counted(FRAME.lazy(), ["nothing", name], rows.append)
    assert_frame_equal(frame.collect(engine="streaming"), FRAME)
    assert sum(rows) == 3


def test_a_frame_without_any_of_the_columns_is_left_as_it_is() -> None:
    frame = FRAME.lazy()
    assert counted(frame, ["nothing"], print) is frame


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (counting, statistics):
        monkeypatch.setattr(module, "is_watched", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_fit_and_write_show_bars_where_somebody_watches(
    watched: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    rows = Dataset(pl.DataFrame({"id": [1, 2, 1], "price": [1.0, 2.0, 3.0]})).to_parquet(tmp_path / "rows")
    workflow = Workflow((["id"] >> ops.Categorify()) + (["price"] >> ops.Normalize())).fit(rows)
    written = workflow.transform(rows).to_parquet(tmp_path / "out").compute()
    assert written["id"].to_list() == [3, 4, 3]
    shown = capsys.readouterr()
    assert "fit" in shown.err and "write" in shown.err and "rows/s" in shown.err
    assert shown.out == ""


def test_nobody_is_shown_a_bar_where_stderr_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Dataset(pl.DataFrame({"id": [1, 2]})).to_parquet(tmp_path / "rows")
    Workflow(["id"] >> ops.Categorify()).fit(rows).transform(rows).to_parquet(tmp_path / "out")
    assert capsys.readouterr() == ("", "")
