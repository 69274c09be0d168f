"""What a user types and sees."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from known_world import interactions, write_world
from tamis import __version__
from tamis.cli import cli
from tamis.data.dataset import Dataset
from tamis.schema import Tags

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    result = RUNNER.invoke(cli, ["train", str(write_world(folder))])
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)  # stdout holds the JSON and nothing else
    assert metrics["recall_at_10"] > metrics["popularity_recall_at_10"]
    for word in ("data", "features", "model", "index", "evaluate", "Next: tamis recommend"):
        assert word in result.stderr
    return folder / "out"


def test_recommendations_are_a_table_or_json(trained: Path) -> None:
    table = RUNNER.invoke(cli, ["recommend", str(trained), "--user", "u0", "--k", "3", "--show", "title"])
    assert table.exit_code == 0
    assert "Recommended items" in table.stdout
    assert "A toy for cats" in table.stdout
    asked = ["recommend", str(trained), "--user", "u0", "--user", "nobody", "--k", "2", "--json"]
    as_json = RUNNER.invoke(cli, asked)
    rows = json.loads(as_json.stdout)
    assert [(row["user"], row["rank"], row["sources"]) for row in rows] == [
        ("u0", 1, ["retrieval"]),
        ("u0", 2, ["retrieval"]),
        ("nobody", 1, ["popularity"]),
        ("nobody", 2, ["popularity"]),
    ]
    assert "Not known, so answered with the most popular items: nobody" in as_json.stderr


def test_seen_items_are_included_when_asked_for(trained: Path) -> None:
    few = RUNNER.invoke(cli, ["recommend", str(trained), "--user", "u0", "--k", "24", "--json"])
    asked = ["recommend", str(trained), "--user", "u0", "--k", "24", "--include-seen", "--json"]
    everything = RUNNER.invoke(cli, asked)
    assert (len(json.loads(few.stdout)), len(json.loads(everything.stdout))) == (17, 24)


def test_a_condition_narrows_the_list(trained: Path) -> None:
    asked = ["recommend", str(trained), "--user", "u0", "--k", "3", "--show", "title", "--json"]
    found = RUNNER.invoke(cli, [*asked, "--where", "title contains 'dogs'", "--include-seen"])
    assert [" dogs," in row["title"] for row in json.loads(found.stdout)] == [True] * 3


def test_a_condition_that_is_none_is_shown_with_the_place(trained: Path) -> None:
    result = RUNNER.invoke(cli, ["recommend", str(trained), "--user", "u0", "--where", "titel == 'x'"])
    assert result.exit_code == 1
    assert "Error: Where: the data has no column 'titel'. Did you mean 'title'?" in result.stderr


def test_all_users_go_into_a_file_and_again_only_with_the_same_settings(trained: Path, tmp_path: Path) -> None:
    asked = ["recommend", str(trained), "--all-users", "--output", str(tmp_path / "recs.parquet")]
    first = RUNNER.invoke(cli, [*asked, "--k", "3"])
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr == f"Wrote {tmp_path / 'recs.parquet'}: 180 items for 60 users.\n"
    assert pl.read_parquet(tmp_path / "recs.parquet").group_by("user").len()["len"].unique().to_list() == [3]
    other = RUNNER.invoke(cli, [*asked, "--k", "4"])
    assert other.exit_code == 1 and "a run with k=3, now k=4" in other.stderr
    again = RUNNER.invoke(cli, [*asked, "--k", "4", "--restart"])
    assert again.exit_code == 0 and "240 items for 60 users" in again.stderr


def test_some_users_may_go_into_a_folder(trained: Path, tmp_path: Path) -> None:
    asked = ["recommend", str(trained), "--user", "u0", "--user", "u1", "--output", str(tmp_path / "recs")]
    assert RUNNER.invoke(cli, asked).exit_code == 0
    assert set(pl.read_parquet(tmp_path / "recs")["user"]) == {"u0", "u1"}


def test_evaluation_is_json_at_any_k(trained: Path, tmp_path: Path) -> None:
    interactions().filter(pl.col("time") == 7).write_parquet(tmp_path / "later.parquet")
    result = RUNNER.invoke(cli, ["evaluate", str(trained), str(tmp_path / "later.parquet"), "--k", "5"])
    found = json.loads(result.stdout)
    assert found["num_users"] == 60
    assert 0.5 < found["recall_at_5"] <= 1
    assert found["hit_rate_at_5"] == found["recall_at_5"]  # one held-out item each


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    frame = pl.DataFrame({"user_id": [i % 40 for i in range(200)], "price": [i / 7 for i in range(200)]})
    frame.with_columns(shop=pl.lit("[b]")).write_csv(tmp_path / "log" / "a.csv")
    return tmp_path / "log"


def test_inspection_is_a_table_with_what_looks_wrong_and_what_comes_next(log: Path) -> None:
    result = RUNNER.invoke(cli, ["inspect", str(log)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "200 rows, 3 columns." in result.stdout
    user, price, shop = (line for line in result.stdout.splitlines() if " int64 " in line or " float64 " in line
                         or line.startswith("shop"))  # fmt: skip
    assert user.split()[-2:] == ["categorical,", "user_id"]
    assert "0 .. " in price and ", mean 14.21" in price and price.split()[-1] == "continuous"
    assert "[b] 100.0%" in shop
    assert "! shop: all rows hold '[b]', so it tells nothing. Leave the column out." in result.stdout
    assert "Next: tamis inspect --write-schema writes these tags to schema.json" in result.stderr
    assert [file.name for file in log.iterdir()] == ["a.csv"]


def test_inspection_may_be_json_of_the_first_rows(log: Path) -> None:
    result = RUNNER.invoke(cli, ["inspect", str(log / "a.csv"), "--json", "--rows", "5", "--format", "csv"])
    found = json.loads(result.stdout)
    assert found["num_rows"] == 5 and [column["num_distinct"] for column in found["columns"]] == [5, 5, 1]


def test_inspection_writes_a_schema_to_correct_and_never_over_one_unasked(log: Path) -> None:
    first = RUNNER.invoke(cli, ["inspect", str(log), "--write-schema"])
    assert f"Wrote {log / 'schema.json'}. Next: correct the tags in it" in first.stderr
    assert Dataset(log).schema.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    again = RUNNER.invoke(cli, ["inspect", str(log), "--write-schema"])
    assert again.exit_code == 1 and "there is a schema already. Correct it by hand, or ask to overwrite" in again.stderr
    assert RUNNER.invoke(cli, ["inspect", str(log), "--write-schema", "--overwrite"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "{tmp}/none.parquet"], "there is no such file or folder"),
        (["inspect", "{tmp}", "--format", "parket"], "Did you mean 'parquet'?"),
        (["train", "{tmp}/none.toml"], "none.toml: the file cannot be read"),
        (["recommend", "{tmp}", "--user", "u0"], "it is not a saved recommender"),
        (["recommend", "{trained}", "--user", "u0", "--k", "99"], "k is 99, but the catalogue has 24 items"),
        (["recommend", "{trained}", "--user", "u0", "--show", "titel"], "Did you mean 'title'?"),
        (["recommend", "{trained}", "--user", "u0", "--context", "hour"], "Give name=value"),
        (["recommend", "{trained}"], "neither --user nor --all-users"),
        (["recommend", "{trained}", "--all-users"], "needs a place for the lists"),
        (["evaluate", "{trained}", "{tmp}/none.parquet"], "there is no such file"),
        (["demo", "--data", "{tmp}", "--output", "{tmp}/out"], "it holds neither"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    trained: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    typed = [argument.format(tmp=tmp_path, trained=trained) for argument in arguments]
    result = RUNNER.invoke(cli, typed)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = RUNNER.invoke(cli, ["demo", "--rows", "1000", "--output", str(tmp_path / "file" / "demo")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = RUNNER.invoke(cli, ["--debug", "train", str(tmp_path / "none.toml")])
    assert type(result.exception).__name__ == "DataError"


def test_the_commands_say_what_they_are_without_loading_torch_or_polars() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tamis.cli import cli; "
        "r = CliRunner().invoke(cli, ['--help']); print(r.output); "
        "print(sorted({'torch', 'polars', 'faiss', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("demo", "train", "tune", "evaluate", "recommend", "inspect"):
        assert command in result.stdout
    assert result.stdout.strip().endswith("[]")


def test_the_version_is_printed() -> None:
    assert RUNNER.invoke(cli, ["--version"]).output == f"tamis {__version__}\n"


def test_the_help_of_train_names_the_tables_of_its_file() -> None:
    """In brackets they would be markup, and vanish."""
    words = RUNNER.invoke(cli, ["train", "--help"]).output.split()
    assert all(any(table in word for word in words) for table in ("data", "model", "training", "index"))


def test_the_funnel_is_tables_or_json_and_a_page(trained: Path, tmp_path: Path) -> None:
    interactions().filter(pl.col("time") == 7).write_parquet(tmp_path / "later.parquet")
    asked = ["funnel", str(trained), str(tmp_path / "later.parquet"), "--k", "5"]
    shown = RUNNER.invoke(cli, [*asked, "--html", str(tmp_path / "funnel.html")])
    assert shown.exit_code == 0, shown.output
    assert "retrieval" in shown.stdout
    assert f"Wrote {tmp_path / 'funnel.html'}" in shown.stderr
    assert "<svg" in (tmp_path / "funnel.html").read_text()
    found = json.loads(RUNNER.invoke(cli, [*asked, "--json"]).stdout)
    assert found["num_relevant"] == 60
    wrong = RUNNER.invoke(cli, [*asked, "--by", "pet"])
    assert wrong.exit_code == 1
    assert "no column 'pet'" in wrong.stderr
