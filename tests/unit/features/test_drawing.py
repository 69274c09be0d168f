import re
import xml.etree.ElementTree as ET

import polars as pl

from tamis.features.drawing import boxes, to_svg
from tamis.features.layout import layout
from tamis.features.node import as_node
from tamis.features.ops import Categorify, Filter, Rename, TagAsUserID
from tamis.features.subgraph import Subgraph
from tamis.features.workflow import Workflow

LOG = pl.DataFrame({"user_id": [1, 2], "click": [1, 0]})
ODD = 'say "hi" <b>&\\ #1\n`x` [y]'


def a_workflow() -> Workflow:
    user = Subgraph("user", ["user_id"] >> Categorify(max_size=9) >> TagAsUserID())
    return Workflow((user + "click") >> Filter(lambda df: df["click"] == 1))


def test_graphviz_draws_nodes_with_settings_columns_and_edges() -> None:
    assert a_workflow().fit(LOG).to_graphviz() == "\n".join(
        [
            "digraph workflow {",
            '  node [shape=box, style=rounded, fontname="sans-serif"];',
            r'  n3 [label="click\l"];',
            r'  n4 [label="+\l2 columns\l"];',
            r'  n5 [label="Filter(f=[(col(\"click\")) == (dyn\lint: 1)])\l→ user_id, click\l"];',
            r'  subgraph "cluster_0" { label="user\l";',
            r'    n0 [label="user_id\l"];',
            r'    n1 [label="Categorify(max_size=9)\l→ user_id\l"];',
            r'    n2 [label="TagAsUserID()\l→ user_id\l"];',
            "  }",
            "  n0 -> n1;",
            "  n1 -> n2;",
            "  n2 -> n4;",
            "  n3 -> n4;",
            "  n4 -> n5;",
            "}",
        ]
    )


def test_mermaid_draws_the_same_and_before_fit_without_columns() -> None:
    assert a_workflow().to_mermaid() == "\n".join(
        [
            "flowchart TD",
            '  n3["click"]',
            '  n4["#43;"]',
            '  n5["Filter(f=#91;(col(#34;click#34;)) == (dyn<br/>int#58; 1)#93;)"]',
            '  subgraph s0 ["user"]',
            '    n0["user_id"]',
            '    n1["Categorify(max_size=9)"]',
            '    n2["TagAsUserID()"]',
            "  end",
            "  n0 --> n1",
            "  n1 --> n2",
            "  n2 --> n4",
            "  n3 --> n4",
            "  n4 --> n5",
        ]
    )


def texts(picture: str) -> list[str]:
    root = ET.fromstring(picture)
    return [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_notebook_shows_a_picture_that_needs_nothing_else() -> None:
    shown = a_workflow().fit(LOG)._repr_html_()
    assert shown.startswith('<p>Workflow</p><div style="overflow:auto"><svg')
    picture = shown[shown.index("<svg") : shown.index("</div>")]
    assert {"Categorify(max_size=9)", "→ user_id", "user", "2 columns"} <= set(texts(picture))
    assert not re.search(r"<script|href|url\(|http(?!://www.w3.org/2000/svg)", shown)
    assert a_workflow()._repr_html_().startswith("<p>Workflow, not fitted</p>")


def test_whatever_text_a_name_holds_stays_text() -> None:
    node = Subgraph(ODD, [ODD] >> Rename(name=ODD + "!"))
    workflow = Workflow(node).fit(pl.DataFrame({ODD: [1]}))
    picture = to_svg(workflow.node, workflow._fitted)
    assert any("<b>&" in text for text in texts(picture))
    labels = re.findall(r"\[\"(.*?)\"\]", workflow.to_mermaid())
    assert len(labels) == 3
    assert not any(sign in label.replace("<br/>", "") for label in labels for sign in ('"', "&", "`", "[", "<b"))
    dot = workflow.to_graphviz()
    assert '\\"hi\\"' in dot
    for quoted in re.findall(r'label=("(?:[^"\\]|\\.)*")', dot):  # every string ends where it should
        dot = dot.replace(quoted, "")
    assert '"' not in dot.replace('"sans-serif"', "").replace('"cluster_0"', "")


def test_a_plus_of_pluses_is_one_box_and_a_shared_one_stays() -> None:
    flat = boxes((as_node(["a"]) + "b") + "c", None)
    assert [box.title for box in flat] == [("a",), ("b",), ("c",), ("+",)]
    assert flat[3].before == (0, 1, 2)
    shared = as_node(["a"]) + "b"
    both = boxes((shared >> TagAsUserID()) + shared, None)
    assert [box.title for box in both] == [("a",), ("b",), ("+",), ("TagAsUserID()",), ("+",)]
    assert both[4].before == (3, 2)


def test_subgraphs_nest_and_what_two_share_is_in_neither() -> None:
    raw = as_node(["a", "b"])
    inner = Subgraph("inner", raw["a"] >> TagAsUserID())
    outer, other = Subgraph("outer", inner + "c"), Subgraph("other", raw["b"])
    found = {box.title: box.within for box in boxes(outer + other, None)}
    assert found[("a, b",)] == ()
    assert found[("TagAsUserID()",)] == ("outer", "inner")
    assert found[("c",)] == ("outer",)
    assert found[("[b]",)] == ("other",)
    lines = Workflow(outer + other).to_graphviz().splitlines()
    assert [line.strip() for line in lines].count("}") == 4
    assert lines.index('  subgraph "cluster_0" { label="outer\\l";') < lines.index(
        '    subgraph "cluster_1" { label="inner\\l";'
    )


def test_a_long_text_is_cut() -> None:
    (box,) = boxes(as_node([f"column_{i:03}" for i in range(100)]), None)
    assert len(box.title) == 5
    assert box.title[-1].endswith(" ...")


def test_boxes_never_overlap_and_arrows_go_down_around_the_boxes_between() -> None:
    #     0   1
    #     |\ /
    #     | 2     and 0 -> 4 passes the levels of 2 and 3
    #     | 3
    #     4
    sizes = [(40.0, 10.0), (60.0, 10.0), (200.0, 30.0), (200.0, 10.0), (50.0, 10.0)]
    placed = layout(sizes, [(), (), (0, 1), (2,), (0, 3)])
    rects = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(placed.corners, sizes, strict=True)]
    for i, one in enumerate(rects):
        assert one[0] >= 0 and one[1] >= 0 and one[2] <= placed.width + 1e-9 and one[3] <= placed.height + 1e-9
        for two in rects[i + 1 :]:
            assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
    assert [y for _, y in placed.corners] == [0, 0, 48, 116, 164]
    passing = placed.arrows[3]
    assert [round(y) for _, y in passing] == [10, 48, 78, 116, 126, 164]
    assert all(not rects[2][0] <= x <= rects[2][2] for x, _ in passing[1:3])
    short_beside_tall = layout([(40.0, 10.0), (90.0, 60.0), (40.0, 10.0)], [(), (), (0, 1)])
    assert [y for _, y in short_beside_tall.arrows[0]] == [10, 60, 98]  # straight down to the end of the level first
    assert layout([], []).width == 0
