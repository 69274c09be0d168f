"""From lists, block by block, to what they are worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import DataError, SettingError
from tamis.evaluation.bootstrap import mean_interval
from tamis.evaluation.metrics import AccuracyMetric, ListMetric, Metric, resolve_metrics
from tamis.evaluation.pairs import Pairs
from tamis.evaluation.top_k import check_k, check_pairs


@dataclass(frozen=True, repr=False)
class Judgement:
    """What the lists of all queries are worth.

    Args:
        values: each metric's value by name; an accuracy metric's is the mean over the judged queries.
        per_query: each accuracy metric's values by name, [judged queries] float32, in the order of the queries.
        query_rows: [judged queries], the row of each judged query among the given ones.
        num_left_out: queries without a relevant item, which no metric can judge.
        num_candidates: items that every list was chosen from.
    """

    values: dict[str, float]
    per_query: dict[str, Tensor]
    query_rows: Tensor
    num_left_out: int
    num_candidates: int

    @property
    def num_queries(self) -> int:
        """Judged queries: those with at least one relevant item."""
        return len(self.query_rows)

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def __repr__(self) -> str:
        left_out = f" ({self.num_left_out:,} more have no relevant item)" if self.num_left_out else ""
        head = f"Judgement over {self.num_queries:,} queries{left_out} x {self.num_candidates:,} candidates"
        width = max(map(len, self.values), default=0)
        return "\n".join([head, *(f"  {name:<{width}}  {_figure(value)}" for name, value in self.values.items())])


def _figure(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def interval(per_query: Tensor, *, seed: int = 0, num_samples: int = 1000) -> tuple[float, float, float]:
    """Mean over the queries, and the lower and upper end of its 95 % bootstrap interval; see `Bootstrap`."""
    found = mean_interval(per_query.double().cpu().numpy(), seed=seed, num_samples=num_samples)
    return found.value, found.low, found.high


class Tally:
    """Collects blocks of lists and gives their Judgement. Only queries with a relevant item take part.

    Args:
        relevant: what each query should find.
        num_candidates: size of the catalogue.
        metrics: metrics or names.
        num_relevant: [queries], where it is not `relevant.num_items`.
        popularity: [candidates], counts or probabilities.
        device: where the lists will be.

    Raises:
        SettingError: a metric's k is larger than the catalogue, lengths differ, popularity is missing.
        DataError: no query has a relevant item, a position beyond the catalogue, an impossible popularity.
    """

    def __init__(
        self,
        relevant: Pairs,
        num_candidates: int,
        metrics: Iterable[str | Metric],
        *,
        num_relevant: Tensor | None = None,
        popularity: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        resolved = resolve_metrics(metrics)
        self.k = max(metric.k for metric in resolved)
        self.num_candidates = num_candidates
        self._names = [metric.name for metric in resolved]
        self._of_query = [metric for metric in resolved if isinstance(metric, AccuracyMetric)]
        self._of_lists = [metric for metric in resolved if isinstance(metric, ListMetric)]
        check_k(self.k, num_candidates, where="judge")
        check_pairs(relevant, len(relevant), num_candidates, where="judge", what="relevant")
        self._popularity = _probabilities(popularity, num_candidates, self._of_lists)
        num_relevant = relevant.num_items if num_relevant is None else num_relevant.cpu()
        self.num_queries = len(relevant)
        self.rows = _rows_to_judge(num_relevant, self.num_queries)
        self._relevant, self._num_relevant = relevant.select(self.rows), num_relevant[self.rows]
        self._values: dict[str, list[Tensor]] = {metric.name: [] for metric in self._of_query}
        self._counts = {k: torch.zeros(num_candidates, dtype=torch.int64, device=device) for k in self._list_lengths()}

    def _list_lengths(self) -> set[int]:
        return {metric.k for metric in self._of_lists}

    def add(self, start: int, stop: int, lists: Tensor) -> None:
        """Take in the lists [stop - start, K] of the judged queries from `start` to `stop`; -1 is an empty place."""
        hits = self._hits(start, stop, lists)
        num_relevant = self._num_relevant[start:stop].to(lists.device)
        for metric in self._of_query:
            self._values[metric.name].append(metric.per_query(hits, num_relevant).cpu())
        for k, counts in self._counts.items():
            listed = lists[:, :k].reshape(-1)
            counts += torch.bincount(listed[listed >= 0], minlength=self.num_candidates)

    def _hits(self, start: int, stop: int, lists: Tensor) -> Tensor:
        rows, positions = (part.to(lists.device) for part in self._relevant.of_rows(start, stop))
        keys = rows * self.num_candidates + positions  # ascending, as rows and the positions of a row are
        if len(keys) == 0:
            return torch.zeros_like(lists, dtype=torch.bool)
        listed = torch.arange(stop - start, device=lists.device)[:, None] * self.num_candidates + lists
        nearest = torch.searchsorted(keys, listed).clamp_(max=len(keys) - 1)
        return (keys[nearest] == listed) & (lists >= 0)

    def judgement(self) -> Judgement:
        """What all the lists are worth."""
        per_query = {name: torch.cat(parts) for name, parts in self._values.items()}
        values = {name: found.double().mean().item() for name, found in per_query.items()}
        for metric in self._of_lists:
            values[metric.name] = metric.of_counts(self._counts[metric.k].cpu(), self._popularity)
        return Judgement(
            {name: values[name] for name in self._names},
            per_query,
            self.rows,
            num_left_out=self.num_queries - len(self.rows),
            num_candidates=self.num_candidates,
        )


def _rows_to_judge(num_relevant: Tensor, num_queries: int) -> Tensor:
    if len(num_relevant) != num_queries:
        raise SettingError(
            f"judge: num_relevant holds {len(num_relevant):,} numbers for {num_queries:,} queries. Give one per query."
        )
    rows = num_relevant.nonzero()[:, 0]
    if len(rows) == 0:
        raise DataError(
            f"judge: none of the {num_queries:,} queries has a relevant item. Check that the held-out data is not "
            "empty and speaks of the same users."
        )
    return rows


def _probabilities(popularity: Tensor | None, num_candidates: int, metrics: list[ListMetric]) -> Tensor:
    if popularity is None:
        for metric in metrics:
            if metric.needs_popularity:
                raise SettingError(f"judge: {metric.name} needs the items' popularity. Give popularity=, [candidates].")
        return torch.zeros(num_candidates)
    return check_popularity(popularity, num_candidates)


def check_popularity(popularity: Tensor, num_candidates: int) -> Tensor:
    """The popularity as probabilities, float64 on the CPU.

    Raises:
        SettingError: not one number per candidate.
        DataError: negative or not finite.
    """
    if popularity.shape != (num_candidates,):
        raise SettingError(
            f"judge: popularity has shape {list(popularity.shape)}, but there are {num_candidates:,} candidates. "
            "Give one number per candidate."
        )
    counts = popularity.detach().double().cpu()
    if not (torch.isfinite(counts).all() and (counts >= 0).all()):
        raise DataError("judge: popularity holds negative or non-finite numbers. Give counts or probabilities.")
    return counts / counts.sum().clamp(min=torch.finfo(torch.float64).tiny)
