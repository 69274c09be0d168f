"""What every op promises, whatever it does."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.features import ops
from tamis.features.ops import Op, RowOp
from tamis.features.ops.op import Column, Unit
from tamis.features.rows import Rows
from tamis.features.statistics import Question, answer
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Tags

PEOPLE = pl.DataFrame(
    {
        "id": [(i * 7919) % 23 if i % 11 else None for i in range(200)],
        "word": [f"w{i * i % 17}" if i % 13 else None for i in range(200)],
        "amount": [float("nan") if i % 19 == 0 else (i % 29) / 4 if i % 7 else None for i in range(200)],
        "tags": [[i % 3, i % 5, None][: i % 4] if i % 17 else None for i in range(200)],
    },
    schema={"id": pl.Int64, "word": pl.String, "amount": pl.Float64, "tags": pl.List(pl.Int64)},
)
NUMBERS = ["id", "amount", "tags"]


def every_op() -> list[tuple[Op, list[str]]]:
    """Ops with the columns of PEOPLE that they accept."""
    return [
        (ops.Categorify(), PEOPLE.columns),
        (ops.Categorify(freq_threshold=9, num_buckets=5), PEOPLE.columns),
        (ops.Categorify(max_size=6, num_buckets=2), PEOPLE.columns),
        (ops.FillMissing(3, add_binary_cols=True), NUMBERS),
        (ops.FillMissing("nothing"), ["word"]),
        (ops.Normalize(), NUMBERS),
        (ops.LogOp(), NUMBERS),
        (ops.Bucketize([1, 2.5, 4]), NUMBERS),
        (ops.Rename(postfix="_x"), PEOPLE.columns),
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
    tested = {type(op).__name__ for op, _ in every_op()}
    assert tested == set(ops.__all__) - {"Op", "ColumnOp", "GroupOp", "RowOp", "TableOp"}


@each
def test_a_row_alone_gets_the_same_values_as_in_a_crowd(op, columns) -> None:
    """Training sees many rows, a request is one: they must agree."""
    workflow = Workflow(columns >> op).fit(PEOPLE)
    alone = pl.concat(workflow.transform(row) for row in PEOPLE.iter_slices(1))
    assert_frame_equal(alone, workflow.transform(PEOPLE), check_exact=True)


@each
def test_the_order_of_the_rows_changes_nothing(op, columns) -> None:
    straight, reversed_ = (Workflow(columns >> op).fit(frame) for frame in (PEOPLE, PEOPLE.reverse()))
    assert_frame_equal(straight.transform(PEOPLE), reversed_.transform(PEOPLE), rel_tol=1e-6)


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

    def found(frame, name):
        schema = ColumnSchema(name, PEOPLE.schema[name])
        values = pl.col(name).explode(empty_as_null=False) if schema.is_list else pl.col(name)
        return answer([Question(Rows(), op.learn(Column(schema, values)), "here")], frame.lazy())[0]

    for name in columns:
        parts = [found(part, name) for part in PEOPLE.iter_slices(61)]
        whole = op.finish(Unit(name, (name,)), op.merge([found(PEOPLE, name)]))
        merged = op.finish(Unit(name, (name,)), op.merge(parts)) if parts[0] else whole
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
