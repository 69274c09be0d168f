import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import SettingError, UnknownColumnError, UnknownNameError
from tamis.features.node import as_node
from tamis.features.ops import AddTags, Categorify, Rename
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

FRAME = pl.DataFrame({"user_id": [1], "user_age": [2], "item_1": [3], "item_22": [4], "click": [5], "user_*": [6]})
PLAIN = FRAME.drop("user_*")


def names(nodes, frame=PLAIN):
    return Workflow(nodes).fit(frame).output_schema.column_names


def test_patterns_select_as_in_fnmatch() -> None:
    assert names(["user_*"]) == ["user_id", "user_age"]
    assert names(["item_?"]) == ["item_1"]
    assert names(["item_[0-9]*", "click"]) == ["item_1", "item_22", "click"]
    assert names("*") == PLAIN.columns
    assert names(["click", "*"] >> AddTags("x")) == ["click", "user_id", "user_age", "item_1", "item_22"]


def test_a_column_that_is_called_like_a_pattern_comes_first() -> None:
    assert names(["user_*"], FRAME) == ["user_*"]
    assert names(as_node("*")["user_*"], FRAME) == ["user_*"]


def test_patterns_and_tags_pick_and_leave_out() -> None:
    schema = Schema([ColumnSchema(name, tags=["user"] if "user" in name else []) for name in PLAIN.columns])
    data = Dataset(PLAIN, schema=schema)
    everything = ["*"] >> AddTags("seen")
    assert names(everything["item_*"]) == ["item_1", "item_22"]
    assert names(everything[[Tags.USER, "click"]], data) == ["user_id", "user_age", "click"]
    assert names(everything - ["item_*", "click"]) == ["user_id", "user_age"]
    assert names(everything - [Tags.USER], data) == ["item_1", "item_22", "click"]
    assert names(everything - [Tags.ITEM], data) == PLAIN.columns


def test_a_pattern_inside_a_group_is_the_group_of_its_matches() -> None:
    workflow = Workflow([["user_*"], "click"] >> Categorify()).fit(PLAIN)
    assert [column.domain.name for column in workflow.output_schema] == [
        "user_id_user_age",
        "user_id_user_age",
        "click",
    ]


def test_a_pattern_without_a_match_is_named_with_the_nearest_column() -> None:
    message = "Categorify: the data has no column that matches 'userid_*'. Did you mean 'user_id'?"
    with pytest.raises(UnknownColumnError) as error:
        names(["click", "userid_*"] >> Categorify())
    assert str(error.value) == message
    for nodes in ((["*"] >> AddTags("x")) - ["userid_*"], (["*"] >> AddTags("x"))["userid_*"], [["userid_*", "click"]]):
        with pytest.raises(UnknownColumnError, match="Workflow: the data has no column that matches 'userid_"):
            names(nodes)


def test_a_tag_that_no_column_has_is_named_with_the_tags_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"Categorify: there is no column tagged 'user'. There are none"):
        names([Tags.USER] >> Categorify())
    schema = Schema([ColumnSchema("click", tags=[Tags.TARGET])])
    with pytest.raises(UnknownNameError, match=r"Workflow: there is no column tagged 'user'. There are 'target'"):
        names([Tags.USER], Dataset(PLAIN, schema=schema))


@pytest.mark.parametrize(
    "make",
    [
        lambda: as_node(["click", "user_id", "click"]),
        lambda: as_node([["click", "click"], "user_id"]),
        lambda: as_node(["user_id", "click"])[["click", "click"]],
        lambda: ["click", "click"] >> Categorify(),
    ],
)
def test_a_column_twice_in_a_selection_is_refused(make) -> None:
    with pytest.raises(SettingError, match=r"Workflow: 'click' is selected twice. Name it once."):
        make()


def test_a_column_twice_in_the_output_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Rename: two columns would be called 'x'. Rename one of them."):
        names(["click", "user_id"] >> Rename(lambda name: "x"))


def test_a_column_that_a_pattern_or_tag_finds_again_counts_once() -> None:
    schema = Schema([ColumnSchema("user", tags=[Tags.USER]), ColumnSchema("click")])
    frame = pl.DataFrame({"user": [1], "click": [2]})
    assert names(["user", Tags.USER, "us*"], Dataset(frame, schema=schema)) == ["user"]


def test_what_is_no_name_cannot_be_picked() -> None:
    with pytest.raises(SettingError, match=r"7 is not a name. Pick columns by names, patterns or tags"):
        as_node(["click"])[7]
    with pytest.raises(SettingError, match="7 is not a set of columns"):
        as_node(["click", 7])


def test_selections_of_every_kind_are_saved(tmp_path) -> None:
    schema = Schema([ColumnSchema(name, tags=["user"] if "user" in name else []) for name in PLAIN.columns])
    nodes = ([Tags.USER, ["item_?", "item_22"]] >> Categorify())[[Tags.USER, "item_*"]]
    workflow = Workflow(nodes).fit(Dataset(PLAIN, schema=schema))
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert repr(loaded) == repr(workflow)
    assert loaded.transform(PLAIN).equals(workflow.transform(PLAIN))
    assert loaded.output_schema == workflow.output_schema
