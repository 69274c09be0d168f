"""An inspected table as people see it."""

from datetime import datetime

import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.data.inspection import inspect
from tamis.journey.inspection_view import print_inspection


def shown(columns: dict[str, object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_inspection(inspect(Dataset(pl.DataFrame(columns)), now=datetime(2024, 1, 1), verbose=False), width=140)
    return capsys.readouterr().out.splitlines()


def line_of(name: str, lines: list[str]) -> str:
    return next(line for line in lines if line.startswith(name))


def test_each_column_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        {
            "user_id": [i // 2 for i in range(400)],
            "gender": ["m"] * 300 + ["f"] * 50 + [None] * 50,
            "price": [float(i) for i in range(400)],
            "ts": [1_700_000_000 + 86_400 * i for i in range(400)],
            "items": [[1, 2]] * 200 + [[3]] * 200,
            "note": [f"a long text of many letters, number {i}\nand more" for i in range(400)],
            "void": [None] * 400,
        },
        capsys,
    )
    assert lines[0].startswith("a frame: 400 rows, 7 columns. Quantiles and bars are of all of them (400 rows).")
    assert lines[1].split() == ["column", "type", "nulls", "distinct", "holds", "tags"]
    assert line_of("user_id", lines).split()[:4] == ["user_id", "int64", "-", "200"]
    assert "0 0.5%, 1 0.5%, 2 0.5%, ..." in line_of("user_id", lines)
    assert "12.5%" in line_of("gender", lines) and "m 85.7%, f 14.3%" in line_of("gender", lines)
    assert "████████ 0 .. 200 .. 399, mean 199.5" in line_of("price", lines)
    assert "2023-11-14 .. 2024-06-01 .. 2024-12-17" in line_of("ts", lines) and "mean" not in line_of("ts", lines)
    assert "1 to 2 values, 1.5 on average; 1 33.3%, 2 33.3%, 3 33.3%" in line_of("items", lines)
    assert "list[int64]" in line_of("items", lines) and line_of("items", lines).rstrip().endswith("list, sequence")
    assert "every value once, such as a long text of many let…" in line_of("note", lines)
    assert "100.0%" in line_of("void", lines) and line_of("void", lines).rstrip().endswith("none")
    assert "! void: all rows are null. Leave the column out, or look why it was not filled." in lines


def test_good_data_is_praised_and_repeated_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown({"x": [0.5, 1.5]}, capsys)[-1].strip() == "Nothing looks wrong."
    last = " ".join(shown({"x": [0.5, 1.5] * 20}, capsys)[-2:])
    assert last.startswith("! About 95.0% of the rows repeat another one in every column. If a row is one event,")


def test_what_is_no_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown({"[red]a": ["[b]", "c"]}, capsys)
    assert "[b] 50.0%, c 50.0%" in line_of("[red]a", lines)


def test_values_too_rare_to_name_are_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown({"user_id": [i // 2 for i in range(40_000)]}, capsys)
    assert "~" in line_of("user_id", lines) and "no value above 0.1%" in line_of("user_id", lines)
