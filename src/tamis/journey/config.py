"""What `tamis train` reads: a small TOML file, each key checked."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from tamis.errors import DataError, SettingError
from tamis.index.build import KINDS
from tamis.journey.config_checks import check_choice, check_layers, check_least, check_steps
from tamis.journey.config_tables import read_table
from tamis.journey.tune_config import TuneConfig


@dataclass(frozen=True)
class DataConfig:
    """`[data]`: where the rows are and what their columns mean.

    Args:
        interactions: parquet of user-item rows: a path, glob or folder. Relative paths begin at the TOML file.
        user_id: the user column.
        item_id: the item column.
        users: parquet with one row per user, joined by `user_id`.
        items: parquet with one row per item, joined by `item_id`.
        user_features: columns that describe the user: numbers with a fraction are normalised, all else is encoded.
        item_features: columns that describe the item; lists are encoded value by value.
        positive_column: a number; rows count only where it is at least `positive_min`.
        positive_min: see above; 1 by default.
        order: a column that grows with time; by default rows are in order already.
        split: `"leave-last-out"`: each user's last row is the test, the one before validation; `"time"`: the last
            tenth of all rows is the test, the tenth before validation (`order` is needed).
        latest: train only on so many of each user's latest rows; all when 0.
        show: columns of `items` to keep for showing beside recommended ids, a title say; by default all.
    """

    interactions: str
    user_id: str
    item_id: str
    users: str = ""
    items: str = ""
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    positive_column: str = ""
    positive_min: float | None = None
    order: str = ""
    split: str = "leave-last-out"
    latest: int = 0
    show: tuple[str, ...] = ()

    @property
    def least(self) -> float:
        """What `positive_column` must reach."""
        return 1.0 if self.positive_min is None else self.positive_min

    def __post_init__(self) -> None:
        check_choice("data.split", self.split, ("leave-last-out", "time"))
        check_least("data.latest", self.latest, 0)
        if self.split == "time" and not self.order:
            raise SettingError("data.split: 'time' needs a column to order by. Set data.order.")
        if self.positive_min is not None and not self.positive_column:
            raise SettingError(
                f"data.positive_min: it is {self.positive_min}, but of no column. Set data.positive_column."
            )
        if self.show and not self.items:
            raise SettingError(f"data.show: {self.show[0]!r} is shown from a table of items. Set data.items.")
        self._check_roles()

    def _check_roles(self) -> None:
        """A column has one role: two would overwrite each other, and the outcome is no feature."""
        roles = {self.user_id: "data.user_id"}
        others = [
            ("data.item_id", [self.item_id]),
            ("data.positive_column", [self.positive_column] if self.positive_column else []),
            ("data.user_features", self.user_features),
            ("data.item_features", self.item_features),
        ]
        for place, names in others:
            for name in names:
                if name in roles:
                    raise SettingError(f"{place}: {name!r} is {roles[name]} already. Leave it in one of them.")
                roles[name] = place


@dataclass(frozen=True)
class ModelConfig:
    """`[model]`.

    Args:
        kind: `"two-tower"` or `"matrix-factorization"`.
        layers: widths of both towers' layers.
        dim: width of embeddings; 0 infers it from the number of categories.
        l2_normalization: vectors of length 1.
        temperature: divides the scores in the softmax; near 0.1 with `l2_normalization`.
        init_std: standard deviation of the first embeddings.
        dropout: share of activations dropped in training.
        normalization: `"none"`, `"batch"` or `"layer"`, of each layer but the last.
    """

    kind: str = "two-tower"
    layers: tuple[int, ...] = (128, 64)
    dim: int = 64
    l2_normalization: bool = True
    temperature: float = 0.1
    init_std: float = 0.05
    dropout: float = 0.0
    normalization: str = "none"

    def __post_init__(self) -> None:
        check_choice("model.kind", self.kind, ("two-tower", "matrix-factorization"))
        check_layers("model", self.dropout, self.normalization)


@dataclass(frozen=True)
class TrainingConfig:
    """`[training]`.

    Args:
        epochs: at most.
        batch_size: rows of a step.
        optimizer: `"adam"`, `"adagrad"`, `"sgd"` or `"ftrl"`.
        learning_rate: above 0.
        weight_decay: share of the weights, times the learning rate, that each step takes.
        schedule: how the learning rate goes on after the warm-up: `"constant"`, or falling as `"linear"`, `"cosine"`,
            `"exponential"`.
        warm_up_steps: of the learning rate, from 0.
        clip_norm: the most that the gradient's norm may be; no limit without.
        embedding_l2: adds half of this times the squared norms of the embedding rows to the loss.
        patience: stop when validation NDCG@10 has not improved for so many epochs; -1 never stops early.
        seed: of everything random.
        device: `"auto"`, `"cpu"` or `"cuda"`.
    """

    epochs: int = 10
    batch_size: int = 4096
    optimizer: str = "adam"
    learning_rate: float = 0.003
    weight_decay: float = 0.0
    schedule: str = "constant"
    warm_up_steps: int = 0
    clip_norm: float | None = None
    embedding_l2: float = 0.0
    patience: int = 2
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_steps("training", self)
        check_least("training.seed", self.seed, 0)
        if self.seed >= 2**63:
            raise SettingError(f"training.seed is {self.seed}. Choose one below 2**63.")


RANKERS = (
    "none",
    "auto-int",
    "dcn",
    "deep-fm",
    "dlrm",
    "final-mlp",
    "fm",
    "logistic-regression",
    "mlp",
    "wide-and-deep",
)


@dataclass(frozen=True)
class SourcesConfig:
    """`[sources]`: candidates that each gives for a request; 0 leaves a source out.

    Args:
        retrieval: of the model of `[model]`.
        item_item: of item-item weights over each user's history.
        popular: the most popular items.
        recent: the items that came last.
        half_life: an item's votes in `item_item` count half for every so many later items of the history; all count
            alike without. A few where the next item is asked for.
        l2: of the weights of `item_item`: more of it for less data per item.
    """

    retrieval: int = 100
    item_item: int = 0
    popular: int = 0
    recent: int = 0
    half_life: float | None = None
    l2: float = 300.0

    def __post_init__(self) -> None:
        check_least("sources.retrieval", self.retrieval, 1)
        for name in ("item_item", "popular", "recent"):
            check_least(f"sources.{name}", getattr(self, name), 0)
        for name in ("half_life", "l2"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise SettingError(f"sources.{name} is {value}. Choose a number above 0.")


@dataclass(frozen=True)
class RankingConfig:
    """`[ranking]`: the second stage.

    The ranker learns which of the candidates users take, on rows that the first stage was not trained on: first the
    retrieval model is trained on the rows before, then its candidates are made into rows, at last it is trained on all.
    How much the first stage's score counts beside the ranker's is chosen on the validation rows.

    Args:
        kind: `"none"` leaves the first stage's order; else a model, `"dcn"` say.
        layers: widths of the deep part's layers.
        dim: width of embeddings.
        dropout: share of activations dropped in training.
        normalization: `"none"`, `"batch"` or `"layer"`, of each layer.
        share: of each user's training rows (of all, where the split is by time): the latest, that it learns from.
        num_negatives: candidates not taken for each that was.
        epochs: at most.
        batch_size: rows of a step.
        optimizer, learning_rate, weight_decay, schedule, warm_up_steps, clip_norm, embedding_l2: as in `[training]`.
        patience: stop when validation GAUC has not improved for so many epochs; -1 never stops early.
    """

    kind: str = "none"
    layers: tuple[int, ...] = (128, 64)
    dim: int = 16
    dropout: float = 0.0
    normalization: str = "none"
    share: float = 0.2
    num_negatives: int = 10
    epochs: int = 10
    batch_size: int = 4096
    optimizer: str = "adam"
    learning_rate: float = 0.003
    weight_decay: float = 0.0
    schedule: str = "constant"
    warm_up_steps: int = 0
    clip_norm: float | None = None
    embedding_l2: float = 0.0
    patience: int = 1

    def __post_init__(self) -> None:
        check_choice("ranking.kind", self.kind, RANKERS)
        check_steps("ranking", self)
        check_layers("ranking", self.dropout, self.normalization)
        for name in ("num_negatives", "dim"):
            check_least(f"ranking.{name}", getattr(self, name), 1)
        if not 0 < self.share < 1:
            raise SettingError(f"ranking.share is {self.share}. Choose a share between 0 and 1.")


@dataclass(frozen=True)
class IndexConfig:
    """`[index]`: `kind` and `target_recall` of `build_index`."""

    kind: str = "auto"
    target_recall: float = 0.99

    def __post_init__(self) -> None:
        check_choice("index.kind", self.kind, KINDS)
        if not 0 < self.target_recall <= 1:
            raise SettingError(f"index.target_recall: it is {self.target_recall}. Choose above 0 and up to 1.")


@dataclass(frozen=True)
class TrainConfig:
    """A whole training, a table for each part, and `output`, the folder to write."""

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    sources: SourcesConfig = field(default_factory=SourcesConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    output: str = "recommender"

    def __post_init__(self) -> None:
        output = Path(self.output).expanduser().resolve()
        for name in ("interactions", "users", "items"):
            value = getattr(self.data, name)
            if value and "://" not in value and Path(value).expanduser().resolve().is_relative_to(output):
                raise SettingError(
                    f"output: {self.output} will be replaced as a whole, and data.{name} is in it. Name another folder."
                )

    @classmethod
    def read(cls, file: str | Path) -> TrainConfig:
        """The configuration of a TOML file.

        Raises:
            DataError: no such file, no TOML, or no UTF-8.
            UnknownNameError: a key that does not exist, with the nearest one.
            SettingError: a key that is missing, or a value of the wrong type.
        """
        path = Path(file)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"{path}: the file cannot be read ({error.strerror}). Give the path of a TOML file."
            ) from error
        except ValueError as error:  # TOML's or UTF-8's
            raise DataError(f"{path}: this is not TOML ({error}). Correct the line.") from error
        config: TrainConfig = read_table(cls, content, str(path))
        return config.resolved(path.parent)

    def resolved(self, folder: Path) -> TrainConfig:
        """The same with paths that begin at `folder`."""
        data = {
            name: value if "://" in value else str(folder / value)
            for name in ("interactions", "users", "items")
            if (value := getattr(self.data, name))
        }
        changed = DataConfig(**{**vars(self.data), **data})
        return replace(self, data=changed, output=str(folder / self.output))


_HINTS: dict[str, type[Any]] = get_type_hints(TrainConfig)
SECTIONS = {name: kind for name, kind in _HINTS.items() if is_dataclass(kind)}
