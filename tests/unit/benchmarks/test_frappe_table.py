"""Frappe's table: a line per model, a column per library that was measured. And the search treats all sides alike."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import frappe_search  # noqa: E402 - found through the line above
import tables  # noqa: E402


def row(library: str, model: str, each: list[float], mean: float) -> dict[str, Any]:
    return {
        "benchmark": "frappe", "library": library, "model": model, "test_auc": mean, "test_auc_each": each, "tries": 12,
    }  # fmt: skip


ROWS = [
    row("tamis", "LR", [0.93, 0.9312, 0.9301], 0.93043),
    row("tamis", "FinalMLP", [0.95, 0.95, 0.95], 0.95),
    row("deepctr-torch", "LR", [0.929, 0.93, 0.931], 0.93),
]


def test_each_model_has_a_line_and_each_measured_library_a_column() -> None:
    lines = tables.frappe_table(ROWS).splitlines()
    assert lines == [
        "| Frappe | Tamis, test AUC (settings tried) | deepctr-torch, test AUC (settings tried) |",
        "| --- | --- | --- |",
        "| LR | 0.9304 (0.9300 to 0.9312; 12) | 0.9300 (0.9290 to 0.9310; 12) |",
        "| FinalMLP | 0.9500 (0.9500 to 0.9500; 12) |  |",
    ]


def test_no_frappe_rows_make_no_table() -> None:
    assert tables.frappe_table([{"benchmark": "generate"}]) == ""


SPACE = """
[models]
LR = ["training"]
FM = ["training", "fields"]
[common.training]
rate = [1, 2, 3, 4, 5, 6]
size = [7, 8, 9]
[common.fields]
width = [10, 20]
[mine.training]
size = [70, 80, 90]
"""


def test_a_library_replaces_lists_of_the_common_space(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(SPACE)
    assert frappe_search.spaces("mine", file)["LR"] == {"rate": [1, 2, 3, 4, 5, 6], "size": [70, 80, 90]}
    assert frappe_search.spaces("other", file)["FM"] == {
        "rate": [1, 2, 3, 4, 5, 6], "size": [7, 8, 9], "width": [10, 20],
    }  # fmt: skip


def judged(settings: dict[str, Any]) -> dict[str, Any]:
    return {"valid_auc": settings["rate"] / 10 + settings["size"] / 100}


def test_each_side_has_the_same_number_of_different_tries() -> None:
    tried: list[dict[str, Any]] = []
    frappe_search.search({"rate": [1, 2, 3, 4, 5, 6], "size": [7, 8, 9]}, judged, tried, "LR")
    assert len({json.dumps(one["settings"]) for one in tried}) == frappe_search.TRIES["LR"] == len(tried)
    assert frappe_search.best(tried)["valid_auc"] == max(one["valid_auc"] for one in tried)


def test_the_last_tries_are_what_was_chosen_for_other_models() -> None:
    tried: list[dict[str, Any]] = []
    space = {"rate": [1, 2, 3, 4, 5, 6], "size": [7, 8, 9]}
    frappe_search.search(space, judged, tried, "LR", [{"rate": 9, "depth": 3}, {"size": 1}])
    best = max(tried[:10], key=lambda one: one["valid_auc"])["settings"]
    assert tried[10]["settings"] == {"rate": 9, "size": best["size"]}
    assert tried[11]["settings"] == {"rate": 9, "size": 1}
    assert len(tried) == frappe_search.TRIES["LR"]


def test_a_stopped_search_goes_on_as_if_it_had_not_been() -> None:
    whole: list[dict[str, Any]] = []
    space = {"rate": [1, 2, 3, 4, 5, 6], "size": [7, 8, 9]}
    frappe_search.search(space, judged, whole, "FM")
    part = whole[:8]
    frappe_search.search(space, judged, part, "FM")
    assert part == whole


@pytest.mark.parametrize("library", ["tamis", "torch-rechub", "deepctr-torch"])
def test_the_kept_tries_are_from_the_space_and_the_chosen_is_the_best_of_them(library: str) -> None:
    chosen = json.loads((ROOT / "benchmarks" / "frappe" / f"{library}.json").read_text())
    for model, settings in chosen.items():
        tried = frappe_search.read_tried(library, model)
        space = frappe_search.spaces(library)[model]
        assert len(tried) == frappe_search.TRIES[model]
        others = [chosen[other] for other in frappe_search.CARRIED.get(model, ())]
        for name, values in space.items():
            allowed = [*values, *(one[name] for one in others if name in one)]
            assert all(one["settings"][name] in allowed for one in tried)
        assert settings == frappe_search.best(tried)["settings"]
