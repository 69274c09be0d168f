import json
import signal
import subprocess
import sys

import polars as pl
import pytest

from tamis.errors import FormatError, NotSavableError
from tamis.features.node import Node
from tamis.features.ops import (
    Bucketize,
    Categorify,
    ColumnOp,
    Dropna,
    FillMissing,
    Filter,
    Normalize,
    Op,
    Rename,
    TagAsUserID,
)
from tamis.features.settings import from_json, to_json
from tamis.features.workflow import Workflow
from tamis.folders import saving, write_json

FRAME = pl.DataFrame({"a": ["x", "y", None], "b": [1.5, None, 3.5], "c": [[1, 2], [2], []], "d": [1, 2, 3]})


def a_workflow() -> Workflow:
    codes = ["a", "c"] >> Categorify(num_buckets={"a": 2}, vocabs={"a": ["y"]}) >> TagAsUserID()
    numbers = ["b"] >> FillMissing(0.5) >> Normalize()
    groups = [["d"]] >> Rename(postfix="_raw") >> Bucketize([2, float("inf")])
    return Workflow((codes + numbers + groups - ["c"]) >> Filter(lambda df: df["b"] > 0) >> Dropna(["b"]))


def test_a_saved_workflow_does_what_it_did(tmp_path) -> None:
    workflow = a_workflow().fit(FRAME)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert loaded.transform(FRAME).equals(workflow.transform(FRAME))
    assert (loaded.input_schema, loaded.output_schema) == (workflow.input_schema, workflow.output_schema)
    assert repr(loaded) == repr(workflow)
    assert loaded.decode("a", [4]).to_list() == ["y"]


def test_a_loaded_workflow_can_be_saved_and_fitted_again(tmp_path) -> None:
    a_workflow().fit(FRAME).save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    loaded.save(tmp_path / "again")
    assert (tmp_path / "w/workflow.json").read_text() == (tmp_path / "again/workflow.json").read_text()
    assert loaded.fit(FRAME.reverse()).transform(FRAME).equals(a_workflow().fit(FRAME).transform(FRAME))


def test_a_lambda_that_was_traced_saves(tmp_path) -> None:
    Workflow(["d"] >> Filter(lambda df: df["d"].isin([1, 3]) | (df.d == 2))).fit(FRAME).save(tmp_path / "w")
    assert Workflow.load(tmp_path / "w").transform(FRAME)["d"].to_list() == [1, 2, 3]


PYTHON_CALLS = [
    pl.col("d").map_batches(lambda s: s > 1, return_dtype=pl.Boolean),
    pl.col("d").name.map(lambda name: name.upper()) > 1,
]


@pytest.mark.parametrize("expr", PYTHON_CALLS, ids=["map_batches", "name.map"])
def test_an_expression_that_calls_python_is_not_saved(tmp_path, expr) -> None:
    workflow = Workflow(["d"] >> Filter(expr)).fit(FRAME)
    with pytest.raises(NotSavableError, match=r"'f' of Filter calls a Python function inside an expression"):
        workflow.save(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_function_that_was_not_traced_is_not_saved(tmp_path) -> None:
    with pytest.raises(NotSavableError, match=r"'f' of Rename is <function .*a folder cannot hold"):
        Workflow(["d"] >> Rename(lambda n: n)).fit(FRAME).save(tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_function_in_a_folder_is_never_run() -> None:
    for content in (
        {"AnonymousFunction": {}},
        {"x": [{"PythonUdf": 1}]},
        {"RenameAlias": {"function": {"Map": [0, 11, 7, 128]}}},
    ):
        with pytest.raises(FormatError, match="holds a pickled function, which is never run"):
            from_json({"$tamis": "expression", "polars": content}, "here")


def test_settings_come_back_as_they_were() -> None:
    series = pl.Series("value", [1, 2], dtype=pl.UInt8)
    assert from_json(to_json({"a": (1, "x", None, True, 0.5)}, where=""), "") == {"a": (1, "x", None, True, 0.5)}
    assert from_json(to_json(float("-inf"), where=""), "") == float("-inf")
    assert from_json(to_json(series, where=""), "").equals(series, check_dtypes=True)


def test_what_this_version_does_not_know_is_named() -> None:
    with pytest.raises(FormatError, match="a value of the kind 'tensor'"):
        from_json({"$tamis": "tensor"}, "here")
    with pytest.raises(FormatError, match="an expression was saved by a Polars that this one"):
        from_json({"$tamis": "expression", "polars": {"Nonsense": 1}}, "here")


SELECTION = {"node": "selection", "items": []}


def folder_with(tmp_path, nodes, learned=()):
    schema = {"kind": "schema", "version": 1, "columns": []}
    with saving(tmp_path / "w", kind="workflow", version=1) as folder:
        content = {"nodes": nodes, "input_schema": schema, "output_schema": schema, "learned": list(learned)}
        write_json(folder / "workflow.json", content)
    return tmp_path / "w"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([{"node": "loop"}], "there is a node 'loop' that this Tamis does not know"),
        (
            [{"node": "selection", "items": []}, {"node": "step", "parents": [0], "op": "Mine", "settings": {}}],
            "'Mine'",
        ),
        ([{"node": "pick", "parents": [7], "names": []}], "the workflow cannot be read"),
    ],
)
def test_a_graph_that_cannot_be_built_is_a_format_error(tmp_path, nodes, message) -> None:
    with pytest.raises(FormatError, match=message):
        Workflow.load(folder_with(tmp_path, nodes))


def test_a_folder_that_is_no_workflow_or_was_changed_is_refused(tmp_path) -> None:
    with pytest.raises(FormatError, match="not a saved workflow"):
        Workflow.load(tmp_path)
    a_workflow().fit(FRAME).save(tmp_path / "w")
    manifest = json.loads((tmp_path / "w/manifest.json").read_text())
    (tmp_path / "w/manifest.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(FormatError, match="format version 99 is newer"):
        Workflow.load(tmp_path / "w")
    (tmp_path / "w/manifest.json").write_text(json.dumps(manifest))
    next((tmp_path / "w/learned").glob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="its content changed since it was saved"):
        Workflow.load(tmp_path / "w")


def doubled(values: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([values, values])


EDITS = {
    "a value twice": doubled,
    "a null": lambda values: values.with_columns(value=pl.lit(None, values["value"].dtype)),
    "another dtype": lambda values: values.with_columns(pl.col("value").cast(pl.String)),
    "fewer rows than the domain has codes": lambda values: values.head(1),
    "another order": lambda values: values.reverse(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_vocabulary_that_was_edited_by_hand_is_found_and_its_file_named(tmp_path, edit) -> None:
    Workflow(["d"] >> Categorify()).fit(FRAME).save(tmp_path / "w")
    (file,) = (tmp_path / "w/learned").glob("*-vocabulary.parquet")
    edit(pl.read_parquet(file)).write_parquet(file)
    with pytest.raises(FormatError) as error:
        Workflow.load(tmp_path / "w")
    assert str(error.value) == (
        f"{file}: its content changed since it was saved. Save the workflow again or restore the file."
    )
    file.unlink()
    with pytest.raises(FormatError, match=f"{file}: the file is missing from the saved workflow. Save it again"):
        Workflow.load(tmp_path / "w")


KILLED = """
import os, signal, sys
import polars as pl
from tamis.features.ops import Categorify
from tamis.features.workflow import Workflow

workflow = Workflow(["a", "b"] >> Categorify()).fit(pl.DataFrame({"a": [1, 2], "b": [3, 4]}))
written, write = [], pl.DataFrame.write_parquet
def die_at_the_second(frame, file, **options):
    if written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(file)
    write(frame, file, **options)
pl.DataFrame.write_parquet = die_at_the_second
workflow.save(sys.argv[1])
"""


def test_a_killed_save_leaves_the_old_folder_or_none(tmp_path) -> None:
    workflow = Workflow(["d"] >> Categorify()).fit(FRAME)
    workflow.save(tmp_path / "old")
    for name in ("old", "new"):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], check=False)
        assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    assert Workflow.load(tmp_path / "old").transform(FRAME).equals(workflow.transform(FRAME))


def test_a_node_of_ones_own_is_not_saved(tmp_path) -> None:
    class Twin(Node):
        def _resolve(self, context, where):
            context.readers["d"] = where
            return context.source.pick(["d"])

    with pytest.raises(
        NotSavableError, match=r"Workflow.save: a Twin is no node that a folder can hold. Build the gra"
    ):
        Workflow(Twin()).fit(FRAME).save(tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_an_op_of_ones_own_is_known_once_it_is_defined() -> None:
    class Own(ColumnOp):
        pass

    assert Op.kinds["Own"] is Own
    del Op.kinds["Own"]
