"""What README and examples promise runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from small_movielens import write_movielens
from tamis.journey.config import TrainConfig

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

from make_notebook import SCRIPTS, notebook_of  # noqa: E402 - found through the line above


def run(code: str, folder: Path, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_seed_notebook_runs_as_a_script(tmp_path: Path) -> None:
    run((EXAMPLES / "two_stage.py").read_text(), tmp_path, NUM_ROWS="20000", EPOCHS="1", DATA_FOLDER="data")
    written = {path.name for path in (tmp_path / "data").iterdir()}
    files = {"user_features.parquet", "item_features.parquet", "item_embeddings.parquet"}
    assert written == {"raw", "processed", "query_tower", *files}
    assert {path.name for path in (tmp_path / "data" / "processed").iterdir()} == {"train", "valid", "workflow"}


def test_the_notebook_of_feature_engineering_runs_as_a_script(tmp_path: Path) -> None:
    script = (EXAMPLES / "feature_engineering.py").read_text()
    run(script, tmp_path, NUM_ROWS="4000", EPOCHS="1", DATA_FOLDER="data")
    written = {path.name for path in (tmp_path / "data").iterdir()}
    assert written == {"log.parquet", "items.parquet", "features", "workflow"}


def test_the_notebook_of_both_stages_runs_as_a_script_on_both_data_sets(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    script = (EXAMPLES / "two_stage_full.py").read_text()
    out = run(script, tmp_path, NUM_ROWS="8000", EPOCHS="1", DATA_FOLDER="data", MOVIELENS_FOLDER=".")
    assert out.count("What each stage keeps") == 2
    written = {path.name for path in (tmp_path / "data").iterdir()}
    assert written == {"raw", "coded", "recommender", "ranking_rows", "movies", "funnel.html"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_notebook_is_the_script(script) -> None:
    expected = notebook_of(script.read_text())
    found = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert [(c.cell_type, c.source) for c in found.cells] == [(c.cell_type, c.source) for c in expected.cells]
    nbformat.validate(found)


BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    out = run(block.replace("100_000", "20_000"), tmp_path)
    assert "History of 3 epochs" in out
    assert "retrieval" in out
    assert (tmp_path / "recommender" / "manifest.json").is_file()


def test_the_example_configuration_is_one() -> None:
    config = TrainConfig.read(EXAMPLES / "movielens.toml")
    assert config.data.item_id == "movie_id"
    assert config.data.latest == 10
