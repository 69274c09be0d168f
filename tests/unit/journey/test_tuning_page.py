"""The example of docs/tuning.md is a configuration that can be searched."""

import re
from pathlib import Path

from tamis.journey.config import TrainConfig
from tamis.journey.search_space import Choices, Range, search_space

PAGE = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text()


def test_the_example_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "t.toml").write_text(text)
    config = TrainConfig.read(tmp_path / "t.toml")
    assert config.tune.trials == 30
    assert search_space(config) == {
        "model.dim": Range(16, 128, step=16),
        "model.layers": Choices(((64,), (128, 64))),
        "training.learning_rate": Range(1e-4, 1e-1, log=True),
        "training.schedule": Choices(("constant", "cosine")),
    }


def test_the_files_that_it_names_are_those_of_a_study() -> None:
    from tamis.journey import study_folder as names

    for name in (names.STUDY, f"{names.ROWS}/", names.TRIALS, names.TABLE, names.BEST):
        assert f"| `{name}` |" in PAGE
