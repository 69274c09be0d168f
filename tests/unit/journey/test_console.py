import polars as pl
import pytest

from tamis.journey.console import print_table


@pytest.mark.parametrize("title", ["[rec] 2", "[/rec] x", "a :smile: b", "[bold]Hi"])
def test_a_cell_is_shown_as_it_is_never_as_markup(capsys: pytest.CaptureFixture[str], title: str) -> None:
    print_table(pl.DataFrame({"title": [title]}), "T")
    assert title in capsys.readouterr().out


def test_numbers_lists_and_nulls_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(pl.DataFrame({"a": [0.123456], "b": [["x", "y"]], "c": [None], "d": [3]}), "Some items")
    out = capsys.readouterr().out
    assert out.startswith("Some items")
    assert "0.1235" in out and "x, y" in out and "None" not in out
