import datetime as dt

import polars as pl
import pytest

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
