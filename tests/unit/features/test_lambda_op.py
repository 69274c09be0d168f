import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import NotSavableError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify, LambdaOp, Rename
from tamis.features.workflow import Workflow
from tamis.schema import Tags

FRAME = pl.DataFrame(
    {"price": [1, 4, None], "total": [2.0, 4.0, 8.0], "word": ["Ab", None, "c"], "items": [[3, 1], [], None]},
    schema_overrides={"items": pl.List(pl.Int64)},
)


def fitted(node):
    workflow = Workflow(node).fit(FRAME)
    return workflow, workflow.transform(FRAME)


def test_each_column_becomes_what_the_function_makes_of_it() -> None:
    workflow, frame = fitted(["price", "total"] >> LambdaOp(lambda col: col * 2))
    assert frame.to_dict(as_series=False) == {"price": [2, 8, None], "total": [4.0, 8.0, 16.0]}
    assert [column.dtype for column in workflow.output_schema] == ["int64", "float64"]
    assert fitted(["word"] >> LambdaOp(lambda col: col.str.len_chars()))[1]["word"].to_list() == [2, None, 1]


def test_a_function_behind_an_op_becomes_one() -> None:
    node = ["price"] >> Rename(postfix="_x") >> (lambda col: col + 1) >> (lambda col: col * 10)
    assert fitted(node)[1].to_dict(as_series=False) == {"price_x": [20, 50, None]}


def test_it_works_on_what_other_ops_made_and_forgets_their_domain() -> None:
    workflow, frame = fitted(["word"] >> Categorify() >> LambdaOp(lambda col: col - 1))
    assert frame["word"].to_list() == [2, 0, 3]
    assert workflow.output_schema["word"].domain is None
    assert workflow.output_schema["word"].has_tag(Tags.CATEGORICAL)


def test_other_columns_come_from_the_frame() -> None:
    divide = LambdaOp(lambda col, df: col / df["total"])
    assert divide.dependency == ("total",)
    assert fitted(["price"] >> divide)[1].to_dict(as_series=False) == {"price": [0.5, 1.0, None]}
    both = fitted(["price", "total"] >> LambdaOp(lambda col, df: col / df.total, dependency=["total"]))[1]
    assert both.to_dict(as_series=False) == {"price": [0.5, 1.0, None], "total": [2.0, 4.0, 8.0]}
    with pytest.raises(UnknownColumnError, match=r"LambdaOp: the data has no column 'totl'. Did you mean 'total'"):
        fitted(["price"] >> LambdaOp(lambda col, df: col / df["totl"]))
    with pytest.raises(SettingError, match=r"LambdaOp: it only looks at 'total', and no other column is selected"):
        fitted(["total"] >> LambdaOp(lambda col, df: df["total"] * 2))


def test_columns_of_a_nested_list_are_taken_one_by_one() -> None:
    assert fitted([["price", "total"]] >> LambdaOp(lambda col: -col))[1].columns == ["price", "total"]


def test_lists_come_as_lists() -> None:
    workflow, frame = fitted(["items"] >> LambdaOp(lambda col: col.list.sum()))
    assert frame["items"].to_list() == [4, 0, None]
    assert not workflow.output_schema["items"].is_list
    found = fitted(["items"] >> LambdaOp(lambda col: col.list.sort(), dtype="float32"))[1]["items"]
    assert (found.to_list(), found.dtype) == ([[1.0, 3.0], [], None], pl.List(pl.Float32))


def test_dtype_tags_and_properties_can_be_said() -> None:
    op = LambdaOp(lambda col: col > 2, dtype=pl.Int8, tags=Tags.TARGET, properties={"unit": "s"}, label="large")
    workflow, frame = fitted(["price"] >> op)
    column = workflow.output_schema["price"]
    assert frame["price"].to_list() == [0, 1, None]
    assert (column.dtype, column.tags, column.properties) == ("int8", {Tags.TARGET}, {"unit": "s"})
    assert "label='large'" in repr(workflow)
    with pytest.raises(SettingError, match=r"LambdaOp: 'int33' is no type. Give one such as int32"):
        LambdaOp(lambda col: col, dtype="int33")


def test_pandas_words_are_known() -> None:
    node = ["price"] >> LambdaOp(lambda col: col.fillna(0)) >> LambdaOp(lambda col: col.astype("float32"))
    assert fitted(node)[1]["price"].dtype == pl.Float32
    assert fitted(["price"] >> LambdaOp(lambda col: col.isin([4])))[1]["price"].to_list() == [False, True, None]


def test_the_function_is_not_called_on_rows_and_its_expression_is_saved(tmp_path) -> None:
    calls = []

    def twice(col: pl.Expr, df) -> pl.Expr:
        calls.append(col)
        return col * 2 + df["total"]

    workflow, frame = fitted(["price"] >> LambdaOp(twice, dtype="float32"))
    assert len(calls) == 2
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert loaded.transform(FRAME).equals(frame)
    assert loaded.fit(FRAME).transform(FRAME).equals(frame)


def test_a_python_function_inside_runs_but_is_not_saved(tmp_path) -> None:
    op = LambdaOp(lambda col: col.map_elements(lambda word: word[::-1], return_dtype=pl.String))
    workflow, frame = fitted(["word"] >> op)
    assert frame["word"].to_list() == ["bA", None, "c"]
    with pytest.raises(NotSavableError, match="calls a Python function inside an expression"):
        workflow.save(tmp_path / "w")


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda col: col - col.mean(), "the result looks at more than one row .* Learn it with an op instead"),
        (lambda col, df: col.fill_null(df["total"].max()), "the result looks at more than one row"),
        (lambda col: 5, "the function returned 5, not an expression. Return one: col \\* 2"),
        (lambda col: col.nonsense(), "the function cannot be turned into an expression .*nonsense"),
        (lambda: 1, "the function takes 0 arguments. Give one of"),
        (lambda a, b, c: a, "the function takes 3 arguments"),
        ("col * 2", "'col \\* 2' is not a function. Give one from a column to an expression"),
        (pl.col("a") * 2, "is not a function"),
    ],
)
def test_functions_that_are_no_expression_row_by_row_are_refused(f, message) -> None:
    with pytest.raises(SettingError, match=f"LambdaOp: .*{message}"):
        LambdaOp(f)


def test_a_function_that_does_not_fit_a_column_is_refused() -> None:
    with pytest.raises(SettingError, match="LambdaOp: the function does not fit the column 'word', which holds string"):
        fitted(["word"] >> LambdaOp(lambda col: col.dt.year()))
    with pytest.raises(SettingError, match="does not fit the column 'items', which holds lists of int64"):
        fitted(["items"] >> LambdaOp(lambda col: col.dt.year()))


def test_what_is_no_op_and_no_function_is_still_refused() -> None:
    with pytest.raises(SettingError, match="Workflow: 'x' is not an op"):
        (["price"] >> Rename(postfix="_x")) >> "x"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(*[st.none() | st.integers(-(2**31), 2**31)] * 2), min_size=1, max_size=8))
def test_an_expression_over_two_columns_agrees_with_python(rows) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.Int64}, orient="row")
    node = ["a"] >> LambdaOp(lambda col, df: pl.when(df["b"] > 0).then(col + df["b"]).otherwise(col))
    found = Workflow(node).fit(frame).transform(frame)["a"].to_list()
    assert found == [None if a is None else a + b if b is not None and b > 0 else a for a, b in rows]
