"""A configuration that is written reads as the same configuration."""

from dataclasses import replace
from pathlib import Path

import pytest

from tamis.journey.config import TrainConfig
from tamis.journey.toml_text import to_toml
from tamis.journey.tune_config import TuneConfig

TEXT = """
output = "models/one"
[data]
interactions = "logs/*.parquet"
items = "s3://bucket/items.parquet"
user_id = "Nutzer \\"ü\\" \\\\ \\u007f"
item_id = "item"
positive_column = "stars"
positive_min = 4
show = ["title", "year"]
item_features = ["tags"]
[model]
layers = [16]
l2_normalization = false
[training]
learning_rate = 1e-05
clip_norm = 2.5
[tune]
trials = 3
space."model.dim" = { low = 1, high = 2 }
"""


@pytest.mark.parametrize("place", [".", "study", "a/b"])
def test_it_reads_as_it_was_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.toml").write_text(TEXT)
    config = TrainConfig.read("t.toml")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    text = to_toml(config, Path(place))
    (tmp_path / place / "best.toml").write_text(text)
    again = TrainConfig.read(Path(place) / "best.toml")
    assert again.tune == TuneConfig()
    assert Path(again.output).resolve() == tmp_path / "models" / "one"
    assert Path(again.data.interactions).resolve() == tmp_path / "logs" / "*.parquet"
    same = replace(again, output=config.output, tune=config.tune)
    assert replace(same, data=replace(same.data, interactions=config.data.interactions)) == config
    assert str(tmp_path) not in text
