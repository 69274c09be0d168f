import polars as pl
import pytest

from tamis.errors import SchemaError, SettingError, UnknownColumnError
from tamis.features.ops import (
    AddMetadata,
    AddProperties,
    AddTags,
    Categorify,
    Normalize,
    Rename,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
)
from tamis.features.workflow import Workflow
from tamis.schema import Tags

FRAME = pl.DataFrame({"a": [1, 2], "b": [3, 4]})


def schema(nodes):
    return Workflow(nodes).fit(FRAME).output_schema


@pytest.mark.parametrize(
    ("op", "tags"),
    [
        (TagAsUserID(), {Tags.USER_ID, Tags.USER, Tags.ID}),
        (TagAsItemID(), {Tags.ITEM_ID, Tags.ITEM, Tags.ID}),
        (TagAsUserFeatures(), {Tags.USER}),
        (TagAsItemFeatures(), {Tags.ITEM}),
        (AddTags(["mine", Tags.CONTEXT]), {"mine", Tags.CONTEXT}),
        (AddTags(Tags.TARGET), {Tags.TARGET}),
    ],
)
def test_ops_that_tag_add_tags_and_leave_values(op, tags) -> None:
    workflow = Workflow(["a"] >> op).fit(FRAME)
    assert workflow.output_schema["a"].tags == tags
    assert workflow.transform(FRAME).equals(FRAME.select("a"))


def test_metadata_adds_properties_too() -> None:
    found = schema(["a"] >> AddMetadata([Tags.TIME], {"unit": "s"}) >> AddProperties(properties={"x": 1}))["a"]
    assert found.properties == {"unit": "s", "x": 1}
    assert found.has_tag(Tags.TIME)


def test_tags_that_exclude_each_other_are_refused_when_written() -> None:
    with pytest.raises(SchemaError, match="exclude each other"):
        AddTags([Tags.CATEGORICAL, Tags.CONTINUOUS])


def test_tags_that_the_new_ones_exclude_go() -> None:
    found = schema(["a"] >> Categorify() >> Normalize())["a"]
    assert found.has_tag(Tags.CONTINUOUS)
    assert not found.has_tag(Tags.CATEGORICAL)


@pytest.mark.parametrize(
    ("op", "names"),
    [
        (Rename(postfix="_raw"), ["a_raw", "b_raw"]),
        (Rename(lambda name: name.upper()), ["A", "B"]),
        (Rename(names={"b": "c"}), ["a", "c"]),
        (Rename(names={"a": "b", "b": "a"}), ["b", "a"]),
    ],
)
def test_columns_can_be_renamed_in_many_ways(op, names) -> None:
    out = Workflow(["a", "b"] >> op).fit(FRAME).transform(FRAME)
    assert out.columns == names
    assert out.rows() == FRAME.rows()


def test_a_renamed_column_still_knows_its_values() -> None:
    workflow = Workflow(["a"] >> Categorify() >> Rename(name="code")).fit(FRAME)
    assert workflow.decode("code", [3, 4]).to_list() == [1, 2]
    assert workflow.output_schema["code"].domain.name == "a"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Rename(), SettingError, "0 ways to rename are given"),
        (lambda: Rename(name="x", postfix="y"), SettingError, "2 ways to rename are given"),
        (lambda: schema(["a", "b"] >> Rename(name="x")), SettingError, "name='x' is for one column, here are 2"),
        (lambda: schema(["a", "b"] >> Rename(lambda n: "x")), SettingError, "two columns would be called 'x'"),
        (lambda: schema(["a"] >> Rename(names={"z": "y"})), UnknownColumnError, "Rename: the data has no column 'z'"),
    ],
)
def test_renaming_that_is_not_clear_is_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()
