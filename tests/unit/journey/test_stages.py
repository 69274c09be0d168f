"""What a configuration says about training reaches the models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from known_world import write_world
from tamis import Dataset
from tamis.errors import DataError, SettingError
from tamis.journey import stages
from tamis.journey.config import TrainConfig
from tamis.journey.stages import build_model, build_ranker, build_sources, fit, fit_ranker
from tamis.journey.tuning_rows import rows_to_tune_on
from tamis.recommender.sources.item_item import ItemItem

STEPS = """
optimizer = "{optimizer}"
weight_decay = {decay}
schedule = "{schedule}"
warm_up_steps = {warm_up}
clip_norm = 2
embedding_l2 = 1e-5
normalization = "batch"
"""
RANKING = '[sources]\nretrieval = 12\n[ranking]\nkind = "mlp"\nlayers = [8]\nepochs = 3\n'


def plan_of(folder: Path, stage: str, **settings: Any) -> dict[str, Any]:
    file = write_world(folder)
    text = file.read_text().replace("epochs = 12\n", "epochs = 3\n").replace("learning_rate = 0.02\n", "")
    steps = STEPS.format(**{"optimizer": "adam", "decay": 0.0, "schedule": "constant", "warm_up": 0, **settings})
    steps += "learning_rate = 0.25\n"
    if stage == "ranking":
        text += RANKING + steps + '[tune]\nstage = "ranking"\n'
    else:
        text = text.replace("[training]", 'normalization = "batch"\n[training]')
        text += steps.replace('normalization = "batch"\n', "")
    file.write_text(text)
    config = TrainConfig.read(file)
    rows = rows_to_tune_on(config, folder / "rows", say=lambda line: None, verbose=False)
    if stage == "ranking":
        ranker = build_ranker(rows["learned"].schema, config.ranking, seed=0)
        fit_ranker(ranker, config, rows["learned"], rows["judged"], verbose=False)
        assert "BatchNorm" in repr(ranker.network)
        return ranker.compiled()
    model = build_model(rows["train"].schema, config.model, seed=0)
    fit(model, config.training, rows, verbose=False)
    assert "BatchNorm" in repr(model.network)
    return model.compiled()


def test_the_item_item_source_follows_its_settings_and_quotas_stop_at_the_catalogue(tmp_path: Path) -> None:
    file = write_world(tmp_path)
    file.write_text(file.read_text() + "[sources]\nretrieval = 12\nitem_item = 9999\nhalf_life = 3\nl2 = 50\n")
    config = TrainConfig.read(file)
    rows = rows_to_tune_on(config, tmp_path / "rows", say=lambda line: None, verbose=False)
    model = build_model(rows["train"].schema, config.model, seed=0)
    fit(model, replace(config.training, epochs=1), rows, verbose=False)
    first, item_item = build_sources(model, config)
    assert first.quota == 12
    assert isinstance(item_item, ItemItem)
    assert (item_item.half_life, item_item.l2) == (3.0, 50.0)
    assert item_item.quota == len(model.fitted_items())


@pytest.mark.parametrize("name", ["half_life", "l2"])
def test_settings_of_the_item_item_source_are_above_0(tmp_path: Path, name: str) -> None:
    file = write_world(tmp_path)
    file.write_text(f"{file.read_text()}[sources]\n{name} = 0\n")
    with pytest.raises(SettingError, match=rf"sources.{name} is 0.0. Choose a number above 0"):
        TrainConfig.read(file)


def test_a_first_stage_that_finds_nothing_for_the_ranker_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_world(tmp_path)
    file.write_text(file.read_text().replace("epochs = 12\n", "epochs = 1\n") + RANKING + '[tune]\nstage = "ranking"\n')
    nothing = lambda rows, first: Dataset(rows.compute().head(0), schema=rows.schema)  # noqa: E731
    monkeypatch.setattr(stages, "found_positives", nothing)
    expected = r"interactions.parquet: the first stage finds none of the \d+ rows .*Raise the quotas of \[sources\]"
    with pytest.raises(DataError, match=expected):
        rows_to_tune_on(TrainConfig.read(file), tmp_path / "rows", say=lambda line: None, verbose=False)


@pytest.mark.parametrize("stage", ["retrieval", "ranking"])
def test_every_setting_of_the_steps_is_followed(tmp_path: Path, stage: str) -> None:
    plan = plan_of(tmp_path, stage, decay=0.125, schedule="cosine", warm_up=2)
    assert plan["optimizer"]["name"] == "adam"
    assert (plan["optimizer"]["learning_rate"], plan["optimizer"]["weight_decay"]) == (0.25, 0.125)
    assert (plan["schedule"]["name"], plan["schedule"]["warm_up_steps"]) == ("cosine", 2)
    assert (plan["clip_norm"], plan["embedding_l2"]) == (2.0, 1e-5)


def test_ftrl_has_no_weight_decay_and_a_constant_rate_no_schedule(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "retrieval", optimizer="ftrl")
    assert (plan["optimizer"]["name"], plan["optimizer"]["learning_rate"], plan["schedule"]) == ("ftrl", 0.25, None)


def test_a_warm_up_alone_is_a_schedule(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "retrieval", warm_up=3)
    assert plan["schedule"] == {"name": "constant", "warm_up_steps": 3}
