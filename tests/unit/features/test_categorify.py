import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify
from tamis.features.workflow import Workflow
from tamis.schema import Tags


def codes(values, op=None, *, unseen=None, dtype=None):
    """The codes of a column `a`, learned from `values` and applied to `unseen`, or to the values themselves."""
    workflow = Workflow(["a"] >> (op or Categorify())).fit(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}))
    given = values if unseen is None else unseen
    return workflow.transform(pl.DataFrame({"a": pl.Series(given, dtype=dtype)}))["a"].to_list()


def test_codes_go_by_frequency_and_ties_by_value() -> None:
    assert codes([7, 5, 5, 9, 7, 7, 1]) == [3, 4, 4, 6, 3, 3, 5]
    assert codes(["b", "c", "a", "c"]) == [5, 3, 4, 3]
    assert codes([True, False, False]) == [4, 3, 3]


def test_null_is_one_and_an_unseen_value_is_two() -> None:
    assert codes([7, 7, 8], unseen=[None, 99, 8, -(2**63)]) == [1, 2, 4, 2]
    assert codes(["x", None], unseen=[None, "y", "x", ""]) == [1, 2, 3, 2]


def test_nan_counts_as_null_and_negative_zero_as_zero() -> None:
    assert codes([1.0, float("nan"), None, 2.0, 2.0]) == [4, 1, 1, 3, 3]
    assert codes([0.0, -0.0, 0.5]) == [3, 3, 4]
    assert codes([0.5, 0.25, 0.5], unseen=[float("nan"), 0.25, 0.75]) == [1, 4, 2]


def test_whole_floats_and_whole_numbers_are_the_same_values() -> None:
    workflow = Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": [1, 2, 2]}))
    assert workflow.transform(pl.DataFrame({"a": [2.0, 1.0, 1.5, None]}))["a"].to_list() == [3, 4, 2, 1]
    workflow = Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": [1.0, 2.0, 2.0]}))
    assert workflow.transform(pl.DataFrame({"a": [2, 1, 3]}))["a"].to_list() == [3, 4, 2]


def test_numbers_far_apart_and_beyond_int64_are_found() -> None:
    assert codes([2**62, -(2**62), 2**62, 0], unseen=[0, 2**62, 2**62 + 1]) == [5, 3, 2]
    assert codes([2**64 - 1, 3], dtype=pl.UInt64, unseen=[3, 2**64 - 1, 2**63]) == [3, 4, 2]


def test_dates_and_categoricals_have_codes() -> None:
    assert codes([dt.date(2024, 1, 2), dt.date(2024, 1, 1), dt.date(2024, 1, 2)]) == [3, 4, 3]
    assert codes(["b", "a", "b"], dtype=pl.Categorical) == [3, 4, 3]


def test_a_time_finer_than_what_was_learned_is_unknown() -> None:
    moment = dt.datetime(2024, 1, 1)
    workflow = Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": pl.Series([moment], dtype=pl.Datetime("ms"))}))
    finer = pl.Series([moment, moment + dt.timedelta(microseconds=1), None], dtype=pl.Datetime("us"))
    assert workflow.transform(pl.DataFrame({"a": finer}))["a"].to_list() == [3, 2, 1]


def test_lists_keep_their_structure() -> None:
    assert codes([[5, 5, 6], [], None, [None, 5]]) == [[3, 3, 4], [], None, [1, 3]]
    assert codes([["x"], ["y", "x"]], unseen=[["z", "y"], []]) == [[2, 4], []]


def test_values_below_the_threshold_are_unknown() -> None:
    assert codes([1, 1, 2, 3, 3], Categorify(freq_threshold=2)) == [3, 3, 2, 4, 4]
    assert codes([1, 1, 2, 3, 3], Categorify(freq_threshold={"a": 2})) == [3, 3, 2, 4, 4]


def test_max_size_counts_the_special_codes_too() -> None:
    frame = pl.DataFrame({"a": [1, 1, 1, 2, 2, 3]})
    workflow = Workflow(["a"] >> Categorify(max_size=5)).fit(frame)
    assert workflow.transform(frame)["a"].to_list() == [3, 3, 3, 4, 4, 2]
    assert workflow.output_schema["a"].cardinality == 5


@pytest.mark.parametrize("values", [list(range(1000)), [f"v{i}" for i in range(1000)], [i + 0.5 for i in range(1000)]])
def test_max_size_of_the_buckets_alone_is_pure_hashing(values) -> None:
    found = codes(values, Categorify(max_size=12, num_buckets=10))
    assert set(found) == set(range(2, 12))
    assert all(60 < found.count(code) < 140 for code in range(2, 12))
    assert found == codes(values[::-1], Categorify(max_size=12, num_buckets=10))[::-1]


def test_buckets_come_before_the_vocabulary() -> None:
    found = codes([7, 7, 8], Categorify(num_buckets=4), unseen=[7, 8, None, 100, 101, 102])
    assert found[:3] == [6, 7, 1]
    assert all(2 <= code < 6 for code in found[3:])


def test_buckets_are_the_same_on_every_machine_and_version() -> None:
    """These codes are in saved models: they may never change."""
    assert codes([0], Categorify(max_size=102, num_buckets=100), unseen=[1, 2, 3]) == HASHED_NUMBERS
    assert codes(["x"], Categorify(max_size=102, num_buckets=100), unseen=["a", "é", ""]) == HASHED_TEXT


def splitmix64(x: int) -> int:
    """The reference, in Python's unbounded whole numbers."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


HASHED_NUMBERS = [2 + splitmix64(x) % 100 for x in (1, 2, 3)]
# CRC-32 of "a" (0x61), of the bytes c3 a9, and of nothing
HASHED_TEXT = [2 + splitmix64(x) % 100 for x in (0xE8B7BE43, 0x0E048D3E, 0)]


def test_a_given_vocabulary_keeps_its_order() -> None:
    op = Categorify(vocabs={"a": pl.Series(["z", "y"])})
    assert codes(["y", "q", "z", None], op) == [4, 2, 3, 1]
    assert codes(["y", "q", "z"], Categorify(vocabs={"a": ["z", "y"]}, num_buckets=2))[::2] == [5, 4]


def test_a_group_shares_one_vocabulary_and_one_domain() -> None:
    frame = pl.DataFrame({"a": [1, 1, 2], "b": [[2, 2], [3], None], "c": [1, 1, 1]})
    workflow = Workflow([["a", "b"], "c"] >> Categorify()).fit(frame)
    assert workflow.transform(frame).to_dict(as_series=False) == {
        "a": [4, 4, 3],  # 2 comes three times, 1 twice, 3 once
        "b": [[3, 3], [5], None],
        "c": [3, 3, 3],
    }
    schema = workflow.output_schema
    assert schema["a"].domain == schema["b"].domain != schema["c"].domain
    assert schema["a"].domain.name == "a_b"


def test_a_groups_setting_goes_by_its_name_or_a_column() -> None:
    frame = pl.DataFrame({"a": [1, 1, 2], "b": [2, 3, 3]})
    for key in ("a_b", "b"):
        workflow = Workflow([["a", "b"]] >> Categorify(max_size={key: 4})).fit(frame)
        assert workflow.output_schema["a"].cardinality == 4
    with pytest.raises(SettingError, match="max_size is given twice for the group 'a_b'"):
        Workflow([["a", "b"]] >> Categorify(max_size={"a": 4, "b": 4})).fit(frame)


def test_the_schema_tells_domain_tag_and_limits() -> None:
    frame = pl.DataFrame({"a": [1, 2, 2]})
    column = Workflow(["a"] >> Categorify(freq_threshold=1, num_buckets=3)).fit(frame).output_schema["a"]
    assert column.dtype == "int32"
    assert column.has_tag(Tags.CATEGORICAL)
    assert column.properties["domain"] == {"min": 0, "max": 6, "name": "a"}
    assert (column.properties["num_buckets"], column.properties["freq_threshold"]) == (3, 1)
    assert "max_size" not in column.properties


def test_the_dtype_can_be_chosen_and_has_to_suffice() -> None:
    frame = pl.DataFrame({"a": range(300)})
    assert Workflow(["a"] >> Categorify(dtype=pl.Int64)).fit(frame).transform(frame)["a"].dtype == pl.Int64
    with pytest.raises(SettingError, match="'a' has 303 codes, too many for uint8"):
        Workflow(["a"] >> Categorify(dtype="uint8")).fit(frame)
    with pytest.raises(SettingError, match="dtype 'string' does not fit"):
        Categorify(dtype="string")


def test_codes_and_values_turn_into_each_other() -> None:
    frame = pl.DataFrame({"a": ["x", "y", "y", None]})
    workflow = Workflow(["a"] >> Categorify()).fit(frame)
    assert workflow.decode("a", [0, 1, 2, 3, 4, None]).to_list() == [None, None, None, "y", "x", None]
    assert workflow.encode("a", ["x", None, "q", "y"]).to_list() == [4, 1, 2, 3]
    assert workflow.categories("a").rows() == [("y", 2, 3), ("x", 1, 4)]
    with pytest.raises(DataError, match="5 is not a code of 'a', which has 5"):
        workflow.decode("a", [5])
    with pytest.raises(DataError, match="-1 is not a code"):
        workflow.decode("a", [-1])
    with pytest.raises(DataError, match="the column 'a' holds int64 but held string in fit"):
        workflow.encode("a", [1])


def test_a_column_that_is_no_code_cannot_be_decoded() -> None:
    workflow = Workflow(["a"]).fit(pl.DataFrame({"a": [1]}))
    with pytest.raises(SettingError, match=r"Workflow\.decode: 'a' does not come from Categorify"):
        workflow.decode("a", [1])
    with pytest.raises(UnknownColumnError, match="no column 'b'"):
        workflow.categories("b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freq_threshold": -1}, "freq_threshold=-1 is not a whole number of at least 0"),
        ({"num_buckets": 0}, "num_buckets=0 is not a whole number of at least 1"),
        ({"num_buckets": {"a": 1.5}}, r"num_buckets=1\.5 is not a whole number"),
        ({"max_size": 3, "num_buckets": 2}, "max_size=3 of 'a' leaves no room .* Give at least 4"),
        ({"max_size": 9, "freq_threshold": 2}, "'a' has freq_threshold=2 and max_size=9"),
        ({"vocabs": {"a": [1]}, "max_size": 9}, "'a' has a given vocabulary"),
        ({"vocabs": {"a": [1, 1]}}, "the vocabulary of 'a' holds a value twice"),
        ({"vocabs": {"a": [1, None]}}, "the vocabulary of 'a' holds nulls"),
        ({"vocabs": {"a": ["x"]}}, "the vocabulary of 'a' holds string, the column int64"),
        ({"vocabs": {"a": [[1]]}}, "the vocabulary of 'a' holds"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(SettingError, match=message):
        Workflow(["a"] >> Categorify(**settings)).fit(pl.DataFrame({"a": [1, 2]}))


def test_a_setting_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownColumnError, match=r"Categorify: the data has no column 'itme'. Did you mean 'item'\?"):
        Workflow(["item"] >> Categorify(max_size={"itme": 5})).fit(pl.DataFrame({"item": [1]}))


def test_values_without_stable_codes_are_refused() -> None:
    with pytest.raises(DataError, match="the column 'a' holds struct"):
        Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": [{"x": 1}]}))
    with pytest.raises(DataError, match="a group holds both Int64 and String"):
        Workflow([["a", "b"]] >> Categorify()).fit(pl.DataFrame({"a": [1], "b": ["x"]}))


def test_a_column_of_nulls_alone_gets_the_null_code() -> None:
    assert codes([None, None], dtype=pl.Int64) == [1, 1]
    assert codes([None, None], dtype=pl.String, unseen=["x", None]) == [2, 1]


def test_files_cut_differently_give_the_same_codes(tmp_path) -> None:
    frame = pl.DataFrame({"a": [i * i % 37 for i in range(500)], "b": [str(i % 7) for i in range(500)]})
    Dataset(frame).to_parquet(tmp_path / "one")
    Dataset(frame.reverse()).to_parquet(tmp_path / "many", rows_per_group=10, rows_per_file=50)
    outputs = [
        Workflow(["a", "b"] >> Categorify()).fit(Dataset(tmp_path / p)).transform(frame) for p in ("one", "many")
    ]
    assert outputs[0].equals(outputs[1])


@pytest.mark.parametrize("column", ["a", "value", "only"])
def test_a_vocabulary_can_be_a_parquet_file(column, tmp_path) -> None:
    """With several codes of unknown values the vocabulary still begins right behind them."""
    pl.DataFrame({column: ["z", "y"]}).write_parquet(tmp_path / "v.parquet")
    op = Categorify(vocabs={"a": str(tmp_path / "v.parquet")}, num_buckets=10)
    found = codes(["y", "q", None, "z"], op)
    assert [found[0], found[2], found[3]] == [13, 1, 12] and 2 <= found[1] < 12


def test_a_vocabulary_file_without_the_column_is_refused(tmp_path) -> None:
    pl.DataFrame({"x": ["z"], "n": [1]}).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(SettingError, match=r"vocabulary of 'a' in .*v.parquet has the columns 'x', 'n'\. Call the one"):
        Categorify(vocabs={"a": tmp_path / "v.parquet"})


def updated(op, old, new, dtype=None):
    """The vocabulary after an update, as value, count and code."""
    workflow = Workflow(["a"] >> op).fit(pl.DataFrame({"a": pl.Series(old, dtype=dtype)}))
    growth = workflow.update(pl.DataFrame({"a": pl.Series(new, dtype=dtype)}))
    return workflow.categories("a").rows(), dict(growth)


def test_new_values_come_after_the_old_ones_which_keep_their_codes() -> None:
    found, growth = updated(Categorify(), ["x", "y", "x"], ["q", "p", "y", "y", "y", "r", "r", None])
    assert found == [("x", 2, 3), ("y", 4, 4), ("r", 2, 5), ("p", 1, 6), ("q", 1, 7)]
    assert growth == {"a": 3}


def test_a_threshold_counts_old_and_new_rows_together() -> None:
    found, growth = updated(Categorify(freq_threshold=3), [1, 1, 1, 2, 2, 3], [2, 3, 4, 4, 4, 4])
    assert found == [(1, 3, 3), (4, 4, 4), (2, 3, 5)]
    assert growth == {"a": 2}
    op = Workflow(["a"] >> Categorify(freq_threshold=3)).fit(pl.DataFrame({"a": [7, 8]}))
    for expected in ([], [7], [7, 8]):
        assert op.categories("a")["value"].to_list() == expected
        op.update(pl.DataFrame({"a": [7, 7, 8]}))


def test_a_full_vocabulary_does_not_grow_and_one_with_room_fills_it() -> None:
    found, growth = updated(Categorify(max_size=6), [1, 1, 2], [5, 5, 4, 4, 4])
    assert found == [(1, 2, 3), (2, 1, 4), (4, 3, 5)] and growth == {"a": 1}
    assert updated(Categorify(max_size=5), [1, 1, 2], [4])[1] == {"a": 0}
    assert updated(Categorify(max_size=12, num_buckets=10), [1], [2])[1] == {"a": 0}
    assert updated(Categorify(vocabs={"a": [1]}), [1], [2])[1] == {"a": 0}


def test_an_update_of_a_group_counts_all_its_columns_and_list_leaves() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [[2, 2], [3]]})
    workflow = Workflow([["a", "b"]] >> Categorify()).fit(frame)
    assert dict(workflow.update(pl.DataFrame({"a": [9, 1], "b": [[9, 8], []]}))) == {"a_b": 2}
    assert workflow.transform(pl.DataFrame({"a": [9, 8], "b": [[2], [8]]})).rows() == [(6, [3]), (7, [7])]


def test_an_update_can_be_saved_and_updated_again(tmp_path) -> None:
    workflow = Workflow(["a"] >> Categorify(freq_threshold=2)).fit(pl.DataFrame({"a": ["x", "x", "y"]}))
    workflow.update(pl.DataFrame({"a": ["z"]}))
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    loaded.update(pl.DataFrame({"a": ["z", "y"]}))
    assert loaded.categories("a")["value"].to_list() == ["x", "y", "z"]
    assert loaded.online().transform({"a": "z"}) == {"a": 5}


def test_a_new_value_that_the_learned_dtype_cannot_hold_is_refused() -> None:
    workflow = Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": [1, 2]}))
    assert dict(workflow.update(pl.DataFrame({"a": [2.0, 3.0]}))) == {"a": 1}
    with pytest.raises(DataError, match=r"Categorify: 'a' has the new value 1\.5, but holds int64\. Cast it\."):
        workflow.update(pl.DataFrame({"a": [1.5]}))
    workflow = Workflow(["a"] >> Categorify(dtype="int8")).fit(pl.DataFrame({"a": [1]}))
    with pytest.raises(SettingError, match="'a' has 204 codes, too many for int8"):
        workflow.update(pl.DataFrame({"a": list(range(2, 202))}))


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String, pl.Float64])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_updates_agree_with_a_dictionary(dtype, data) -> None:
    extremes = {pl.Int64: [2**63 - 1, -(2**63)], pl.String: ["", "é"], pl.Float64: [0.0, -0.0, float("nan"), 0.5]}
    values = st.lists(st.none() | st.sampled_from([dtype.to_python()(i) for i in range(4)] + extremes[dtype]))
    old, new, threshold = data.draw(values.filter(len)), data.draw(values.filter(len)), data.draw(st.integers(0, 3))

    def ranked(counts):
        return sorted(counts, key=lambda v: (-counts[v], v.encode() if isinstance(v, str) else v))

    order: list = []
    counts: dict = {}
    for rows in (old, new):
        for value in rows:
            if value is not None and value == value:
                counts[value] = counts.get(value, 0) + 1
        order += ranked({v: n for v, n in counts.items() if v not in order and n >= threshold})
    found, _ = updated(Categorify(freq_threshold=threshold), old, new, dtype)
    assert found == [(v, counts[v], 3 + i) for i, v in enumerate(order)]


def test_in_a_single_table_each_column_has_its_own_codes_behind_one_padding() -> None:
    frame = pl.DataFrame({"a": ["x", "x", "y"], "b": [[7], [None], []], "c": ["x", None, "q"]})
    workflow = Workflow(["a", "b", "c"] >> Categorify(single_table=True, num_buckets={"b": 2})).fit(frame)
    # a: 1 null, 2 unknown, 3 x, 4 y; b: 5 null, 6-7 unknown, 8 seven; c: 9 null, 10 unknown, 11 q, 12 x
    out = workflow.transform(frame)
    assert out["a"].to_list() == [3, 3, 4]
    assert out["b"].to_list() == [[8], [5], []]
    assert out["c"].to_list() == [12, 9, 11]
    assert workflow.transform(pl.DataFrame({"a": [None], "b": [[]], "c": ["z"]})).row(0) == (1, [], 10)
    assert {(c.domain.name, c.cardinality) for c in workflow.output_schema} == {("a_b_c", 13)}
    assert workflow.categories("c").rows() == [("q", 1, 11), ("x", 1, 12)]
    assert workflow.decode("c", [12, 9, 0, 10]).to_list() == ["x", None, None, None]
    assert workflow.encode("c", ["x", None]).to_list() == [12, 9]
    assert workflow.online().transform({"a": "y", "b": [7], "c": "q"}) == {"a": 4, "b": [8], "c": 11}
    with pytest.raises(DataError, match=r"Workflow.decode: 4 is the code of another column than 'c' in their common"):
        workflow.decode("c", [4])
    with pytest.raises(DataError, match=r"Workflow.decode: 13 is not a code of 'c', which has 13\."):
        workflow.decode("c", [13])


def test_a_single_table_grows_at_its_end(tmp_path) -> None:
    frame = pl.DataFrame({"a": ["x", "y"], "b": ["p", "p"]})
    workflow = Workflow(["a", "b"] >> Categorify(single_table=True)).fit(frame)
    before = workflow.transform(frame)
    growth = workflow.update(pl.DataFrame({"a": ["z", "x"], "b": ["q", "q"]}))
    assert dict(growth) == {"a_b": 2} and growth.cardinalities["a_b"] == (8, 10)
    workflow.save(tmp_path / "w")
    for one in (workflow, Workflow.load(tmp_path / "w")):
        assert one.transform(frame).equals(before)
        assert one.transform(pl.DataFrame({"a": ["z", "?"], "b": ["q", None]})).rows() == [(8, 9), (2, 5)]
        assert one.decode("a", [3, 8, 4]).to_list() == ["x", "z", "y"]
        assert one.online().transform({"a": "z", "b": "q"}) == {"a": 8, "b": 9}
        assert one.categories("a")["code"].to_list() == [3, 4, 8]
    assert dict(workflow.update(pl.DataFrame({"a": ["w"], "b": ["q"]}))) == {"a_b": 1}
    assert workflow.encode("a", ["x", "z", "w"]).to_list() == [3, 8, 10]


def test_an_encode_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Categorify: encode_type='pairs' is unknown\. Choose joint or combo\."):
        Categorify(encode_type="pairs")


def test_a_table_with_more_codes_than_the_dtype_holds_is_refused() -> None:
    frame = pl.DataFrame({"a": range(100), "b": range(100)})
    with pytest.raises(SettingError, match="Categorify: 'a_b' has 205 codes, too many for int8"):
        Workflow(["a", "b"] >> Categorify(single_table=True, dtype="int8")).fit(frame)


def test_signed_and_unsigned_columns_of_a_group_meet() -> None:
    frame = pl.DataFrame({"a": [1, 2, 2], "b": [2**63 + 1, 1, 1]}, schema={"a": pl.Int64, "b": pl.UInt64})
    workflow = Workflow([["a", "b"]] >> Categorify()).fit(frame)
    assert workflow.decode("a", [3, 4, 5]).to_list() == [1, 2, 2**63 + 1]
    assert workflow.transform(frame)["b"].to_list() == [5, 3, 3]
    assert workflow.online().transform({"a": 2, "b": 2**63 + 1}) == {"a": 4, "b": 5}


def test_a_group_that_no_whole_number_type_holds_is_refused() -> None:
    frame = pl.DataFrame({"a": [-1], "b": [2**63 + 1]}, schema={"a": pl.Int64, "b": pl.UInt64})
    with pytest.raises(DataError, match=r"whole numbers below 0 in one column and above the range of int64 in another"):
        Workflow([["a", "b"]] >> Categorify()).fit(frame)


def test_numbers_of_128_bits_are_refused() -> None:
    frame = pl.DataFrame({"k": [2**70]}, schema={"k": pl.Int128})
    with pytest.raises(DataError, match=r"Categorify: the column 'k' holds int128, which has no stable codes"):
        Workflow(["k"] >> Categorify()).fit(frame)


def test_a_whole_number_that_no_float_is_does_not_match_one() -> None:
    workflow = Workflow(["a"] >> Categorify()).fit(pl.DataFrame({"a": [0.5, 2.0**53]}))
    assert workflow.transform(pl.DataFrame({"a": [2**53, 2**53 + 1]}))["a"].to_list() == [4, 2]
