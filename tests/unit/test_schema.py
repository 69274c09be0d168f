from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import FormatError, NotSavableError, SchemaError, UnknownColumnError
from tamis.schema import ColumnSchema, Domain, Schema, Tags


@pytest.fixture
def schema() -> Schema:
    return Schema(
        [
            ColumnSchema("user", tags=[Tags.USER_ID, Tags.CATEGORICAL]),
            ColumnSchema("age", "float32", tags=[Tags.USER, Tags.CONTINUOUS]),
            ColumnSchema("item", tags=[Tags.ITEM_ID]).with_domain(99, name="items"),
            ColumnSchema("click", "int8", tags=[Tags.TARGET]),
        ]
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
columns = st.builds(
    ColumnSchema,
    name=st.text(),
    dtype=st.sampled_from(["int64", "float32", "string"]),
    tags=st.sets(st.sampled_from([Tags.USER_ID, Tags.ITEM, Tags.ID, Tags.TARGET, Tags.CATEGORICAL, "mine", "Ünser"])),
    is_list=st.booleans(),
    properties=st.dictionaries(st.text().filter(lambda key: key != "domain"), json_values, max_size=3),
)


@given(st.lists(columns, max_size=4, unique_by=lambda column: column.name))
def test_json_keeps_every_schema(some: list[ColumnSchema]) -> None:
    import json

    schema = Schema(some)
    again = Schema.from_dict(json.loads(schema.to_json()))
    assert again == schema
    assert hash(again) == hash(schema)
    assert all(
        type(a) is type(b)
        for x, y in zip(again, schema, strict=True)
        for a, b in zip(sorted(x.tags), sorted(y.tags), strict=True)
    )


def test_a_saved_schema_comes_back_from_file_and_folder(tmp_path: Path, schema: Schema) -> None:
    schema.save(tmp_path)
    assert Schema.load(tmp_path) == schema
    assert Schema.load(tmp_path / "schema.json") == schema
    schema.save(tmp_path / "other.json")
    assert Schema.load(str(tmp_path / "other.json")) == schema


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "this is not a schema. Give what `Schema.save` wrote."),
        ("[1]", "this is not a schema"),
        ('{"kind": "schema", "columns": []}', "the schema has no version"),
        ('{"kind": "schema", "version": 99, "columns": []}', "version 99 is newer than the 1 .* Upgrade Tamis"),
        ('{"kind": "schema", "version": 1, "columns": [{"name": "a"}]}', "a column of the schema is broken"),
        (
            '{"kind": "schema", "version": 1, "columns": [{"tags": [], "colour": 1}]}',
            "a column of the schema is broken",
        ),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_schema_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        Schema.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_properties_that_json_cannot_hold_are_named_when_saved(value: object) -> None:
    with pytest.raises(NotSavableError, match=r"^column 'a': its properties cannot be saved as JSON .* Use plain"):
        Schema([ColumnSchema("a", properties={"x": value})]).to_json()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("Int64", ("int64", False)),
        (pl.Int32, ("int32", False)),
        (pl.Int32(), ("int32", False)),
        (pl.String, ("string", False)),
        (pl.Boolean(), ("boolean", False)),
        (pl.List(pl.Float64), ("float64", True)),
        (pl.List(pl.List(pl.Int8)), ("int8", True)),
        (pl.Array(pl.Float32, 4), ("float32", True)),
        (np.int16, ("int16", False)),
        (np.dtype("float32"), ("float32", False)),
        (np.bool_, ("boolean", False)),
        (np.str_, ("string", False)),
        (int, ("int64", False)),
        (float, ("float64", False)),
        (str, ("string", False)),
        (bool, ("boolean", False)),
        ("float", ("float64", False)),
        (pa.float32(), ("float32", False)),
        (pa.float64(), ("float64", False)),
        (pa.large_string(), ("string", False)),
    ],
    ids=repr,
)
def test_every_librarys_types_have_one_name(dtype: object, expected: tuple[str, bool]) -> None:
    column = ColumnSchema("a", dtype)  # type: ignore[arg-type]
    assert (column.dtype, column.is_list) == expected


def test_a_list_without_a_type_of_values_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"the dtype 'list' lacks the type of its values"):
        ColumnSchema("a", pl.List)  # type: ignore[arg-type]


def test_an_id_tag_and_its_parts_come_together() -> None:
    assert ColumnSchema("a", tags=[Tags.USER_ID]).tags == {Tags.USER_ID, Tags.USER, Tags.ID}
    assert ColumnSchema("a", tags=[Tags.ITEM, Tags.ID]).has_tag(Tags.ITEM_ID)
    assert not ColumnSchema("a", tags=[Tags.ITEM]).has_tag(Tags.ITEM_ID)
    assert ColumnSchema("a", tags=[Tags.BINARY_CLASSIFICATION]).has_tag("binary")


def test_tags_are_the_same_in_any_case() -> None:
    column = ColumnSchema("a", tags=["USER_ID", "Mine"])
    assert column == ColumnSchema("a", tags=[Tags.USER_ID, "mine"])
    assert column.has_tag("User") and column.has_tag("MINE")
    assert Schema([column]).select_by_tag("MINE").column_names == ["a"]


def test_one_tag_may_be_given_without_a_list() -> None:
    assert ColumnSchema("a", tags="user").tags == {Tags.USER}  # type: ignore[arg-type]


def test_tags_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"^column 'a': the tags .* exclude each other. Drop one.$"):
        ColumnSchema("a", tags=[Tags.CATEGORICAL, Tags.CONTINUOUS])
    with pytest.raises(SchemaError, match="exclude each other"):
        ColumnSchema("a", tags=[Tags.USER_ID, Tags.CONTINUOUS])


def test_a_new_tag_drops_the_ones_that_it_excludes() -> None:
    assert ColumnSchema("a", tags=[Tags.CATEGORICAL]).with_tags(Tags.CONTINUOUS).tags == {Tags.CONTINUOUS}
    # an embedding of users is no id any more, so neither is it the user id
    assert ColumnSchema("a", tags=[Tags.USER_ID]).with_tags([Tags.EMBEDDING]).tags == {Tags.USER, Tags.EMBEDDING}


def test_properties_are_copies() -> None:
    mine = {"domain": {"min": 0, "max": 5}, "list": [1]}
    column = ColumnSchema("a", properties=mine)
    mine["domain"]["max"] = 9
    column.to_dict()["properties"]["list"].append(2)
    column.with_name("b").properties["list"].append(3)
    assert column.properties == {"domain": {"min": 0, "max": 5}, "list": [1]}


def test_the_domain_gives_the_cardinality_and_the_tables_name() -> None:
    assert ColumnSchema("a").domain is None and ColumnSchema("a").cardinality is None
    column = ColumnSchema("a").with_domain(99)
    assert column.domain == Domain(0, 99, "a") and column.cardinality == 100
    assert column.with_domain(7, min=1, name="shared").domain == Domain(1, 7, "shared")
    assert ColumnSchema("a", properties={"domain": {"max": 3}}).domain == Domain(0, 3, "a")
    assert ColumnSchema("a").with_domain(np.int64(99)).cardinality == 100


@pytest.mark.parametrize("domain", [{}, {"min": 1}, {"max": "9"}, {"min": 5, "max": 4}, {"max": float("nan")}, 7])
def test_a_domain_that_makes_no_sense_is_refused(domain: object) -> None:
    with pytest.raises(SchemaError, match=r"^column 'a': the domain .* has no `max`, or one below its `min`. Give"):
        ColumnSchema("a", properties={"domain": domain})


def test_a_changed_column_keeps_the_rest() -> None:
    column = ColumnSchema("a", "int8", tags=[Tags.ITEM], properties={"x": 1})
    assert column.with_dtype(pl.List(pl.Float32)) == ColumnSchema("a", "float32", column.tags, True, {"x": 1})
    assert column.with_dtype("float32", is_list=True).with_dtype("int8").is_list
    assert column.with_properties({"y": 2}).properties == {"x": 1, "y": 2}


def test_columns_are_selected_by_tag_one_or_any_of_several(schema: Schema) -> None:
    assert schema.select_by_tag(Tags.USER).column_names == ["user", "age"]
    assert schema.select_by_tag([Tags.CONTINUOUS, Tags.ITEM]).column_names == ["age", "item"]
    assert schema.select_by_tag([]).column_names == []
    assert schema.excluding_by_tag([Tags.ID, Tags.TARGET]).column_names == ["age"]


def test_columns_are_selected_by_name_in_the_order_given(schema: Schema) -> None:
    assert schema.select_by_name(["item", "user", "item"]).column_names == ["item", "user"]
    assert schema.select("age").column_names == ["age"]
    assert schema[["item", "age"]].column_names == ["item", "age"]
    assert schema["age"].dtype == "float32"
    assert schema.get("age") is schema["age"] and schema.get("nothing") is None
    assert "age" in schema and "nothing" not in schema
    for excluding in (schema.excluding, schema.without, schema.excluding_by_name):
        assert excluding(["user", "nothing"]).column_names == ["age", "item", "click"]
    assert schema.without("user").first == schema["age"]


def test_a_column_that_is_not_there_is_named(schema: Schema) -> None:
    for ask in (schema.__getitem__, schema.select_by_name):
        with pytest.raises(UnknownColumnError, match=r"Schema: the data has no column 'usr'. Did you mean 'user'\?"):
            ask("usr")


def test_plus_merges_and_the_right_hand_side_wins(schema: Schema) -> None:
    merged = schema[["user", "age"]] + Schema([ColumnSchema("age", "int8"), ColumnSchema("new")])
    assert merged.column_names == ["user", "age", "new"] and merged["age"].dtype == "int8"
    assert (schema + ColumnSchema("one")).column_names[-1] == "one"
    assert schema.column_names == ["user", "age", "item", "click"]


def test_minus_removes_by_schema_names_or_name(schema: Schema) -> None:
    for removed in (schema[["user", "click"]], ["user", "click"]):
        assert (schema - removed).column_names == ["age", "item"]
    assert (schema - "user").column_names == ["age", "item", "click"]


def test_equal_schemas_are_one_key_and_order_counts(schema: Schema) -> None:
    assert len({schema, Schema(schema.columns)}) == 1
    assert Schema(["a", "b"]) != Schema(["b", "a"])
    assert ColumnSchema("a", properties={"x": 1}) != ColumnSchema("a")


def test_a_column_given_twice_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"the column 'b' is given twice. Rename one of the two."):
        Schema(["a", "b", "b"])


def test_an_empty_schema_has_no_first_column() -> None:
    assert len(Schema()) == 0 and repr(Schema()) == "Schema of 0 columns"
    with pytest.raises(SchemaError, match=r"it has no columns, so there is no first one. Check the tags"):
        _ = Schema().first


def test_one_name_is_a_column_and_not_its_letters() -> None:
    assert Schema("user").column_names == ["user"]


def test_the_repr_is_a_table(schema: Schema) -> None:
    assert repr(schema[["item", "click"]]).splitlines() == [
        "Schema of 2 columns",
        "  item   int64  100  id, item, item_id",
        "  click  int8        target",
    ]
    assert "list[int8]" in repr(Schema([ColumnSchema("a", "int8", is_list=True)]))


def test_the_html_shows_names_as_text() -> None:
    shown = Schema([ColumnSchema("<script>", tags=["<b>"])])._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "&lt;b&gt;" in shown


def test_a_column_of_vectors_has_a_width_and_one_of_lists_has_none() -> None:
    vector = ColumnSchema("picture", pl.Array(pl.Float32, 8))
    assert (vector.dtype, vector.is_list, vector.width) == ("float32", True, 8)
    assert ColumnSchema("tags", pl.List(pl.Int64)).width is None
    assert ColumnSchema("age", pl.Int8).width is None
    assert vector.with_dtype(pl.List(pl.Float32)).width is None
    assert Schema.from_dict(Schema([vector]).to_dict())["picture"] == vector
