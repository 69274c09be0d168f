import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import SettingError, UnknownColumnError
from tamis.features.ops import Categorify, Dropna, FillMissing, Filter
from tamis.features.workflow import Workflow

CLICKS = pl.DataFrame({"item": [10, 20, 20, 30], "click": [1, 0, 1, None]})


def kept(f) -> list[int]:
    return Workflow(["item", "click"] >> Filter(f)).fit(CLICKS).transform(CLICKS)["item"].to_list()


@pytest.mark.parametrize(
    "f",
    [
        lambda df: df["click"] == 1,
        lambda df: df.click == 1,
        lambda df: df[df["click"] == 1],
        lambda df: df.filter(df["click"] == 1),
        lambda df: (df["click"] == 1) & df["item"].isin([10, 20]) & df["click"].notna(),
        lambda df: ~df["click"].isna() & (df["click"] > 0),
        pl.col("click") == 1,
        pl.col("click").is_in(pl.Series([1, 5])),
        (pl.concat_list("click", "item").list.eval(pl.element() == 1).list.any()) & pl.col("click").is_not_null(),
    ],
)
def test_a_condition_may_be_written_in_many_ways(f) -> None:
    assert kept(f) == [10, 20]


def test_two_filters_one_after_the_other_both_hold() -> None:
    assert kept(lambda df: df[df["click"] == 1].filter(df["item"] > 10)) == [20]
    assert kept(lambda df: df[df["click"] == 1][df["item"] > 10]) == [20]


def a_function_that_needs_values(df):
    if df["click"] == 1:
        return df["item"]


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (a_function_that_needs_values, "cannot be turned into an expression .the truth value of an Expr is ambiguous"),
        (lambda df: True, "the function returned True, not an expression"),
        (lambda df: df, "the function returned .*, not an expression"),
        (lambda df: df["item"] > df["item"].mean(), r"the condition looks at more than one row .*mean"),
        (pl.col("item").rank().over("click") < 2, "the condition looks at more than one row"),
        (pl.len() > 2, "the condition looks at more than one row"),
        ("click", "'click' is neither an expression nor a function"),
    ],
)
def test_a_function_that_gives_no_condition_is_refused_at_once(f, message) -> None:
    with pytest.raises(SettingError, match=f"Filter: .*{message}"):
        Filter(f)


def test_a_condition_has_to_be_true_or_false() -> None:
    with pytest.raises(SettingError, match="the condition gives Int64, not true or false"):
        kept(lambda df: df["click"] + 1)


def test_a_condition_over_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownColumnError, match=r"Filter: the data has no column 'clik'. Did you mean 'click'\?"):
        kept(lambda df: df["clik"] == 1)


def test_categorify_before_a_filter_learns_from_all_rows() -> None:
    nodes = (["item"] >> Categorify()) + ["click"]
    workflow = Workflow(nodes >> Filter(lambda df: df["click"] == 1)).fit(CLICKS)
    assert workflow.transform(CLICKS).to_dict(as_series=False) == {"item": [4, 3], "click": [1, 1]}
    assert len(workflow.categories("item")) == 3


def test_categorify_after_a_filter_learns_from_the_rows_that_are_left() -> None:
    workflow = Workflow(["item", "click"] >> Filter(lambda df: df["click"] == 1) >> Categorify()).fit(CLICKS)
    assert workflow.categories("item")["value"].to_list() == [10, 20]


def test_a_filter_sees_what_the_ops_before_it_made() -> None:
    filled = ["item", "click"] >> FillMissing(1) >> Filter(lambda df: df["click"] == 1)
    assert Workflow(filled).fit(CLICKS).transform(CLICKS)["item"].to_list() == [10, 20, 30]
    codes = ["item"] >> Categorify() >> Filter(lambda df: df["item"] == 3)
    assert Workflow(codes).fit(CLICKS).transform(CLICKS)["item"].to_list() == [3, 3]


def test_a_filter_on_untouched_columns_is_applied_before_the_encoding() -> None:
    nodes = (["item"] >> Categorify()) + ["click"]
    workflow = Workflow(nodes >> Filter(lambda df: df["click"] == 1)).fit(CLICKS)
    plan = workflow.transform(Dataset(CLICKS)).scan().explain(optimized=False)
    encoding, filtering = plan.index('col("item").'), plan.index("FILTER")
    assert filtering > encoding  # a plan is read from below: the filter runs first


def test_branches_with_different_rows_cannot_be_joined() -> None:
    nodes = (["item", "click"] >> Filter(lambda df: df["click"] == 1)) + ["item"]
    with pytest.raises(SettingError, match=r"their rows do not line up. Join the columns first"):
        Workflow(nodes).fit(CLICKS)


def test_branches_of_the_same_filtered_rows_can_be_joined() -> None:
    rows = ["item", "click"] >> Filter(lambda df: df["click"] == 1)
    workflow = Workflow((rows["item"] >> Categorify()) + rows["click"]).fit(CLICKS)
    assert workflow.transform(CLICKS).rows() == [(3, 1), (4, 1)]


def test_dropna_drops_rows_with_null_or_nan() -> None:
    frame = pl.DataFrame({"a": [1.0, None, float("nan"), 4.0], "b": [1, 2, 3, None], "c": [[1], [None], None, None]})

    def left(*names, columns=None):
        return Workflow([*names] >> Dropna(columns)).fit(frame).transform(frame)[names[-1]].to_list()

    assert left("a", "b") == [1]
    assert left("a", "b", columns=["a"]) == [1, None]
    assert left("c") == [[1], [None]]
    with pytest.raises(UnknownColumnError, match="Dropna: the data has no column 'z'"):
        left("a", columns=["z"])
