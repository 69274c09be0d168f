"""What every op promises, whatever it does."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.features import ops
from tamis.features.ops import GroupOp, Op, RowOp
from tamis.features.ops.op import Column, Unit
from tamis.features.rows import ROW, Rows
from tamis.features.statistics import Question, answer
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Tags

PEOPLE = pl.DataFrame(
    {
        "id": [(i * 7919) % 23 if i % 11 else None for i in range(200)],
        "word": [f"w{i * i % 17}" if i % 13 else None for i in range(200)],
        "amount": [float("nan") if i % 19 == 0 else (i % 29) / 4 if i % 7 else None for i in range(200)],
        "tags": [[i % 3, i % 5, None][: i % 4] if i % 17 else None for i in range(200)],
        "at": [dt.datetime(2023, 1, 1) + i * i * dt.timedelta(minutes=41) if i % 23 else None for i in range(200)],
        "other": [i * 31 % 29 for i in range(200)],
    },
    schema={
        "id": pl.Int64,
        "word": pl.String,
        "amount": pl.Float64,
        "tags": pl.List(pl.Int64),
        "at": pl.Datetime("us", "Europe/Berlin"),
        "other": pl.Int64,
    },
)
FEATURES = np.array([[row % 3, row % 4, row % 5] for row in range(25)])  # ids from 25 on have none
NUMBERS = ["id", "amount", "tags"]
WORDS = pl.DataFrame({"word": [f"w{i}" for i in range(0, 17, 3)]}).with_columns(
    length=pl.col("word").str.len_bytes().cast(pl.Int64), vowels=pl.lit(0.5), letters=pl.col("word").str.split("")
)


def every_op() -> list[tuple[Op, list[str]]]:
    """Ops with the columns of PEOPLE that they accept."""
    return [
        (ops.Categorify(), PEOPLE.columns),
        (ops.Categorify(freq_threshold=9, num_buckets=5), PEOPLE.columns),
        (ops.Categorify(max_size=6, num_buckets=2), PEOPLE.columns),
        (ops.Categorify(single_table=True, num_buckets={"id": 3}), PEOPLE.columns),
        (ops.Categorify(encode_type="combo", num_buckets=3, max_size=60), [["id", "word"], "amount"]),
        (ops.Categorify(encode_type="combo", freq_threshold=2, single_table=True), [["word", "at"], "other"]),
        (ops.FillMissing(3, add_binary_cols=True), NUMBERS),
        (ops.FillMissing("nothing"), ["word"]),
        (ops.HashedCross(7), [["id", "word", "amount"]]),
        (ops.JoinExternal(WORDS, "word"), PEOPLE.columns),
        (ops.JoinExternal(WORDS, ["word", "id"], on_ext=["word", "length"], drop_duplicates_ext=True), ["id"]),
        (ops.JoinGroupby(), [["id", "word"], "amount"]),
        (ops.JoinGroupby("amount", ["count", "sum", "mean", "std", "var", "min", "max"]), ["id", "word"]),
        (ops.Normalize(), NUMBERS),
        (ops.LogOp(), NUMBERS),
        (ops.Bucketize([1, 2.5, 4]), NUMBERS),
        (ops.Bucketize(quantiles=4), NUMBERS),
        (ops.Bucketize(lambda name: [1, len(name)]), NUMBERS),
        (ops.FillMedian(add_binary_cols=True), NUMBERS),
        (ops.NormalizeMinMax(), NUMBERS),
        (ops.Clip(1.5, 4), NUMBERS),
        (ops.HashBucket(7), ["id", "word", "amount", "tags", "at"]),
        (ops.ListSlice(-2, pad=True, pad_value=9), ["tags"]),
        (ops.ListSlice(1, -1), ["tags"]),
        (ops.ValueCount(), ["tags"]),
        (ops.ReduceDtypeSize(), PEOPLE.columns),
        (ops.DropLowCardinality(), PEOPLE.columns),
        (ops.DataStats(), PEOPLE.columns),
        (ops.DateParts(), ["at"]),
        (ops.DateParts(cyclic=True), ["at"]),
        (ops.DateParts(unit="s"), ["id", "tags"]),
        (ops.TextEmbedding(8), ["word"]),
        (ops.LambdaOp(lambda col, df: col.is_in([1, 2]) | (df["amount"] > 1)), ["id"]),
        (ops.ColumnSimilarity(FEATURES), [["id", "other"]]),
        (ops.Rename(postfix="_x"), PEOPLE.columns),
        (ops.Recency("at"), ["id", "word"]),
        (ops.Recency("other"), [["id", "word"]]),
        (ops.RollingCount("at", ["6h", "30d"]), ["id"]),
        (ops.RollingCount("other", 5), [["id", "word"]]),
        (ops.HistorySequence("id", "at", length=3), ["word", "amount"]),
        (ops.HistorySequence(["id", "word"], "other"), ["amount"]),
        (ops.TargetEncoding("amount"), [["id", "word"]]),
        (ops.TargetEncoding(["amount", "id"], kfold=1, p_smooth=0), ["word"]),
        (ops.TargetEncoding("amount", time="at"), ["word", "id"]),
        (ops.TargetEncoding(["amount", "id"], time="other", p_smooth=0, target_mean={"id": 1}), ["word"]),
        (ops.Dropna(), PEOPLE.columns),
        (ops.Filter(lambda df: df["amount"] > 2), PEOPLE.columns),
        (ops.AddMetadata(["mine"], {"unit": "s"}), PEOPLE.columns),
        (ops.AddTags(Tags.CONTEXT), PEOPLE.columns),
        (ops.AddProperties(properties={"unit": "s"}), PEOPLE.columns),
        (ops.TagAsUserID(), ["id"]),
        (ops.TagAsItemID(), ["id"]),
        (ops.TagAsUserFeatures(), PEOPLE.columns),
        (ops.TagAsItemFeatures(), PEOPLE.columns),
    ]


each = pytest.mark.parametrize(("op", "columns"), every_op(), ids=lambda value: repr(value)[:60])


def test_every_op_is_in_this_list() -> None:
    """Those that look at several rows by their definition have tests of their own."""
    bases = {"Op", "ColumnOp", "GroupOp", "RowOp", "TableOp"}
    of_several_rows = {
        name
        for name in set(ops.__all__) - bases
        if issubclass(getattr(ops, name), ops.TableOp) or getattr(getattr(ops, name), "is_windowed", False)
    }
    assert of_several_rows == {"Groupby", "DifferenceLag"}
    tested = {type(op).__name__ for op, _ in every_op()}
    other_forms = {"CategorifyCombo", "TimedTargetEncoding"}  # of Categorify and TargetEncoding, chosen by a setting
    assert tested - other_forms == set(ops.__all__) - bases - of_several_rows


@each
def test_a_row_alone_gets_the_same_values_as_in_a_crowd(op, columns) -> None:
    """Training sees many rows, a request is one: they must agree."""
    workflow = Workflow(columns >> op).fit(PEOPLE)
    alone = pl.concat(workflow.transform(row) for row in PEOPLE.iter_slices(1))
    assert_frame_equal(alone, workflow.transform(PEOPLE, training=False), check_exact=True)


@each
def test_the_order_of_the_rows_changes_nothing(op, columns) -> None:
    straight, reversed_ = (Workflow(columns >> op).fit(frame) for frame in (PEOPLE, PEOPLE.reverse()))
    first, second = (workflow.transform(PEOPLE, training=False) for workflow in (straight, reversed_))
    assert_frame_equal(first, second, rel_tol=1e-6)


@each
def test_a_table_without_rows_comes_out_without_rows(op, columns) -> None:
    workflow = Workflow(columns >> op).fit(PEOPLE)
    empty = workflow.transform(PEOPLE.head(0))
    assert (empty.height, empty.schema) == (0, workflow.transform(PEOPLE).schema)


@each
def test_a_saved_op_does_the_same(op, columns, tmp_path) -> None:
    workflow = Workflow(columns >> op).fit(PEOPLE)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert_frame_equal(loaded.transform(PEOPLE), workflow.transform(PEOPLE), check_exact=True)
    assert loaded.output_schema == workflow.output_schema


@each
def test_streaming_and_memory_agree_and_the_schema_is_what_comes_out(op, columns) -> None:
    workflow = Workflow(columns >> op).fit(Dataset(PEOPLE))
    out = workflow.transform(Dataset(PEOPLE)).compute()
    assert_frame_equal(out, workflow.transform(PEOPLE), check_exact=True)
    assert [(c.name, c.dtype, c.is_list) for c in workflow.output_schema] == [
        (c.name, c.dtype, c.is_list) for c in (ColumnSchema(name, dtype) for name, dtype in out.schema.items())
    ]


@each
def test_what_an_op_describes_is_what_it_makes(op, columns) -> None:
    """The dtypes that come out are read off the expressions; `describe` has to say the same."""
    workflow = Workflow(columns >> op).fit(PEOPLE)
    fitted = workflow._fitted
    assert fitted is not None
    assert fitted.columns.schema == workflow.output_schema


@each
def test_what_is_learned_of_parts_merges_to_what_is_learned_of_all(op, columns) -> None:
    if isinstance(op, RowOp):
        return

    def column(name):
        schema = ColumnSchema(name, PEOPLE.schema[name])
        in_leaves = schema.is_list and getattr(op, "leaves", False)
        return Column(schema, pl.col(name).explode(empty_as_null=False) if in_leaves else pl.col(name))

    def found(frame, unit):
        seen = [column(name) for name in unit.columns]
        if isinstance(op, GroupOp):
            asked = op.learn(seen + [column(name) for name in (*op.reads, *op.learns_from)])
        else:
            asked = op.learn(*seen)
        return answer([Question(Rows(), asked, "here")], frame.lazy())[0]

    people = PEOPLE.with_row_index(ROW)
    groups = [[]] if getattr(op, "adds", False) else [one if isinstance(one, list) else [one] for one in columns]
    for names in groups:
        unit = Unit("_".join(names), tuple(names))
        parts = [found(part, unit) for part in people.iter_slices(61)]
        whole = op.finish(unit, op.merge([found(people, unit)]))
        merged = op.finish(unit, op.merge(parts)) if parts[0] else whole
        for key, value in whole.items():
            if isinstance(value, pl.DataFrame):
                assert_frame_equal(merged[key], value)
            else:
                assert merged[key] == (pytest.approx(value) if isinstance(value, float) else value)


VALUES = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5),
    pl.UInt64: st.integers(0, 2**64 - 1) | st.integers(0, 5),
    pl.Float64: st.floats() | st.sampled_from([0.0, -0.0, 1.0, 2.0**63]),
    pl.String: st.text(max_size=3),
    pl.Boolean: st.booleans(),
}


@pytest.mark.parametrize("dtype", VALUES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_categorify_agrees_with_a_dictionary(dtype, data) -> None:
    """Brute force: count, sort, number. A mistake in a hash table or a wrap-around shows here."""
    values = st.lists(st.none() | VALUES[dtype], max_size=30)
    train = data.draw(values.filter(len))
    other = data.draw(values)
    seen = [v for v in train if v is not None and v == v]
    order = sorted(set(seen), key=lambda v: (-seen.count(v), v.encode() if isinstance(v, str) else v))
    codes = {value: 3 + i for i, value in enumerate(order)}
    expected = [1 if v is None or v != v else codes.get(v, 2) for v in other]
    workflow = Workflow(["a"] >> ops.Categorify()).fit(pl.DataFrame({"a": pl.Series(train, dtype=dtype)}))
    assert workflow.transform(pl.DataFrame({"a": pl.Series(other, dtype=dtype)}))["a"].to_list() == expected
    assert workflow.decode("a", [codes[v] for v in order]).to_list() == order


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    values=st.lists(st.integers(-4, 4) | st.integers(-(2**62), 2**62), min_size=1, max_size=40),
    num_buckets=st.integers(1, 7),
    cut=st.integers(0, 40),
)
def test_categorify_gives_a_code_within_its_cardinality_wherever_the_files_are_cut(values, num_buckets, cut) -> None:
    workflow = Workflow(["a"] >> ops.Categorify(freq_threshold=2, num_buckets=num_buckets))
    frame = pl.DataFrame({"a": values}, schema={"a": pl.Int64})
    whole = workflow.fit(frame).transform(frame)["a"]
    assert whole.min() >= 2 and whole.max() < workflow.output_schema["a"].cardinality
    parts = pl.concat([frame.slice(cut), frame.head(cut)])
    assert workflow.fit(parts).transform(frame)["a"].equals(whole)
