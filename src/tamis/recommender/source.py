"""Where candidates come from: what every source does."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.index import SearchResult
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries

if TYPE_CHECKING:
    from tamis.models.encoder import Encoder
    from tamis.recommender.onnx_runtime import OnnxEncoder

_QUOTA = 100
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")  # a name is a folder of the bundle too, so it must stay inside


class Source(ABC):
    """Finds candidates for requests.

    Args:
        quota: how many candidates it gives for each request; None is 100, or all items of a smaller catalogue.
        name: what its candidates are marked with: letters, digits, `-` and `_`; by default the class's name in snake
            case.

    Raises:
        SettingError: the quota is below 1, or the name holds other signs.
    """

    kinds: ClassVar[dict[str, type[Source]]] = {}
    has_towers: ClassVar[bool] = False  # if so, `load` takes `runtime=` too: what runs them, see `load_encoder`

    def __init__(self, *, quota: int | None, name: str | None = None) -> None:
        if quota is not None and quota < 1:
            raise SettingError(f"{type(self).__name__}: the quota is {quota}. Give 1 candidate or more.")
        self._quota = quota
        self.name = check_name(name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower())

    @property
    def quota(self) -> int:
        """How many candidates it gives for each request."""
        return _QUOTA if self._quota is None else self._quota

    def __init_subclass__(cls) -> None:
        Source.kinds[cls.__name__] = cls

    @property
    def query_columns(self) -> Sequence[str]:
        """Encoded columns that a request must have."""
        return ()

    @property
    def encoders(self) -> Mapping[str, Encoder | OnnxEncoder]:
        """Towers by the name of the folder in which `save` writes them."""
        return {}

    @abstractmethod
    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Learn whatever a search needs."""

    def can_answer(self, queries: Queries) -> NDArray[np.bool_]:
        """For which requests it can find anything: [queries]."""
        return np.ones(len(queries), np.bool_)

    @abstractmethod
    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The `k` best items of each request, best first; -1 and -inf where fewer are left.

        Args:
            queries: requests that it can answer.
            k: length of the lists.
            exclude: for each request the items that must not come back.
            allow: the only items that may come back.
        """

    def check_upsert(self, num_new: int, features: pl.DataFrame) -> None:  # noqa: B027 # most know nothing of new items
        """Refuse, before anything changes, items that it could not take in; of their encoded features, one row each."""

    def upsert(self, catalogue: Catalogue, rows: Rows) -> None:  # noqa: B027
        """Take in items that are new or changed."""

    def remove(self, rows: Rows) -> None:  # noqa: B027
        """Let go of items. They are never asked for again, so most sources need not."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was learned into a folder that is there."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """The source that `settings` and `save` described."""

    def settle_quota(self, num_items: int) -> None:
        """Fit the quota to a catalogue.

        Raises:
            SettingError: it is larger than the catalogue.
        """
        if self._quota is not None and self._quota > num_items:
            raise SettingError(
                f"Recommender: the source {self.name!r} has a quota of {self._quota:,}, but the catalogue has "
                f"{num_items:,} items. Choose {num_items:,} or fewer."
            )
        self._quota = min(self.quota, num_items)


def check_name(name: str) -> str:
    """The name of a source, after it was found to be one.

    Raises:
        SettingError: it holds other signs than letters, digits, `-` and `_`, or is too long.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingError(f"Source: the name is {name!r}. Use up to 100 letters, digits, '-' and '_'.")
    return name
