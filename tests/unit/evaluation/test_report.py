"""The HTML report: complete, escaped, the same each time, well-formed."""

import math
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from tamis.evaluation.charts import _ticks, bar_chart, figure, line_chart, reliability_chart
from tamis.evaluation.report import write_report

CONTENT = {
    "history": {"loss": [2.0, 1.5], "val_loss": [2.5, 1.75], "val_recall_at_10": [0.1, 0.25], "epoch": [1, 2]},
    "bars": {"recall_at_10": {"two-tower": 0.25, "popularity": 0.125}, "ndcg_at_10": {"oracle": 0.5}},
    "facts": [("rows", 300_000), ("speed", 118_100.4), ("nothing", None)],
    "tables": {"User 7": [{"rank": 1, "title": "Heat", "genres": ["Crime", "Drama"], "score": 0.75}]},
}


class Balance(HTMLParser):
    """Every opened element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def page(tmp_path, **content) -> str:
    return write_report(tmp_path / "out" / "report.html", "A run", **content).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_else(tmp_path) -> None:
    text = page(tmp_path, **CONTENT)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert {"svg", "table", "dl"} <= parser.seen
    assert not {"script", "link", "img", "iframe"} & parser.seen
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text


def test_every_value_can_be_read(tmp_path) -> None:
    text = page(tmp_path, **CONTENT)
    for shown in (
        ">0.2500</text>",
        ">0.1250</text>",
        "<dd>300000</dd>",
        "<dd>118,100</dd>",
        "<td>Crime, Drama</td>",
        '<td class="number">0.7500</td>',
        "<title>validation, epoch 2: 1.7500</title>",
        'aria-label="recall_at_10: two-tower 0.2500, popularity 0.1250"',
        'aria-label="loss over 2 epochs: training from 2 to 1.5000; validation from 2.5000 to 1.7500"',
    ):
        assert shown in text
    assert "epoch over" not in text


def test_the_same_content_gives_the_same_bytes(tmp_path) -> None:
    assert page(tmp_path, **CONTENT) == page(tmp_path, **CONTENT)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.html"]


def test_foreign_text_cannot_become_markup(tmp_path) -> None:
    evil = '<script>"&'
    text = write_report(
        tmp_path / "report.html",
        evil,
        history={evil: [1.0]},
        bars={evil: {evil: 1.0}},
        facts=[(evil, evil)],
        tables={evil: [{evil: evil}]},
    ).read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;&quot;&amp;") >= 10


def test_sections_without_content_are_left_out(tmp_path) -> None:
    text = page(tmp_path, history={"loss": [math.nan]}, bars={"recall": {}}, tables={"Users": []})
    assert "<section>" not in text
    assert "<h1>A run</h1>" in text


def test_a_table_may_be_a_frame(tmp_path) -> None:
    assert "<td>Heat</td>" in page(tmp_path, tables={"Movies": pl.DataFrame({"title": ["Heat"]})})


def test_a_value_that_is_not_finite_leaves_a_gap_in_the_line() -> None:
    chart = line_chart("loss", {"training": [1.0, math.nan, 3.0]}, {"training": 0})
    assert chart.count("<circle") == 2
    assert "nan" not in re.sub(r"<title>.*?</title>|aria-label=\"[^\"]*\"", "", chart)


def test_a_bar_is_as_long_as_its_share_of_the_largest() -> None:
    chart = bar_chart("recall", {"a": 1.0, "b": 0.25, "c": math.nan}, {"a": 0, "b": 1, "c": 2})
    assert re.findall(r'<rect.*? width="([\d.]+)"', chart) == ["270.0", "67.5", "1.0"]


def test_reliability_is_drawn_beside_its_diagonal(tmp_path) -> None:
    """Both axes go from 0 to 1, over a width of 380 and a height of 192."""
    chart = reliability_chart("<click>", [(0.25, 0.5, 1000), (1.0, 1.0, 10)], 0)
    assert re.findall(r'<circle.*? cx="([\d.]+)" cy="([\d.]+)"', chart) == [("161.0", "110.0"), ("446.0", "14.0")]
    assert '<line class="grid" x1="66.0" y1="206.0" x2="446.0" y2="14.0"/>' in chart
    assert "<title>0.5000 of 1,000 rows with mean score 0.2500</title>" in chart
    assert "Reliability of &lt;click&gt;: 2 bins, the farthest off with mean score 0.2500 and 0.5000 positives" in chart
    table = pl.DataFrame({"score": [0.25], "rate": [0.5], "rows": [1000], "low": [0.0], "high": [0.3]})
    text = page(tmp_path, reliability={"click, raw": table, "click, platt": table, "none": table.clear()})
    assert text.count("<circle") == 2
    assert "<h2>Reliability</h2>" in text
    assert "none" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.08, 0.158, [0.08, 0.1, 0.12, 0.14, 0.16]),
        (6.6, 7.9, [6.5, 7.0, 7.5, 8.0]),
        (3.0, 3.0, [1, 2, 3, 4, 5]),
        (0.0, 0.0, [-0.5, -0.25, 0, 0.25, 0.5]),
    ],
)
def test_axes_have_round_numbers_that_enclose_the_values(low, high, ticks) -> None:
    found = _ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert found == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.158, "0.1580"), (7.34, "7.3400"), (34.5, "34.50"), (1234.5, "1,234"), (0, "0"), (3e-5, "3e-05"), (2.0, "2")],
)
def test_numbers_are_written_for_people(value, text) -> None:
    assert figure(value) == text
