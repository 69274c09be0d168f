import polars as pl
import pytest

from tamis.errors import SettingError
from tamis.features.ops import AddTags, Categorify, DropLowCardinality
from tamis.features.workflow import Workflow
from tamis.schema import Tags

FRAME = pl.DataFrame({"same": ["x", "x", None], "two": ["x", "y", "x"], "three": [1, 2, 3], "number": [0.5, 0.5, 0.5]})


def left(node) -> list[str]:
    workflow = Workflow(node).fit(FRAME)
    assert workflow.transform(FRAME).columns == workflow.output_schema.column_names
    return workflow.output_schema.column_names


def test_categories_with_fewer_than_two_values_are_left_out() -> None:
    assert left(["same", "two", "three"] >> Categorify() >> DropLowCardinality()) == ["two", "three"]
    assert left(["same", "two", "three"] >> Categorify() >> DropLowCardinality(5)) == ["three"]


def test_columns_that_are_no_categories_or_have_no_domain_stay() -> None:
    assert left(["number", "three"] >> DropLowCardinality(1000)) == ["number", "three"]
    assert left(["three"] >> AddTags(Tags.CATEGORICAL) >> DropLowCardinality(1000)) == ["three"]


def test_what_was_left_out_stays_out_when_loaded(tmp_path) -> None:
    workflow = Workflow(["same", "two"] >> Categorify() >> DropLowCardinality()).fit(FRAME)
    workflow.save(tmp_path / "w")
    assert Workflow.load(tmp_path / "w").transform(FRAME).columns == ["two"]


@pytest.mark.parametrize("number", [-1, 0.5, True])
def test_a_cardinality_that_is_none_is_refused(number) -> None:
    with pytest.raises(SettingError, match=f"DropLowCardinality: min_cardinality={number!r} is not a whole number"):
        DropLowCardinality(number)
