"""What every step of ordering is given and gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.errors import UnknownColumnError
from tamis.recommender.allowed_items import Allowed
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.described import Described


@dataclass(frozen=True)
class Situation:
    """What a step may look at besides the candidates.

    Args:
        catalogue: the items.
        k: how long the lists will be.
        targets: names of what the ranker predicts; none without a ranker.
        allowed: what the filters leave; None where there are none.
        generator: of random numbers, this step's own.
    """

    catalogue: Catalogue
    k: int
    targets: Sequence[str] = ()
    allowed: Allowed | None = None
    generator: np.random.Generator | None = None


class Ordering(Described, ABC):
    """Changes the order of candidates, or leaves some out; by the time all steps are done the first k are the list.

    A subclass is a frozen dataclass whose fields are its settings. `scores` of what it gives are in the order of the
    lists, so that steps can follow each other.
    """

    is_last: ClassVar[bool] = False  # True: no other step may follow

    @abstractmethod
    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates in their new order, all requests at once. Empty places stay at the end."""

    def check(self, catalogue: Catalogue, targets: Sequence[str]) -> None:
        """Refuse what this catalogue and ranker cannot supply, before anything is asked."""


def sorted_by(candidates: Candidates, scores: NDArray[np.floating]) -> Candidates:
    """Best of these scores [queries, width] first; equal ones stay in their order, and items before empty places."""
    empty = candidates.items < 0
    kept = (np.where(empty, -np.inf, scores) if empty.any() else scores).astype(np.float32, copy=False)
    changed = Candidates(candidates.items, kept, candidates.found_by, candidates.retrieval, candidates.ranking)
    if (kept[:, :-1] >= kept[:, 1:]).all():  # as sources give them
        return changed
    return changed.take(np.argsort(-kept, axis=1, kind="stable"))


def need_columns(step: Ordering, names: Sequence[str], catalogue: Catalogue) -> None:
    """Refuse columns that the catalogue does not have.

    Raises:
        UnknownColumnError: names the nearest.
    """
    for name in names:
        if name not in catalogue.columns.columns:
            where, known = type(step).__name__, catalogue.columns.columns
            raise UnknownColumnError(name, known, where=where, what="item column")
