"""A search on a small world: what it tries, keeps, refuses, and never looks at."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from known_world import interactions, write_world
from tamis.cli import cli
from tamis.data.dataset import Dataset
from tamis.errors import SettingError
from tamis.journey import settings_search
from tamis.journey.config import TrainConfig
from tamis.journey.pipeline import train
from tamis.journey.settings_search import Tuned, tune

RUNNER = CliRunner()
SPACE = """
[tune]
trials = 4
[tune.space]
"training.learning_rate" = { low = 1e-3, high = 1e-1, log = true }
"model.layers" = { choices = [[16, 8], [8]] }
"""
RANKING = """
[sources]
retrieval = 12
[ranking]
kind = "fm"
dim = 8
epochs = 3
batch_size = 64
[tune]
stage = "ranking"
trials = 3
"""


def world(folder: Path, more: str = SPACE, *, epochs: int = 2) -> Path:
    file = write_world(folder)
    file.write_text(file.read_text().replace("epochs = 12", f"epochs = {epochs}") + more)
    return file


def search(file: Path, **settings: Any) -> tuple[Tuned, list[str]]:
    said: list[str] = []
    return tune(TrainConfig.read(file), say=said.append, verbose=False, **settings), said


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned, list[str]]:
    file = world(tmp_path_factory.mktemp("tuned"))
    return (file, *search(file))


def test_every_trial_is_told_with_the_best_so_far_and_the_time_left(done: tuple[Path, Tuned, list[str]]) -> None:
    _, tuned, said = done
    assert [line.split()[0] for line in said] == ["data", "features", "trial", "trial", "trial", "trial"]
    assert said[2].startswith("trial 1/4  val_ndcg_at_10 0.")
    assert "of trial 1), " in said[2] and " s left  model.layers [16, 8], training.learning_rate 0.02" in said[2]
    assert "left" not in said[-1]
    assert [one.state for one in tuned.outcomes] == ["complete"] * 4
    assert tuned.best is not None and tuned.best.value == max(one.value or 0 for one in tuned.outcomes)


def test_the_folder_holds_the_table_and_a_whole_configuration(done: tuple[Path, Tuned, list[str]]) -> None:
    file, tuned, _ = done
    assert tuned.folder == file.parent / "out-tune"
    names = sorted(path.name for path in tuned.folder.iterdir())
    assert names == ["best.toml", "rows", "study.json", "trials.csv", "trials.jsonl"]
    table = pl.read_csv(tuned.folder / "trials.csv")
    assert table["value"].to_list() == [one.value for one in tuned.outcomes]
    assert table["model.layers"][0] == "[16, 8]"
    best, config = TrainConfig.read(tuned.folder / "best.toml"), TrainConfig.read(file)
    assert tuned.best is not None
    wanted = replace(
        config,
        model=replace(config.model, layers=tuned.best.settings["model.layers"]),
        training=replace(config.training, learning_rate=tuned.best.settings["training.learning_rate"]),
    )
    assert (best.model, best.training, best.ranking) == (wanted.model, wanted.training, wanted.ranking)


def test_training_with_the_best_gives_the_value_that_was_found(done: tuple[Path, Tuned, list[str]]) -> None:
    _, tuned, _ = done
    trained = train(TrainConfig.read(tuned.folder / "best.toml"), say=lambda line: None, verbose=False)
    assert tuned.best is not None
    assert trained.history.last()["val_ndcg_at_10"] == pytest.approx(tuned.best.value, abs=1e-6)


def test_the_same_again_does_nothing_and_more_trials_go_on(done: tuple[Path, Tuned, list[str]], tmp_path: Path) -> None:
    file, tuned, _ = done
    before = {path.name: path.read_bytes() for path in tuned.folder.iterdir() if path.is_file()}
    again, said = search(file)
    assert again == tuned
    assert len(said) == 1 and said[0].startswith("4 of 4 trials are there already (best 0.")
    assert before == {path.name: path.read_bytes() for path in tuned.folder.iterdir() if path.is_file()}
    fresh, _ = search(world(tmp_path), trials=6)
    more, said = search(file, trials=6)
    assert [line.split("  ")[0] for line in said[1:]] == ["trial 5/6", "trial 6/6"]
    seen = [[(one.settings, one.value, one.state) for one in found.outcomes] for found in (more, fresh)]
    assert seen[0] == seen[1]  # in two parts or at once


@pytest.mark.parametrize("stage", ["retrieval", "ranking"])
def test_test_rows_are_never_read(tmp_path: Path, stage: str) -> None:
    """With other items in the rows of the test, every value stays the same to the last digit."""
    found = []
    for name in ("as they are", "others"):
        folder = tmp_path / name
        folder.mkdir()
        file = world(folder, RANKING if stage == "ranking" else SPACE)
        if name == "others":
            rows = interactions()
            first = pl.col("item").filter(pl.col("time") == 0).first().over("user")
            changed = rows.with_columns(item=pl.when(pl.col("time") == 7).then(first).otherwise("item"))
            assert (changed["item"] != rows["item"]).sum() == 60
            changed.write_parquet(folder / "interactions.parquet")
        tuned, _ = search(file, trials=3)
        found.append([(one.settings, one.value) for one in tuned.outcomes])
        kept = sum(Dataset(place).num_rows for place in (tuned.folder / "rows").iterdir() if place.is_dir())
        assert stage == "ranking" or kept == 360 + 360 + 60  # fit, train, valid
    assert found[0] == found[1] and len(found[0]) == 3


def test_the_ranking_stage_is_searched_on_rows_that_are_made_once(tmp_path: Path) -> None:
    file = world(tmp_path, RANKING)
    tuned, said = search(file, trials=2)
    assert [line.split()[0] for line in said] == ["data", "features", "candidates", "trial", "trial"]
    assert sorted(place.name for place in (tuned.folder / "rows").iterdir()) == ["judged", "learned", "manifest.json"]
    assert set(tuned.outcomes[0].settings) == {"ranking.dim", "ranking.embedding_l2", "ranking.learning_rate"}
    more, said = search(file)
    assert [line.split()[0] for line in said] == ["2", "trial"]
    assert tuned.metric == "val_gauc"
    best = TrainConfig.read(tuned.folder / "best.toml")
    assert more.best is not None and best.ranking.dim == more.best.settings["ranking.dim"]


def test_less_may_be_better(tmp_path: Path) -> None:
    tuned, _ = search(world(tmp_path, RANKING + 'metric = "val_log_loss"\n'))
    assert tuned.best is not None and tuned.best.value == min(one.value or 9 for one in tuned.outcomes)


def test_the_value_is_of_the_epoch_that_early_stopping_keeps(tmp_path: Path) -> None:
    text = '[tune]\nmetric = "val_recall_at_10"\n[tune.space]\n"training.learning_rate" = { low = 0.1, high = 0.5 }\n'
    file = world(tmp_path, text, epochs=6)
    file.write_text(file.read_text().replace("patience = -1", "patience = 5"))
    tuned, _ = search(file, trials=1)
    config = TrainConfig.read(tuned.folder / "best.toml")
    history = train(config, say=lambda line: None, verbose=False).history.history
    kept = history["val_ndcg_at_10"].index(max(history["val_ndcg_at_10"]))
    assert tuned.best is not None and tuned.best.value == pytest.approx(history["val_recall_at_10"][kept])


def test_a_loss_that_is_no_number_is_a_failed_trial_with_its_reason(tmp_path: Path) -> None:
    text = '[tune.space]\n"training.learning_rate" = { choices = [0.02, 1e30] }\n'
    tuned, said = search(world(tmp_path, text), trials=6)
    failed = [one for one in tuned.outcomes if one.state == "failed"]
    assert failed and len(failed) < 6
    assert all("the loss is nan at step" in one.reason and one.value is None for one in failed)
    assert any("failed: fit: the loss is nan" in line for line in said)
    assert tuned.best is not None and tuned.best.settings == {"training.learning_rate": 0.02}
    assert "the loss is nan" in (tuned.folder / "trials.csv").read_text()


def test_where_no_trial_has_a_value_the_last_reason_is_told(tmp_path: Path) -> None:
    file = world(tmp_path, '[tune.space]\n"training.learning_rate" = { low = 1e29, high = 1e30 }\n')
    with pytest.raises(
        SettingError, match=r"none of 2 trials has a value; the last one ended so: fit: the loss is nan"
    ):
        search(file, trials=2)


def test_when_the_time_is_up_no_trial_begins(tmp_path: Path) -> None:
    file = world(tmp_path)
    tuned, _ = search(file, timeout_s=0)
    assert (tuned.outcomes, tuned.best) == ([], None)
    result = RUNNER.invoke(cli, ["tune", str(file), "--timeout", "0"])
    assert result.exit_code == 0 and json.loads(result.stdout)["value"] is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs = 2",
            "epochs = 3",
            r"searched with training.epochs = 2, now it is 3. Change it back, or name another",
        ),
        ("low = 1e-3", "low = 1e-2", r"searched with space = "),
        ("trials = 4", "seed = 5", r"searched with tune.seed = 0, now it is 5"),
    ],
)
def test_a_study_of_something_else_is_refused(
    done: tuple[Path, Tuned, list[str]], old: str, new: str, message: str
) -> None:
    file, _, _ = done
    other = file.with_name("other.toml")
    other.write_text(file.read_text().replace(old, new))
    with pytest.raises(SettingError, match=message):
        search(other)
    assert search(other, study=file.parent / new.replace(" ", ""), trials=1, timeout_s=0)[0].outcomes == []


def test_what_has_no_part_in_trials_may_change(done: tuple[Path, Tuned, list[str]]) -> None:
    file, tuned, _ = done
    other = file.with_name("later.toml")
    other.write_text(file.read_text().replace("[data]", '[data]\nshow = ["title"]') + '[ranking]\nkind = "fm"\n')
    assert search(other, trials=1)[0].best == search(file, trials=1)[0].best
    assert TrainConfig.read(tuned.folder / "best.toml").ranking.kind == "none"  # what the latest command said


def test_changed_data_is_told(tmp_path: Path) -> None:
    file = world(tmp_path)
    search(file, timeout_s=0)
    interactions(seed=1).write_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(SettingError, match=r"the files of data.interactions changed since it began. Bring them back"):
        search(file)


def test_a_study_inside_the_output_would_be_lost(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"out.study: a training replaces .*out as a whole, and the study would go"):
        search(world(tmp_path), study=tmp_path / "out" / "study")


def test_ctrl_c_ends_with_the_best_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = world(tmp_path)
    real, calls = settings_search.train_once, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(settings_search, "train_once", interrupted)
    result = RUNNER.invoke(cli, ["tune", str(file)])
    assert result.exit_code == 130
    assert "Interrupted. The same command goes on from here." in result.stderr
    found = json.loads(result.stdout)
    assert found["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "interrupted": 1}
    assert found["value"] > 0
    again = RUNNER.invoke(cli, ["tune", str(file)])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["trials"] == {"complete": 4, "pruned": 0, "failed": 0, "interrupted": 1}
    assert "2 of 4 trials are there already" in again.stderr
    assert "Best trials" in again.stderr and f"Next: tamis train {tmp_path / 'out-tune' / 'best.toml'}" in again.stderr


def test_without_optuna_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = RUNNER.invoke(cli, ["tune", str(world(tmp_path))])
    assert result.exit_code == 1
    assert "Error: tune: needs 'optuna', which is not installed. Run: pip install 'tamis[tune]'." in result.stderr
    assert not (tmp_path / "out-tune").exists()


def test_what_a_killed_preparation_left_is_cleared_away(tmp_path: Path) -> None:
    file = world(tmp_path)
    search(file, timeout_s=0)
    study = tmp_path / "out-tune"
    (study / "rows").rename(study / ".rows.new-12345678")
    (study / ".work-abc").mkdir()
    search(file, timeout_s=0)
    names = sorted(path.name for path in study.iterdir())
    assert names == ["rows", "study.json", "trials.csv", "trials.jsonl"]
