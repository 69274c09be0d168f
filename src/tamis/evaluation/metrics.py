"""What a list of recommendations is worth: accuracy per query, and what all the lists together look like.

An accuracy metric sees which ranks of a query's list were hits and how many items were relevant, and gives one value
per query. A list metric needs no truth: it sees how often each item was recommended and how popular it is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tamis.errors import SettingError, UnknownNameError


@dataclass(frozen=True)
class Metric(ABC):
    """A number about lists of length `k`.

    Raises:
        SettingError: `k` is below 1.
    """

    k: int = 10
    short_name: ClassVar[str]

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SettingError(f"{type(self).__name__}: k is {self.k}. Give a length of 1 or more.")

    @property
    def name(self) -> str:
        """What the value is called in a history or a table, for example `recall_at_10`."""
        return f"{self.short_name}_at_{self.k}"


class AccuracyMetric(Metric):
    """A metric that compares each query's list with what was relevant."""

    @abstractmethod
    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """One value per query, [queries], float32; 0 where nothing is relevant.

        Args:
            hits: [queries, K >= k] booleans in rank order: was the item at that rank relevant?
            num_relevant: [queries], relevant items of the query, those outside the catalogue included.
        """


class ListMetric(Metric):
    """A metric of the recommended lists alone, without a truth to compare with."""

    needs_popularity: ClassVar[bool] = True

    @abstractmethod
    def of_counts(self, counts: Tensor, popularity: Tensor) -> float:
        """The value for items that were recommended `counts` times.

        Args:
            counts: [num_candidates], in how many lists of length `k` each item stood.
            popularity: [num_candidates], probabilities; where the metric does not use it, any tensor.
        """

    def of_lists(self, ids: Tensor, popularity: Tensor) -> float:
        """The value for lists `ids` [queries, K >= k] of positions; -1 marks a place without an item."""
        listed = ids[:, : self.k].reshape(-1)
        return self.of_counts(torch.bincount(listed[listed >= 0], minlength=len(popularity)), popularity)


@dataclass(frozen=True)
class RecallAt(AccuracyMetric):
    """Share of a query's relevant items that stand among its first `k`.

    Divides by the number of relevant items, as the published tables do, so the best possible value is below 1 where
    more than `k` are relevant; `capped=True` divides by min(relevant, k) instead. Both agree where one is relevant.
    """

    short_name = "recall"
    capped: bool = False

    @property
    def name(self) -> str:
        """`recall_at_10`, or `capped_recall_at_10`."""
        return f"{'capped_' if self.capped else ''}recall_at_{self.k}"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Hits among the first `k` / relevant items."""
        possible = num_relevant.clamp(max=self.k) if self.capped else num_relevant
        return hits[:, : self.k].sum(1).float() / possible.clamp(min=1)


@dataclass(frozen=True)
class PrecisionAt(AccuracyMetric):
    """Share of the first `k` places that hold a relevant item; a list that is too short counts as `k` places."""

    short_name = "precision"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Hits among the first `k` / k."""
        return hits[:, : self.k].sum(1).float() / self.k


@dataclass(frozen=True)
class HitRateAt(AccuracyMetric):
    """1 where at least one relevant item stands among the first `k`, else 0."""

    short_name = "hit_rate"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Whether any of the first `k` is a hit."""
        return hits[:, : self.k].any(1).float()


@dataclass(frozen=True)
class MRRAt(AccuracyMetric):
    """1 / rank of the first relevant item, 0 where none stands among the first `k`."""

    short_name = "mrr"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Reciprocal rank of the first hit; of all hits it has the largest reciprocal."""
        top = hits[:, : self.k].float()
        return (top / _ranks(top)).amax(1)


@dataclass(frozen=True)
class NDCGAt(AccuracyMetric):
    """Hits discounted by log2(rank + 1), divided by the same sum of an ideal list.

    The gain is binary. The ideal list begins with min(relevant, k) hits.
    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation, TOIS 2002.
    """

    short_name = "ndcg"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Discounted gain / ideal discounted gain."""
        top = hits[:, : self.k].float()
        ranks = torch.arange(1, self.k + 1, device=hits.device, dtype=torch.float64)
        discount = 1 / torch.log2(ranks + 1)
        ideal = discount.cumsum(0)[(num_relevant.clamp(1, self.k) - 1).long()]
        gain = (top * discount[: top.shape[1]].float()).sum(1)
        return gain / ideal.float()


@dataclass(frozen=True)
class AvgPrecisionAt(AccuracyMetric):
    """Precision at the rank of each hit, summed and divided by min(relevant, k); its mean over queries is MAP@k.

    Definitions differ in the divisor. With this one, usual in recommender competitions, a list that holds nothing but
    hits has the value 1 even where more than `k` items are relevant; dividing by all relevant items is the same where
    at most `k` are, and lower elsewhere.
    """

    short_name = "map"

    def per_query(self, hits: Tensor, num_relevant: Tensor) -> Tensor:
        """Sum of the precisions at the hits / min(relevant, k)."""
        top = hits[:, : self.k].float()
        precision = top.cumsum(1) / _ranks(top)
        return (precision * top).sum(1) / num_relevant.clamp(1, self.k)


@dataclass(frozen=True)
class ItemCoverageAt(ListMetric):
    """Share of the catalogue that stands in at least one list."""

    short_name = "item_coverage"
    needs_popularity = False

    def of_counts(self, counts: Tensor, popularity: Tensor) -> float:
        """Items recommended at least once / items."""
        return (counts > 0).double().mean().item()


@dataclass(frozen=True)
class PopularityBiasAt(ListMetric):
    """Mean popularity, as a probability, of what was recommended: high where the lists hold the best sellers."""

    short_name = "popularity_bias"

    def of_counts(self, counts: Tensor, popularity: Tensor) -> float:
        """Mean of the probabilities over all recommended places; 0 where nothing was recommended."""
        return _mean_over(counts, popularity.double())


@dataclass(frozen=True)
class NoveltyAt(ListMetric):
    """Mean surprise -ln(popularity) of what was recommended, in nats.

    An item that nobody ever took has probability 0 and would make the mean infinite; it counts as the rarest item that
    somebody took.
    Source: Vargas and Castells, Rank and relevance in novelty and diversity metrics, RecSys 2011 (self-information).
    """

    short_name = "novelty"

    def of_counts(self, counts: Tensor, popularity: Tensor) -> float:
        """Mean of -ln(popularity) over all recommended places; 0 where nothing was recommended or is popular."""
        taken = popularity[popularity > 0].double()
        if len(taken) == 0:
            return 0.0
        return _mean_over(counts, -popularity.double().clamp(min=taken.min().item()).log())


METRICS: dict[str, type[Metric]] = {
    kind.short_name: kind
    for kind in (
        RecallAt,
        NDCGAt,
        MRRAt,
        AvgPrecisionAt,
        PrecisionAt,
        HitRateAt,
        ItemCoverageAt,
        PopularityBiasAt,
        NoveltyAt,
    )
}


def metric_named(name: str | Metric) -> Metric:
    """The metric of a name such as `recall_at_10`; a metric itself is passed through.

    Raises:
        UnknownNameError: no metric has this name.
        SettingError: the length in the name is 0.
    """
    if isinstance(name, Metric):
        return name
    found = re.fullmatch(r"(\w+?)_at_(\d+)", name.lower())
    kind, k = (found[1], int(found[2])) if found else (name, 10)
    if found and kind == "capped_recall":
        return RecallAt(k, capped=True)
    if not found or kind not in METRICS:
        raise UnknownNameError(name, [f"{known}_at_{k}" for known in METRICS], where="metric_named", what="metric")
    return METRICS[kind](k)


def resolve_metrics(metrics: Iterable[str | Metric]) -> list[Metric]:
    """Metrics from metrics and names, each once, in order.

    Raises:
        UnknownNameError: no metric has a given name.
        SettingError: none is given.
    """
    resolved = list({(metric := metric_named(given)).name: metric for given in metrics}.values())
    if not resolved:
        raise SettingError("metrics: none is given. Name at least one, for example RecallAt(10).")
    return resolved


def _ranks(top: Tensor) -> Tensor:
    return torch.arange(1, top.shape[1] + 1, device=top.device, dtype=top.dtype)


def _mean_over(counts: Tensor, values: Tensor) -> float:
    total = counts.sum().item()
    return (counts.double() @ values).item() / total if total else 0.0
