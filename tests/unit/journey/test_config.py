"""A TOML file is read key by key, and every mistake is answered with its place."""

from pathlib import Path

import pytest

from known_world import TOML
from tamis.errors import DataError, SettingError, UnknownNameError
from tamis.journey.config import TrainConfig

SMALLEST = '[data]\ninteractions = "a.parquet"\nuser_id = "u"\nitem_id = "i"\n'


def read(tmp_path: Path, text: str) -> TrainConfig:
    file = tmp_path / "t.toml"
    file.write_text(text)
    return TrainConfig.read(file)


def test_three_keys_are_enough_and_paths_begin_at_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, SMALLEST)
    assert config.data.interactions == str(tmp_path / "a.parquet")
    assert config.output == str(tmp_path / "recommender")
    assert config.data.users == ""
    assert config.training.batch_size == 4096
    assert config.model.kind == "two-tower"


def test_every_section_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, TOML + '[index]\nkind = "flat"\ntarget_recall = 1\n')
    assert config.model.layers == (16, 8)
    assert config.data.item_features == ("tags",)
    assert config.training.learning_rate == 0.02
    assert (config.index.kind, config.index.target_recall) == ("flat", 1.0)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (SMALLEST + "orderr = 'x'\n", UnknownNameError, r"\[data\]: there is no key 'orderr'. Did you mean 'order'\?"),
        ("[dta]\n" + SMALLEST, UnknownNameError, r"there is no key 'dta'. Did you mean 'data'\?"),
        (SMALLEST + "latest = 'x'\n", SettingError, r"\[data\]: latest is 'x', a str. Give a int"),
        (SMALLEST + "show = 'x'\n", SettingError, r"show is 'x'. Give a list of str values"),
        (SMALLEST + "[model]\nlayers = [1.5]\n", SettingError, r"\[model\]: layers is \[1.5\]. Give a list of int"),
        (SMALLEST + "[training]\nepochs = true\n", SettingError, r"epochs is True, a bool"),
        ("data = 3\n", SettingError, r"data is 3. Make it a table: \[data\]"),
        ("output = 'x'\n", SettingError, "data is missing"),
        ("[data]\nuser_id = 'u'\nitem_id = 'i'\n", SettingError, "interactions is missing"),
        (SMALLEST + "split = 'tme'\n", UnknownNameError, r"no choice 'tme'. Did you mean 'time'\?"),
        (SMALLEST + "split = 'time'\n", SettingError, "'time' needs a column to order by. Set data.order"),
        (SMALLEST + "[model]\nkind = 'two-towers'\n", UnknownNameError, r"Did you mean 'two-tower'\?"),
        ("[data\n", DataError, "this is not TOML"),
        (SMALLEST + "latest = -1\n", SettingError, r"data.latest is -1. Choose 0 or more"),
        (SMALLEST + "positive_min = 4\n", SettingError, r"data.positive_min: it is 4.0, but of no column"),
        (SMALLEST + "show = ['title']\n", SettingError, r"'title' is shown from a table of items. Set data.items"),
        (SMALLEST + "user_features = ['u']\n", SettingError, r"data.user_features: 'u' is data.user_id already"),
        (SMALLEST + "positive_column = 'x'\nitem_features = ['x']\n", SettingError, "'x' is data.positive_column"),
        (SMALLEST + "[training]\nepochs = 0\n", SettingError, r"training.epochs is 0. Choose 1 or more"),
        (SMALLEST + "[training]\noptimizer = 'adm'\n", UnknownNameError, r"Did you mean 'adam'\?"),
        (SMALLEST + "[training]\nlearning_rate = 0\n", SettingError, r"learning rate is 0.0. Choose one above 0"),
        (SMALLEST + "[training]\nwarm_up_steps = -1\n", SettingError, r"training.warm_up_steps is -1. Choose 0"),
        (
            SMALLEST + "[training]\nschedule = 'cosin'\n",
            UnknownNameError,
            r"training.schedule: .* Did you mean 'cosine'",
        ),
        (SMALLEST + "[ranking]\noptimizer = 'ftl'\n", UnknownNameError, r"ranking.optimizer: .* Did you mean 'ftrl'"),
        (
            SMALLEST + "[ranking]\nclip_norm = 0\n",
            SettingError,
            r"ranking.clip_norm is 0.0. Choose a number above 0, or",
        ),
        (SMALLEST + "[ranking]\nembedding_l2 = -1\n", SettingError, r"ranking.embedding_l2 is -1.0. Choose 0 or more"),
        (SMALLEST + "[ranking]\ndropout = 1\n", SettingError, r"ranking.dropout is 1.0. Choose it from 0 up to, not"),
        (SMALLEST + "[model]\nnormalization = 'bach'\n", UnknownNameError, r"model.normalization: .* mean 'batch'"),
        (
            SMALLEST + "[training]\noptimizer = 'ftrl'\nweight_decay = 0.1\n",
            SettingError,
            r"training.weight_decay is 0.1, but FTRL has none. Choose another optimizer, or leave it out",
        ),
        (SMALLEST + "[tune]\nstage = 'rank'\n", UnknownNameError, r"tune.stage: .* Did you mean 'ranking'\?"),
        (SMALLEST + "[tune]\nmetric = 'val_gauc'\n", UnknownNameError, r"tune.metric: there is no choice 'val_gauc'"),
        (SMALLEST + "[tune]\ntrials = 0\n", SettingError, r"tune.trials is 0. Choose 1 or more"),
        (SMALLEST + "[tune]\nspace = 3\n", SettingError, r"\[tune\]: space is 3. Make it a table"),
        (SMALLEST + "[index]\nkind = 'hnws'\n", UnknownNameError, r"index.kind: .* Did you mean 'hnsw'\?"),
        (SMALLEST + "[index]\ntarget_recall = 3\n", SettingError, r"index.target_recall: it is 3.0"),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_the_way_out(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(tmp_path, text)


def test_a_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_bytes(b"output = '\xe9'")
    with pytest.raises(DataError, match=r"t.toml: this is not TOML \('utf-8' codec can't decode"):
        TrainConfig.read(tmp_path / "t.toml")


def test_urls_stay_as_they_are(tmp_path: Path) -> None:
    config = read(tmp_path, SMALLEST.replace("a.parquet", "s3://bucket/a.parquet"))
    assert config.data.interactions == "s3://bucket/a.parquet"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.toml: the file cannot be read \(No such file"):
        TrainConfig.read(tmp_path / "none.toml")


@pytest.mark.parametrize("output", ["data", ".", "../here/data"])
def test_the_output_never_replaces_what_is_trained_on(tmp_path: Path, output: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(SettingError, match=r"output: .* will be replaced as a whole, and data.users is in it"):
        text = SMALLEST.replace('"a.parquet"', '"../a.parquet"') + "users = 'data/users.parquet'\n"
        read(folder, f"output = '{output}'\n{text}")


def test_an_output_beside_the_data_is_fine(tmp_path: Path) -> None:
    text = SMALLEST.replace("a.parquet", "data/a.parquet")
    assert read(tmp_path, f"output = 'data/out'\n{text}").output == str(tmp_path / "data" / "out")


def test_a_seed_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"training.seed is 99999999999999999999. Choose one below 2\*\*63"):
        read(tmp_path, SMALLEST + "[training]\nseed = 99999999999999999999\n")
