from dataclasses import dataclass

import polars as pl
import pytest

from tamis.errors import DataError, NotFittedError, UnknownColumnError
from tamis.features.ops import AddTags, ColumnOp, GroupOp, Normalize, Op
from tamis.features.statistics import Counts
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema


@dataclass(frozen=True)
class Seen(ColumnOp):
    """Codes of the values seen, in their order; new ones come after them."""

    def learn(self, column):
        return {"counts": Counts(column.values)}

    def finish(self, unit, found):
        return {"values": found["counts"].select("value").sort("value")}

    def update(self, learned, unit, found):
        known = learned["values"]
        return {
            "values": pl.concat(
                [known, found["counts"].select("value").join(known, on="value", how="anti").sort("value")]
            )
        }

    def apply(self, column, learned):
        return column.values.replace_strict(
            learned["values"]["value"], pl.int_range(len(learned["values"]), eager=True), default=None
        ).cast(pl.Int32)

    def describe(self, column, learned):
        return column.with_dtype("int32").with_domain(len(learned["values"]) - 1)


@dataclass(frozen=True)
class Largest(GroupOp):
    """The largest target that was ever seen, for each row."""

    @property
    def learns_from(self):
        return ("target",)

    def learn(self, columns):
        return {"max": columns[-1].values.max()}

    def update(self, learned, unit, found):
        return {"max": max(learned["max"], found["max"])}

    def apply(self, columns, learned):
        return columns[0].values * 0 + learned["max"]

    def describe(self, columns, learned):
        return ColumnSchema(columns[0].name, "int64")


@pytest.fixture(autouse=True, scope="module")
def forget_these_ops():
    yield
    for name in ("Seen", "Largest"):
        Op.kinds.pop(name, None)


OLD = pl.DataFrame({"a": [5, 6], "b": [1.0, 3.0], "target": [1, 2]})
NEW = pl.DataFrame({"a": [4, 6, 9], "b": [50.0, 60.0, 70.0], "target": [1, 3, 1]})


def test_ops_that_grow_see_the_new_rows_and_all_others_stay(tmp_path) -> None:
    workflow = Workflow((["a"] >> Seen() >> AddTags("x")) + (["b"] >> Normalize("float64"))).fit(OLD)
    growth = workflow.update(NEW)
    assert dict(growth) == {"a": 2}
    assert growth.cardinalities == {"a": (2, 4)}
    out = workflow.transform(pl.DataFrame({"a": [5, 6, 4, 9], "b": [1.0, 3.0, 2.0, 4.0]}))
    assert out["a"].to_list() == [0, 1, 2, 3]
    assert out["b"].to_list() == [-1, 1, 0, 2]  # as fitted: mean 2, deviation 1
    assert workflow.output_schema["a"].cardinality == 4
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert dict(loaded.update(pl.DataFrame({"a": [1], "b": [0.0]}))) == {"a": 1}
    assert dict(loaded.update(pl.DataFrame({"a": [1], "b": [0.0]}))) == {"a": 0}


def test_what_builds_on_an_op_that_grew_sees_it_grown() -> None:
    workflow = Workflow(["a"] >> Seen() >> Seen()).fit(OLD)  # the inner codes 0, 1 are the outer values
    workflow.update(NEW)
    assert workflow.transform(NEW)["a"].to_list() == [2, 1, 3]


def test_the_passes_are_those_of_the_ops_that_grow(monkeypatch) -> None:
    runs = []
    collect_all = pl.collect_all

    def counted(queries, **options):
        runs.append(len(queries))
        return collect_all(queries, **options)

    workflow = Workflow((["a"] >> Seen() >> Normalize()) + (["b"] >> Seen() >> Seen())).fit(OLD)
    still = Workflow(["b"] >> Normalize()).fit(OLD)
    monkeypatch.setattr(pl, "collect_all", counted)
    workflow.update(NEW)
    assert len(runs) == 2
    assert dict(still.update(NEW)) == {}
    assert len(runs) == 2  # nothing grows: nothing is read


def test_a_target_that_is_needed_to_learn_is_needed_to_grow() -> None:
    workflow = Workflow(["a"] >> Largest()).fit(OLD)
    assert workflow.input_schema.column_names == ["a"]
    workflow.update(NEW)
    assert workflow.transform(NEW)["a"].to_list() == [3, 3, 3]
    with pytest.raises(UnknownColumnError, match="Largest: the data has no column 'target'"):
        workflow.update(NEW.drop("target"))


def test_the_report_is_a_table() -> None:
    workflow = Workflow(["a"] >> Seen()).fit(OLD)
    assert repr(workflow.update(NEW)).splitlines() == [
        "domain  rows to add  cardinality before  after",
        "a                 2                   2      4",
    ]


def test_an_update_that_fails_leaves_the_workflow_as_it_was() -> None:
    workflow = Workflow(["a", "b"] >> Seen()).fit(OLD)
    for new, message in (
        (NEW.drop("b"), "Seen: the data has no column 'b'"),
        (NEW.with_columns(b=pl.lit("x")), r"Workflow.update: the column 'b' holds string but held float64 in fit"),
        (
            NEW.with_columns(a=pl.concat_list("a")),
            r"Workflow.update: the column 'a' holds lists but held single values",
        ),
        (NEW.head(0), "Seen: there are no rows to learn from"),
    ):
        with pytest.raises((DataError, UnknownColumnError), match=message):
            workflow.update(new)
        assert workflow.transform(NEW)["a"].to_list() == [None, 1, None]
    with pytest.raises(NotFittedError, match=r"Workflow.update: .* Call fit first"):
        Workflow(["a"] >> Seen()).update(NEW)
