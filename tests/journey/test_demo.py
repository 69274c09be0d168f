"""`tamis demo`, both ways, as a new user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tamis.cli import cli

RUNNER = CliRunner()


def test_the_demo_goes_from_logs_to_items_and_says_what_next(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    result = RUNNER.invoke(cli, ["demo", "--rows", "20000", "--epochs", "2", "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("Ten items for user") == 3
    for word in ("generate", "features", "train", "index", "evaluate", "of the best possible recall_at_10", "Next:"):
        assert word in result.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["data", "manifest.json", "metrics.json", "model", "recommender", "report.html"]
    report = (output / "report.html").read_text()
    assert "Two towers on synthetic Ali-CCP" in report
    assert report.count("Ten items for user") == 3
    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 < metrics["recall_at_10"] < metrics["oracle_recall_at_10"]
    again = RUNNER.invoke(cli, ["evaluate", str(output), str(output / "data" / "test"), "--include-seen"])
    assert json.loads(again.stdout)["recall_at_10"] == pytest.approx(metrics["recall_at_10"])


def test_the_demo_replaces_its_own_folder_but_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = RUNNER.invoke(cli, ["demo", "--rows", "1000", "--epochs", "1", "--output", str(tmp_path / "mine")])
    assert result.exit_code == 1
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def write_movielens(folder: Path) -> None:
    """A few hundred ratings in the original format."""
    generator = np.random.default_rng(0)
    ratings = [
        f"{user}::{movie}::{generator.integers(1, 6)}::{1000 * place + user}"
        for user in range(1, 31)
        for place, movie in enumerate(generator.permutation(np.arange(1, 21))[:12])
    ]
    genders = ["F" if user % 2 else "M" for user in range(1, 31)]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n", encoding="latin-1")
    people = [f"{user}::{gender}::25::{user % 5}::12345" for user, gender in enumerate(genders, start=1)]
    (folder / "users.dat").write_text("\n".join(people) + "\n", encoding="latin-1")
    movies = [f"{movie}::Amélie no. {movie} (2001)::Comedy|Romance" for movie in range(1, 21)]
    (folder / "movies.dat").write_text("\n".join(movies) + "\n", encoding="latin-1")


def test_the_demo_reads_movielens_as_it_is_downloaded_and_shows_titles(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    output = tmp_path / "out"
    arguments = ["demo", "--data", str(tmp_path), "--output", str(output), "--epochs", "1"]
    result = RUNNER.invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "watched last: Amélie no." in result.stderr
    assert "Amélie no." in result.stdout.replace("│\n│", "")


@pytest.mark.real_data
def test_the_demo_runs_on_the_real_movielens(tmp_path: Path, real_data: Path) -> None:
    output = tmp_path / "out"
    arguments = ["demo", "--data", str(real_data / "movielens-1m"), "--output", str(output), "--epochs", "3"]
    result = RUNNER.invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["num_users"] == 6040
    assert metrics["recall_at_10"] > 0.05
