from datetime import datetime

import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import DataError, NotFittedError, SettingError, UnknownColumnError
from tamis.features.node import as_node
from tamis.features.ops import AddTags, Categorify, FillMissing, Filter, Normalize, TagAsItemID, TagAsUserID
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

LOG = pl.DataFrame(
    {
        "user_id": [901, 902, 901, 903],
        "item_id": ["b", "a", "a", "c"],
        "price": [1.0, 3.0, None, 5.0],
        "click": [1, 0, 1, 1],
        "other": [0, 0, 0, 0],
    }
)


def columns_of(nodes, frame=LOG):
    return Workflow(nodes).fit(frame).output_schema.column_names


def test_the_seeds_graph_gives_codes_tags_and_clicks_only() -> None:
    user_id = ["user_id"] >> Categorify() >> TagAsUserID()
    item_id = ["item_id"] >> Categorify() >> TagAsItemID()
    outputs = (user_id + item_id + ["click"]) >> Filter(f=lambda df: df["click"] == 1)
    workflow = Workflow(outputs).fit(Dataset(LOG))
    out = workflow.transform(Dataset(LOG))
    assert out.compute().to_dict(as_series=False) == {"user_id": [3, 3, 5], "item_id": [4, 3, 5], "click": [1, 1, 1]}
    assert out.schema == workflow.output_schema
    assert out.schema.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    assert out.schema["user_id"].cardinality == 6
    assert workflow.input_schema.column_names == ["user_id", "item_id", "click"]


def test_nodes_add_subtract_and_pick() -> None:
    some, click = ["user_id", "price"] >> FillMissing(), ["click"]
    assert columns_of(some + "click") == ["user_id", "price", "click"]
    assert columns_of(click + some) == ["click", "user_id", "price"]
    assert columns_of((some + click) - ["price"]) == ["user_id", "click"]
    assert columns_of((some + click) - some) == ["click"]
    assert columns_of(some["price"]) == ["price"]
    assert columns_of(some[["price", "user_id"]]) == ["price", "user_id"]
    assert columns_of([some["price"], "click", ["user_id"] >> Categorify()]) == ["price", "click", "user_id"]


def test_the_right_hand_side_of_a_plus_wins() -> None:
    nodes = (["click"] >> Categorify()) + ["click"]
    assert Workflow(nodes).fit(LOG).transform(LOG)["click"].to_list() == [1, 0, 1, 1]
    nodes = as_node(["click"]) + (["click"] >> Categorify())
    assert Workflow(nodes).fit(LOG).transform(LOG)["click"].to_list() == [3, 4, 3, 3]


def test_columns_are_selected_by_tag_schema_and_star() -> None:
    schema = Schema([ColumnSchema("user_id", tags=[Tags.USER_ID]), ColumnSchema("click", tags=[Tags.TARGET])])
    data = Dataset(LOG, schema=schema)
    assert columns_of([Tags.USER] >> Categorify(), data) == ["user_id"]
    assert columns_of(schema.select_by_tag(Tags.TARGET) >> AddTags("x"), data) == ["click"]
    assert columns_of(schema["click"] >> AddTags("x"), data) == ["click"]
    assert columns_of("*", data) == ["user_id", "click"]


def test_a_node_used_twice_is_one_node() -> None:
    codes = ["user_id"] >> Categorify()
    both = (codes >> AddTags("x")) + (codes >> Normalize())["user_id"]
    assert Workflow(both).fit(LOG).output_schema["user_id"].has_tag(Tags.CONTINUOUS)


def test_an_op_learns_from_what_the_ops_before_it_learned() -> None:
    chain = ["user_id"] >> Categorify() >> Normalize("float64")  # codes 3, 4, 3, 5: mean 3.75
    out = Workflow(chain).fit(LOG).transform(LOG)["user_id"]
    assert out.mean() == pytest.approx(0)
    assert out.std(ddof=0) == pytest.approx(1)


def test_only_the_columns_that_the_graph_needs_are_read() -> None:
    broken = LOG.lazy().with_columns(other=pl.col("item_id").cast(pl.Int64))  # fails when it is computed
    workflow = Workflow(["user_id"] >> Categorify()).fit(Dataset(broken))
    assert workflow.transform(Dataset(broken)).compute()["user_id"].to_list() == [3, 4, 3, 5]


def test_all_statistics_of_a_level_come_from_one_run(monkeypatch) -> None:
    runs = []
    collect_all = pl.collect_all

    def counted(queries, **options):
        runs.append(len(queries))
        return collect_all(queries, **options)

    monkeypatch.setattr(pl, "collect_all", counted)
    one = ["user_id", "item_id"] >> Categorify() >> AddTags("x")
    two = ["price"] >> FillMissing() >> Normalize()
    Workflow(one + two).fit(LOG)
    assert len(runs) == 1
    Workflow((one + two) - ["item_id"] >> Normalize()).fit(LOG)
    assert len(runs) == 3


def test_a_frame_gives_a_frame_and_a_dataset_a_lazy_dataset(tmp_path) -> None:
    Dataset(LOG).to_parquet(tmp_path / "raw")
    workflow = Workflow(["user_id"] >> Categorify() >> TagAsUserID())
    out = workflow.fit_transform(Dataset(tmp_path / "raw"))
    assert isinstance(out, Dataset)
    assert workflow.transform(LOG).equals(out.compute())
    written = out.to_parquet(tmp_path / "out")
    assert written.schema == workflow.output_schema
    assert written.compute().equals(out.compute())
    with pytest.raises(SettingError, match="a dict is no Dataset"):
        workflow.transform({"user_id": [1]})


def test_a_workflow_that_has_not_learned_says_so(tmp_path) -> None:
    workflow = Workflow(["user_id"] >> Categorify())
    assert not workflow.is_fitted
    assert "not fitted" in repr(workflow)
    for attempt in (
        lambda: workflow.transform(LOG),
        lambda: workflow.output_schema,
        lambda: workflow.input_schema,
        lambda: workflow.decode("user_id", [1]),
        lambda: workflow.save(tmp_path / "w"),
    ):
        with pytest.raises(NotFittedError, match="Call fit first"):
            attempt()
    assert not (tmp_path / "w").exists()


def test_a_workflow_shows_itself_as_it_was_written() -> None:
    nodes = (["user_id"] >> Categorify(max_size=9) >> TagAsUserID()) + ["click"]
    shown = repr(Workflow(nodes >> Filter(lambda df: df["click"] == 1)))
    assert shown == (
        "Workflow((['user_id'] >> Categorify(max_size=9) >> TagAsUserID()) + (['click']) "
        """>> Filter(f=[(col("click")) == (dyn int: 1)])), not fitted"""
    )


def test_a_fit_that_fails_leaves_what_was_learned_before() -> None:
    workflow = Workflow(["user_id"] >> Categorify()).fit(LOG)
    with pytest.raises(UnknownColumnError):
        workflow.fit(LOG.drop("user_id"))
    assert workflow.transform(LOG)["user_id"].to_list() == [3, 4, 3, 5]


def test_a_missing_column_is_named_with_the_op_and_the_nearest_name() -> None:
    with pytest.raises(UnknownColumnError, match=r"Categorify: .* no column 'userid'. Did you mean 'user_id'"):
        Workflow(["userid"] >> Categorify()).fit(LOG)
    with pytest.raises(UnknownColumnError, match="Workflow: the data has no column 'x'"):
        Workflow(["x"]).fit(LOG)
    with pytest.raises(UnknownColumnError, match="no column 'pric'"):
        Workflow((["price"] >> FillMissing()) - ["pric"]).fit(LOG)
    with pytest.raises(UnknownColumnError, match="no column 'pric'"):
        Workflow((["price"] >> FillMissing())["pric"]).fit(LOG)
    workflow = Workflow(["user_id"] >> Categorify()).fit(LOG)
    with pytest.raises(UnknownColumnError, match="Categorify: the data has no column 'user_id'"):
        workflow.transform(LOG.rename({"user_id": "user"}))


@pytest.mark.parametrize("nodes", [["user_id"], ["user_id"] >> Categorify(), ["price"] >> Normalize()])
def test_data_without_rows_is_refused(nodes) -> None:
    with pytest.raises(DataError, match="there are no rows to learn from"):
        Workflow(nodes).fit(Dataset(LOG.head(0)))


def test_a_filter_that_leaves_no_rows_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="Categorify: there are no rows to learn from"):
        Workflow(["user_id", "click"] >> Filter(lambda df: df["click"] == 9) >> Categorify()).fit(LOG)


def test_values_of_another_kind_than_in_fit_are_refused() -> None:
    workflow = Workflow(["user_id"] >> Categorify()).fit(LOG)
    with pytest.raises(DataError, match="the column 'user_id' holds string but held int64 in fit"):
        workflow.transform(LOG.with_columns(pl.col("user_id").cast(pl.String)))
    with pytest.raises(DataError, match="the column 'user_id' holds lists but held single values in fit"):
        workflow.transform(LOG.with_columns(user_id=pl.concat_list("user_id")))
    nulls = LOG.with_columns(user_id=pl.lit(None))
    assert workflow.transform(nulls)["user_id"].to_list() == [1, 1, 1, 1]


def test_times_of_another_zone_and_other_unlike_values_are_refused() -> None:
    times = pl.DataFrame({"at": [datetime(2024, 1, 1)], "pair": [{"x": 1}]})
    workflow = Workflow(["at", "pair"]).fit(times)
    with pytest.raises(
        DataError, match=r"'at' holds datetime\(.*time_zone='utc'\) but held datetime\(.*=none\) in fit"
    ):
        workflow.transform(times.with_columns(pl.col("at").dt.replace_time_zone("UTC")))
    with pytest.raises(DataError, match=r"'pair' holds binary but held struct\(.*Cast it to the same type"):
        workflow.transform(times.with_columns(pair=pl.lit(b"x")))
    finer = times.with_columns(pl.col("at").cast(pl.Datetime("ms")))  # the same times, told in another unit
    assert workflow.transform(finer)["at"].to_list() == [datetime(2024, 1, 1)]


def test_fitting_again_on_another_schema_replaces_all_that_was_learned() -> None:
    workflow = Workflow(["user_id", "pri*"] >> Categorify()).fit(LOG)
    other = pl.DataFrame({"user_id": ["x", "y", "y"], "prize": [True, False, True]})
    workflow.fit(other)
    assert workflow.input_schema.column_names == workflow.output_schema.column_names == ["user_id", "prize"]
    assert workflow.transform(other)["user_id"].to_list() == [4, 3, 3]
    with pytest.raises(UnknownColumnError, match=r"Categorify: the data has no column 'prize'. Did you mean 'price'\?"):
        workflow.transform(LOG.cast({"user_id": pl.String}))
    with pytest.raises(DataError, match="'user_id' holds int64 but held string in fit"):
        workflow.transform(LOG.with_columns(prize=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Workflow(7), "7 is not a set of columns"),
        (lambda: ["a"] >> Categorify() >> "b", "'b' is not an op"),
        (lambda: as_node(["a"]) >> Categorify, r"Categorify is a class. Write Categorify\(\)"),
        (
            lambda: Workflow([["click", "other"], ["other", "price"]] >> Categorify()).fit(LOG),
            "'other' is in two groups",
        ),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(make, message) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_a_corrupt_file_is_named(tmp_path) -> None:
    Dataset(LOG).to_parquet(tmp_path / "raw")
    data = Dataset(tmp_path / "raw")
    file = next((tmp_path / "raw").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[4:400] = bytes(396)
    file.write_bytes(content)
    with pytest.raises(DataError, match=str(file)):
        Workflow(["user_id"] >> Categorify()).fit(data)
