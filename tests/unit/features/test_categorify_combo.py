import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

PAIRS = pl.DataFrame({"a": [1, 1, 1, 2, None, None], "b": ["x", "x", None, "x", "x", None]})


def combo(**settings):
    return Categorify(encode_type="combo", **settings)


def fitted(frame=PAIRS, columns=("a", "b"), **settings):
    return Workflow([list(columns)] >> combo(**settings)).fit(frame)


def test_combinations_have_codes_by_frequency_then_by_their_parts() -> None:
    workflow = fitted()
    out = workflow.transform(PAIRS)
    # (1, x) twice, then (None, x), (1, None), (2, x): null comes first
    assert out.to_dict(as_series=False) == {"a_b": [3, 3, 5, 6, 4, 1]}
    assert out.schema == {"a_b": pl.Int32}
    assert workflow.transform(pl.DataFrame({"a": [2, 9], "b": [None, "x"]}))["a_b"].to_list() == [2, 2]
    column = workflow.output_schema.first
    assert (column.name, column.cardinality, column.domain.name) == ("a_b", 7, "a_b")
    assert column.tags == {Tags.CATEGORICAL}


def test_a_lone_column_is_encoded_as_ever_and_names_can_be_joined_otherwise() -> None:
    workflow = Workflow([["a", "b"], "c"] >> combo(name_sep="__")).fit(PAIRS.with_columns(c=pl.col("b")))
    out = workflow.transform(PAIRS.with_columns(c=pl.col("b")))
    assert out.columns == ["a__b", "c"] and out["c"].to_list() == [3, 3, 1, 3, 3, 1]


def test_tags_that_all_parts_have_stay() -> None:
    schema = Schema([ColumnSchema("a", tags=Tags.USER_ID), ColumnSchema("b", "string", Tags.USER)])
    assert fitted(Dataset(PAIRS, schema)).output_schema.first.tags == {Tags.CATEGORICAL, Tags.USER}


def test_limits_hold_for_combinations() -> None:
    assert fitted(freq_threshold=2).transform(PAIRS)["a_b"].to_list() == [3, 3, 2, 2, 2, 1]
    assert fitted(max_size={"a_b": 5}).transform(PAIRS)["a_b"].to_list() == [3, 3, 2, 2, 4, 1]
    many = pl.DataFrame({"a": range(100), "b": range(100)})
    hashed = fitted(many, max_size=12, num_buckets=10)
    assert set(hashed.transform(many)["a_b"]) == set(range(2, 12))
    assert hashed.output_schema.first.cardinality == 12
    assert hashed.output_schema.first.properties["num_buckets"] == 10


def test_codes_go_back_to_combinations() -> None:
    workflow = fitted()
    assert workflow.decode("a_b", [3, 1, 5]).to_list() == [{"a": 1, "b": "x"}, None, {"a": 1, "b": None}]
    for values in ([(1, "x"), (None, None)], [{"a": 1, "b": "x"}, {"b": None, "a": None}], PAIRS[[0, 5]]):
        assert workflow.encode("a_b", values).to_list() == [3, 1]
    assert workflow.encode("a_b", workflow.categories("a_b")["value"]).to_list() == [3, 4, 5, 6]
    assert workflow.categories("a_b").columns == ["value", "count", "code"]
    assert workflow.categories("a_b")["count"].to_list() == [2, 1, 1, 1]
    with pytest.raises(SettingError, match=r"Workflow.encode: these are no combinations of 'a', 'b' for 'a_b' \(.*"):
        workflow.encode("a_b", [1, 2])


def test_new_combinations_come_after_the_old_ones() -> None:
    workflow = fitted()
    before = workflow.transform(PAIRS)
    growth = workflow.update(pl.DataFrame({"a": [7, 7, 1, None, None], "b": ["x", "x", "y", "x", None]}))
    assert dict(growth) == {"a_b": 2}
    assert workflow.transform(PAIRS).equals(before)
    assert workflow.categories("a_b")["count"].to_list() == [2, 2, 1, 1, 2, 1]
    assert workflow.encode("a_b", [(7, "x"), (1, "y")]).to_list() == [7, 8]


def test_combinations_share_a_table_and_are_saved(tmp_path) -> None:
    frame = PAIRS.with_columns(c=pl.lit("k"))
    workflow = Workflow([["a", "b"], "c"] >> combo(single_table=True, num_buckets=2)).fit(frame)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert loaded.transform(frame).equals(workflow.transform(frame))
    assert loaded.transform(frame)["c"].to_list() == [11] * 6  # 1 null, 2-3 unknown, 4-7; 8 null, 9-10 unknown
    assert loaded.output_schema["c"].cardinality == loaded.output_schema["a_b"].cardinality == 12


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.sampled_from([float("nan"), 0.0, -0.0, 1.5]),
            st.none() | st.sampled_from([-(2**63), 2**63 - 1, 0]),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    num_buckets=st.integers(1, 3),
)
def test_codes_agree_with_a_dictionary(rows, num_buckets) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Float64, "b": pl.Int64, "c": pl.Boolean}, orient="row")
    plain = [tuple(None if v != v else v for v in row) for row in rows]
    seen = [row for row in plain if row != (None, None, None)]
    order = sorted(set(seen), key=lambda row: (-seen.count(row), [(v is not None, v or 0) for v in row]))
    codes = {row: 2 + num_buckets + i for i, row in enumerate(order)}
    workflow = fitted(frame, frame.columns, num_buckets=num_buckets)
    out = workflow.transform(frame)["a_b_c"]
    assert out.to_list() == [codes.get(row, 1) for row in plain]
    online = workflow.online()
    other = pl.DataFrame([(2.5, 7, True), (None, 7, None)], schema=frame.schema, orient="row")
    alone = [online.transform(row)["a_b_c"] for row in other.to_dicts()]
    assert alone == workflow.transform(other)["a_b_c"].to_list()
    assert all(2 <= code < 2 + num_buckets for code in alone)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Categorify: vocabs cannot be given for combinations\. Leave it out\."):
        combo(vocabs={"a_b": [1]})
    with pytest.raises(SettingError, match=r"Categorify: freq_threshold=-1 is not a whole number of at least 0\."):
        combo(freq_threshold=-1)
    with pytest.raises(SettingError, match="'a_b' has freq_threshold=2 and max_size=9"):
        fitted(freq_threshold=2, max_size=9)
    with pytest.raises(UnknownColumnError, match="Categorify: the data has no column 'z'"):
        fitted(max_size={"z": 5})
    with pytest.raises(DataError, match="the column 'b' holds lists of int64, by which rows cannot be grouped"):
        fitted(pl.DataFrame({"a": [1], "b": [[1]]}))
    with pytest.raises(SettingError, match="'a_b' has 1,006 codes, too many for int8"):
        fitted(max_size=2002, num_buckets=1000, dtype="int8")
