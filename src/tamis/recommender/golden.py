"""A dozen requests with their answers: a bundle answers them again before it says that it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from tamis.errors import FormatError
from tamis.folders import read_json, write_json
from tamis.recommender.filters import Filter
from tamis.recommender.golden_answers import difference, tolerances
from tamis.recommender.requests import Request

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_SETTINGS, _REQUESTS, _ANSWERS = "golden.json", "golden_requests.parquet", "golden_answers.parquet"
_NUMBER = "__request"


@dataclass(frozen=True)
class GoldenRequest:
    """One request.

    Args:
        what: what is special about it, in words.
        asked: one row.
        k: length of the list.
        filters: besides the recommender's.
        exclude_seen: see `Recommender.recommend`.
    """

    what: str
    asked: Request
    k: int
    filters: Sequence[Filter] = ()
    exclude_seen: bool = True

    def answer(self, recommender: Recommender) -> pl.DataFrame:
        """The list, the same on every call: steps of ordering that draw lots draw the same ones."""
        draws = [np.random.default_rng(number) for number in range(len(recommender.ordering))]
        found = recommender.answer(
            self.asked, self.k, filters=self.filters, exclude_seen=self.exclude_seen, generators=draws
        )
        return found.frame(recommender.catalogue, recommender.item_id, by_rows=False)

    def describe(self) -> dict[str, Any]:
        """All but the row, as JSON can hold it."""
        return {
            "what": self.what,
            "k": self.k,
            "exclude_seen": self.exclude_seen,
            "filters": [one.describe() for one in self.filters],
            "features": self.asked.features.columns,
            "by_rows": self.asked.by_rows,
        }


@dataclass(frozen=True)
class Golden:
    """Requests and the answers that they had when they were drawn."""

    requests: Sequence[GoldenRequest]
    answers: Sequence[pl.DataFrame]

    def __len__(self) -> int:
        return len(self.requests)

    def check(self, recommender: Recommender) -> str | None:
        """In words, the first request that is answered otherwise now, and how; None where none is.

        Lists must hold the same items in the same order. Machines round differently, so scores may differ by one part
        in 10,000 of the list's largest, and neighbours that are as close as that may have changed places; see
        `tolerances`.
        """
        for number, (request, old) in enumerate(zip(self.requests, self.answers, strict=True), 1):
            new = request.answer(recommender)
            found = difference(old, new, recommender.item_id, tolerances(recommender, old))
            if found is not None:
                return f"golden request {number} of {len(self)} ({request.what}, k={request.k}): {found}"
        return None

    def save(self, folder: Path) -> None:
        """Write JSON and two parquet files."""
        write_json(folder / _SETTINGS, [request.describe() for request in self.requests])
        if not self.requests:
            return
        rows = [_row(request.asked) for request in self.requests]
        pl.concat(rows, how="diagonal").write_parquet(folder / _REQUESTS)
        answers = (frame.with_columns(pl.lit(i).alias(_NUMBER)) for i, frame in enumerate(self.answers))
        pl.concat(answers).write_parquet(folder / _ANSWERS)

    @classmethod
    def load(cls, folder: Path, recommender: Recommender) -> Self:
        """Read what `save` wrote; a folder without is none of requests."""
        settings = read_json(folder / _SETTINGS) if (folder / _SETTINGS).is_file() else []
        if not settings:
            return cls((), ())
        rows, answers = pl.read_parquet(folder / _REQUESTS), pl.read_parquet(folder / _ANSWERS)
        try:
            requests = [_request(one, rows[i], recommender) for i, one in enumerate(settings)]
            lists = [answers.filter(pl.col(_NUMBER) == i).drop(_NUMBER) for i in range(len(requests))]
        except (KeyError, TypeError, pl.exceptions.ColumnNotFoundError) as error:
            raise FormatError(
                f"{folder / _SETTINGS}: it does not describe the requests of {_REQUESTS} ({error!r}). Save the "
                "recommender again."
            ) from error
        return cls(requests, lists)


def _row(asked: Request) -> pl.DataFrame:
    return pl.concat([asked.ids.to_frame(), asked.features, asked.context], how="horizontal")


def _request(settings: dict[str, Any], row: pl.DataFrame, recommender: Recommender) -> GoldenRequest:
    asked = Request(
        row[recommender.user_id],
        row.select(settings["features"]),
        row.select(recommender.raw_context_columns),
        by_rows=settings["by_rows"],
    )
    filters = [Filter.from_description(one) for one in settings["filters"]]
    return GoldenRequest(settings["what"], asked, settings["k"], filters, settings["exclude_seen"])
