import polars as pl

from tamis.features.ops import AddTags, Bucketize, Categorify, FillMissing, Filter, Normalize, Rename
from tamis.features.workflow import Workflow

LOG = pl.DataFrame(
    {"user_id": [7, 8, 7], "genres": [["x"], ["x", "y"], []], "price": [1.0, None, 4.0], "click": [1, 0, 1]}
)


def a_workflow() -> Workflow:
    codes = ["user_id", "genres"] >> Categorify()
    price = ["price"] >> FillMissing(2.5) >> Rename(postfix="_n")
    clicked = (codes + price + ["click"]) >> Filter(lambda df: df["click"] == 1)
    return Workflow((clicked[["user_id", "genres", "click"]]) + (clicked["price_n"] >> Normalize()))


def test_a_fitted_workflow_tells_its_passes_columns_rows_and_sizes() -> None:
    found = a_workflow().fit(LOG).explain()
    assert found.num_passes == 2
    assert str(found) == repr(found) == found.text
    assert found.text == "\n".join(
        [
            "Workflow of 4 inputs and 4 outputs: fit makes 2 passes over the data",
            "",
            "pass 1 of fit",
            "  over all rows",
            "    Categorify()  counts of user_id, genres",
            "",
            "pass 2 of fit",
            '  over the rows after Filter(f=[(col("click")) == (dyn int: 1)])',
            "    Normalize()  count, mean, variance, low, high of price_n",
            "",
            "transform",
            "  user_id  int32        user_id >> Categorify()",
            "  genres   list[int32]  genres >> Categorify()",
            "  click    int64        click",
            "  price_n  float32      price >> FillMissing(fill_val=2.5) >> Rename(postfix='_n') >> Normalize()",
            '  rows: Filter(f=[(col("click")) == (dyn int: 1)])',
            "",
            "learned",
            "  Categorify user_id: vocabulary of 2 rows (32 bytes), num_buckets 1, domain user_id",
            "  Categorify genres: vocabulary of 2 rows (18 bytes), num_buckets 1, domain genres",
            "  Normalize price_n: mean 2.5, std 1.5",
        ]
    )


def test_an_unfitted_workflow_tells_what_it_may_learn() -> None:
    found = Workflow(["user_id"] >> Categorify() >> Normalize()).explain()
    assert found.num_passes == 2
    assert found.text == "\n".join(
        [
            "Workflow, not fitted: fit will make at most 2 passes over the data",
            "",
            "pass 1 of fit",
            "  over all rows",
            "    Categorify()  ['user_id']",
            "",
            "pass 2 of fit",
            "  over all rows",
            "    Normalize()  ['user_id']",
            "",
            "transform",
            "  ['user_id'] >> Categorify() >> Normalize()",
        ]
    )


def test_the_passes_are_those_that_fit_makes(monkeypatch) -> None:
    runs = []
    collect_all = pl.collect_all

    def counted(queries, **options):
        runs.append(len(queries))
        return collect_all(queries, **options)

    monkeypatch.setattr(pl, "collect_all", counted)
    codes = ["user_id"] >> Categorify()
    graphs = [
        ["user_id"],
        ["user_id"] >> AddTags("x"),
        codes + (["price"] >> FillMissing() >> Normalize()),
        codes >> Normalize(),
        (codes >> Normalize() >> Bucketize([0]) >> Categorify()) + (["click"] >> Categorify(vocabs={"click": [0, 1]})),
    ]
    for graph in graphs:
        runs.clear()
        assert Workflow(graph).fit(LOG).explain().num_passes == len(runs)


def test_a_workflow_that_learns_nothing_looks_at_the_data_once() -> None:
    found = Workflow(["user_id"]).fit(LOG).explain().text
    assert found == "\n".join(
        [
            "Workflow of 1 input and 1 output: fit makes 1 pass over the data",
            "",
            "pass 1 of fit",
            "  over all rows",
            "    checks that there are any",
            "",
            "transform",
            "  user_id  int64  user_id",
            "  rows: all",
        ]
    )


def test_columns_that_learn_as_one_are_shown_as_one_and_the_later_of_two_is_meant() -> None:
    text = Workflow((["user_id", "click"]) + ([["user_id", "click"]] >> Categorify())).fit(LOG).explain().text
    assert "Categorify()  counts of user_id with click" in text
    assert "  click    int32  click >> Categorify()" in text


def test_a_long_setting_is_cut_and_a_notebook_gets_plain_text() -> None:
    found = (
        Workflow(["user_id"] >> Filter(pl.col("user_id").is_in(list(range(99)))) >> AddTags("<b>")).fit(LOG).explain()
    )
    assert all(len(line) < 200 for line in found.text.splitlines())
    assert "AddTags(tags=(&#x27;&lt;b&gt;&#x27;,))" in found._repr_html_()
