"""`tamis demo`, both ways, as a new user types it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from small_movielens import write_movielens
from tamis.cli import cli

RUNNER = CliRunner()


def test_the_demo_goes_from_logs_through_both_stages_to_items_and_says_what_next(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    result = RUNNER.invoke(cli, ["demo", "--rows", "20000", "--epochs", "2", "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("Ten items for user") == 3
    stages = ("generate", "features", "retrieval", "ranker", "mix", "index", "funnel")
    words = ("first stage alone", "the second stage adds", "of the best possible ndcg_at_10", "Next:")
    for word in (*stages, *words, f"tamis funnel {output}", f"tamis serve {output}"):
        assert word in result.stderr
    files = ["funnel.html", "funnel.json", "manifest.json", "metrics.json", "report.html"]
    assert sorted(path.name for path in output.iterdir()) == sorted([*files, "data", "model", "ranker", "recommender"])
    report = (output / "report.html").read_text()
    for text in ("Two stages on synthetic Ali-CCP", "From what users took to what they were shown", "Orders tried"):
        assert text in report
    assert report.count("Ten items for user") == 3
    metrics = json.loads((output / "metrics.json").read_text())
    for name in ("recall_at_10", "ndcg_at_10"):
        assert metrics[f"popularity_{name}"] > 0
        assert 0 < metrics[f"retrieval_{name}"] < metrics[f"oracle_{name}"]
        assert 0 < metrics[name] < metrics[f"oracle_{name}"]
    again = RUNNER.invoke(cli, ["evaluate", str(output), str(output / "data" / "test"), "--include-seen"])
    assert json.loads(again.stdout)["recall_at_10"] == pytest.approx(metrics["recall_at_10"])


def test_the_demo_replaces_its_own_folder_but_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = RUNNER.invoke(cli, ["demo", "--rows", "1000", "--epochs", "1", "--output", str(tmp_path / "mine")])
    assert result.exit_code == 1
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_demo_reads_movielens_as_it_is_downloaded_and_shows_titles(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    output = tmp_path / "out"
    arguments = ["demo", "--data", str(tmp_path), "--output", str(output), "--epochs", "1"]
    result = RUNNER.invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "watched last: Amélie no." in result.stderr
    assert "the second stage adds" in result.stderr
    assert (output / "funnel.html").is_file()
    assert "Amélie" in result.stdout


@pytest.mark.real_data
def test_the_demo_runs_on_the_real_movielens(tmp_path: Path, real_data: Path) -> None:
    output = tmp_path / "out"
    arguments = ["demo", "--data", str(real_data / "movielens-1m"), "--output", str(output), "--epochs", "3"]
    result = RUNNER.invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["num_users"] == 6040
    assert metrics["recall_at_10"] > 0.15  # item-item weights alone reach 0.2
