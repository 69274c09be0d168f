"""What may be searched is checked setting by setting before anything runs."""

from pathlib import Path

import pytest

from tamis.errors import SettingError, TamisError, UnknownNameError
from tamis.journey.config import TrainConfig
from tamis.journey.search_space import Choices, Range, search_space, start_of, with_settings

SMALLEST = '[data]\ninteractions = "a.parquet"\nuser_id = "u"\nitem_id = "i"\n'
RANKING = SMALLEST + '[ranking]\nkind = "dcn"\n[tune]\nstage = "ranking"\n'


def read(tmp_path: Path, text: str) -> TrainConfig:
    file = tmp_path / "t.toml"
    file.write_text(text)
    return TrainConfig.read(file)


def space_of(tmp_path: Path, *lines: str, base: str = SMALLEST) -> dict[str, Range | Choices]:
    return search_space(read(tmp_path, "\n".join([base + "[tune.space]", *lines])))


def test_ranges_and_choices_are_read_with_the_types_of_their_settings(tmp_path: Path) -> None:
    found = space_of(
        tmp_path,
        '"training.learning_rate" = { low = 1e-4, high = 1, log = true }',
        '"model.layers" = { choices = [[64], [128, 64]] }',
        '"model.dim" = { low = 16, high = 128, step = 16 }',
        '"training.clip_norm" = { low = 1, high = 5 }',
        '"model.l2_normalization" = { choices = [true, false] }',
    )
    assert found == {
        "model.dim": Range(16, 128, step=16),
        "model.l2_normalization": Choices((True, False)),
        "model.layers": Choices(((64,), (128, 64))),
        "training.clip_norm": Range(1.0, 5.0),
        "training.learning_rate": Range(1e-4, 1.0, log=True),
    }
    assert isinstance(found["training.learning_rate"].ends[1], float)
    assert isinstance(found["model.dim"].ends[1], int)


def test_names_may_go_without_quotes(tmp_path: Path) -> None:
    quoted = space_of(tmp_path, '"model.dim" = { low = 1, high = 2 }', '"model.dropout" = { low = 0, high = 0.5 }')
    plain = space_of(tmp_path, "model.dim = { low = 1, high = 2 }", "model.dropout = { low = 0, high = 0.5 }")
    assert quoted == plain


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (
            '"training.lerning_rate" = { low = 1, high = 2 }',
            UnknownNameError,
            r"Did you mean 'training.learning_rate'\?",
        ),
        (
            '"learning_rate" = { low = 1, high = 2 }',
            UnknownNameError,
            r"no setting 'learning_rate'. Did you mean 'train",
        ),
        (
            '"data.latest" = { low = 1, high = 2 }',
            SettingError,
            r"'data.latest' is the same for all trials of the stage",
        ),
        (
            '"training.seed" = { low = 1, high = 2 }',
            SettingError,
            r"Leave it out; .* is in \[model\] and \[training\]\.",
        ),
        ('"ranking.dim" = { low = 1, high = 2 }', SettingError, r"the same for all trials of the stage 'retrieval'"),
        ('"model.dim" = 3', SettingError, r"model.dim is 3. Make it \{ low = ..., high = ... \} or \{ choices"),
        (
            '"model.dim" = { low = 1, hihg = 2 }',
            UnknownNameError,
            r"model.dim: .* no key 'hihg'. Did you mean 'high'\?",
        ),
        ('"model.dim" = { choices = [1], low = 1 }', UnknownNameError, r"there is no key 'low'. There are 'choices'"),
        ('"model.dim" = { low = 1 }', SettingError, r"model.dim: high is missing. Give both ends"),
        ('"model.dim" = { low = 1.5, high = 2 }', SettingError, r"model.dim: low is 1.5, a float. Give a int"),
        ('"model.dim" = { low = 2, high = 2 }', SettingError, r"goes from 2 to 2. Give a low end below a high one"),
        ('"model.dim" = { low = 1, high = 9, step = 0 }', SettingError, r"step is 0. Choose it above 0"),
        ('"model.dim" = { low = 1, high = 9, step = 3 }', SettingError, r"no step of 3 from 1 meets 9. Move an end"),
        ('"model.dim" = { low = 0, high = 9, log = true }', SettingError, r"log is true, with a low end of 0. Log"),
        ('"model.dim" = { low = 1, high = 9, step = 2, log = true }', SettingError, r"log is true, with a step"),
        ('"model.layers" = { low = 1, high = 2 }', SettingError, r"model.layers is no number, so it has no range"),
        ('"model.layers" = { choices = [] }', SettingError, r"choices is \[\]. Give a list of one value or more"),
        ('"model.layers" = { choices = [[1], [1]] }', SettingError, r"a choice stands twice"),
        ('"model.layers" = { choices = [64] }', SettingError, r"a choice is 64. Give a list of int values"),
        # the ends are tried on the configuration itself
        ('"model.dropout" = { low = 0, high = 1 }', SettingError, r"model.dropout is 1.0. Choose it from 0 up to"),
        (
            '"training.learning_rate" = { low = 0, high = 1 }',
            SettingError,
            r"the learning rate is 0.0. Choose one above 0",
        ),
        ('"model.kind" = { choices = ["two-towers"] }', UnknownNameError, r"Did you mean 'two-tower'\?"),
    ],
)
def test_a_mistake_is_answered_with_its_place(tmp_path: Path, line: str, error: type[TamisError], message: str) -> None:
    with pytest.raises(error, match=message):
        space_of(tmp_path, line)


@pytest.mark.parametrize("name", ["share", "num_negatives"])
def test_what_makes_the_ranker_s_rows_is_not_searched(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=rf"'ranking.{name}' is the same for all trials of the stage 'ranking'"):
        space_of(tmp_path, f'"ranking.{name}" = {{ low = 1, high = 2 }}', base=RANKING)


def test_the_ranking_stage_needs_a_ranker(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'ranking' is to be searched, but ranking.kind is 'none'. Choose a kind"):
        search_space(read(tmp_path, SMALLEST + '[tune]\nstage = "ranking"\n'))


@pytest.mark.parametrize(
    ("base", "steps", "names"),
    [
        (SMALLEST, "training", {"model.dim", "model.dropout", "model.layers", "model.temperature"}),
        (SMALLEST + '[model]\nkind = "matrix-factorization"\n', "training", {"model.dim", "model.temperature"}),
        (RANKING, "ranking", {"ranking.dim", "ranking.dropout", "ranking.layers"}),
        (RANKING.replace("dcn", "fm"), "ranking", {"ranking.dim"}),
        (RANKING.replace("dcn", "logistic-regression"), "ranking", set()),
    ],
)
def test_without_a_space_what_the_model_has_is_searched(tmp_path: Path, base: str, steps: str, names: set[str]) -> None:
    found = search_space(read(tmp_path, base))
    assert set(found) == names | {f"{steps}.learning_rate", f"{steps}.embedding_l2"}


def test_the_start_is_the_configuration_or_the_nearest_to_it(tmp_path: Path) -> None:
    config = read(tmp_path, SMALLEST + "[model]\ndim = 50\ndropout = 0.25\nlayers = [7]\n")
    space = {
        "model.dim": Range(16, 128, step=16),
        "model.dropout": Range(0.0, 0.4, step=0.1),
        "model.layers": Choices(((64,),)),  # does not hold [7]
        "model.kind": Choices(("matrix-factorization", "two-tower")),
        "training.embedding_l2": Range(1e-8, 1e-3, log=True),
        "training.clip_norm": Range(1.0, 5.0),  # has none
    }
    start = start_of(space, config)
    assert start == {"model.dim": 48, "model.dropout": 0.2, "model.kind": "two-tower", "training.embedding_l2": 1e-8}
    assert type(start["model.dim"]) is int


def test_settings_change_nothing_but_themselves(tmp_path: Path) -> None:
    config = read(tmp_path, SMALLEST)
    changed = with_settings(config, {"model.layers": (8,), "training.epochs": 3})
    assert (changed.model.layers, changed.training.epochs) == ((8,), 3)
    assert with_settings(changed, {"model.layers": (128, 64), "training.epochs": 10}) == config
