"""Write each notebook from the cells of its script: one source, so that the two never differ."""

import re
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
SCRIPTS = sorted(path for path in HERE.glob("*.py") if path.name != Path(__file__).name)


def notebook_of(script: str) -> nbformat.NotebookNode:
    """The notebook of a script whose cells begin with `# %%`, or `# %% [markdown]` for text."""
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, block in enumerate(re.split(r"^# %%", script, flags=re.MULTILINE)[1:]):
        head, _, body = block.partition("\n")
        if head.strip() == "[markdown]":
            text = re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)
            cell = nbformat.v4.new_markdown_cell(text)
        else:
            cell = nbformat.v4.new_code_cell(body.strip())
        cell["id"] = f"cell-{number}"  # ids by place, so that the file changes only where the script does
        book.cells.append(cell)
    return book


if __name__ == "__main__":
    for script in SCRIPTS:
        nbformat.write(notebook_of(script.read_text()), script.with_suffix(".ipynb"))
