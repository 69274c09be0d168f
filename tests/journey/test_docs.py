"""What the pages of docs promise is so."""

import doctest
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis import ops

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

from refresh_ops import described, refreshed  # noqa: E402 - found through the line above

FAMILIES = {"Op", "ColumnOp", "GroupOp", "RowOp", "TableOp"}
NAMES = sorted(set(ops.__all__) - FAMILIES)
PAGES = ["ops.md", "from-nvtabular.md", "tuning.md"]
LINKING = [ROOT / "README.md", *(DOCS / page for page in [*PAGES, "serving.md", "deployment.md", "triton.md"])]


def python_of(page: str) -> list[str]:
    """Its examples with `>>>`, chapter by chapter; what is no example becomes empty lines, so that line numbers fit."""
    lines, is_python = [], False
    for line in page.splitlines():
        if line.startswith("```"):
            is_python = line == "```python"
            line = ""
        lines.append(line if is_python or line.startswith("## ") else "")
    starts = [i for i, line in enumerate(lines) if line.startswith("## ")]
    chapters = []
    for start, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        chapter = [line if not line.startswith("## ") else "" for line in lines[start:end]]
        chapters.append("\n" * start + "\n".join(chapter) + "\n")
    return chapters


def run(example: str, name: str, names: dict[str, Any]) -> dict[str, Any]:
    """The names as the example leaves them."""
    test = doctest.DocTestParser().get_doctest(example, names, name, name, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)
    return test.globs


def chapters(page: str) -> list[Any]:
    found = python_of((DOCS / page).read_text())
    return [pytest.param(page, i, id=f"{page}-{i}") for i in range(1, len(found)) if ">>> " in found[i]]


@pytest.mark.parametrize(("page", "chapter"), [one for page in PAGES for one in chapters(page)])
def test_the_examples_give_what_stands_below_them(page, chapter, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "examples"}
    shared, *rest = python_of((DOCS / page).read_text())
    names = run(shared, f"the first lines of {page}", names)
    run(rest[chapter - 1], page, names)


@pytest.mark.parametrize("name", NAMES)
def test_every_op_has_its_section_with_its_docstring_and_an_example(name) -> None:
    page = (DOCS / "ops.md").read_text()
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"docs/ops.md has no section {name!r}. Add one, then run `make docs`."
    assert described(name) in section[1], f"The block of {name} is old. Run `make docs`."
    assert ">>> " in section[1] and name in section[1].rpartition("-->")[2]
    assert re.search(rf"^- .*\b{name}\b|^  .*\b{name}\b", page.partition("\n## ")[0], re.MULTILINE)


def test_the_page_of_ops_is_as_the_code_is() -> None:
    page = (DOCS / "ops.md").read_text()
    assert refreshed(page) == page, "Run `make docs`."
    assert sorted(re.findall(r"<!-- (\w+): begin -->", page)) == NAMES


@pytest.mark.parametrize("file", LINKING, ids=lambda file: file.name)
def test_links_lead_somewhere(file) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        other = file.parent / path if path else file
        assert other.exists(), f"{file.name} links to {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
