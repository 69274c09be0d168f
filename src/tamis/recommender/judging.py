"""What the lists that a recommender really serves are worth on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from tamis.data.dataset import Dataset
from tamis.evaluation.judgement import Tally
from tamis.evaluation.metrics import Metric, NDCGAt, RecallAt, resolve_metrics
from tamis.evaluation.pairs import Pairs
from tamis.evaluation.top_k import check_k
from tamis.recommender.held_out_queries import held_out_queries
from tamis.recommender.stage_blocks import popular_beside, stage_blocks

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender


def judge_recommender(
    recommender: Recommender, held_out: Dataset, *, metrics: Iterable[str | Metric] | None, exclude_seen: bool
) -> dict[str, float]:
    """See `Recommender.evaluate`."""
    resolved = resolve_metrics((RecallAt(10), NDCGAt(10)) if metrics is None else metrics)
    k = max(metric.k for metric in resolved)
    check_k(k, recommender.num_items, where="evaluate")
    asked = held_out_queries(recommender, held_out, exclude_seen=exclude_seen)
    relevant = Pairs.from_arrays(asked.query, asked.item, len(asked))
    counts = torch.tensor(recommender.catalogue.counts)
    served, popular = (Tally(relevant, len(counts), resolved, popularity=counts) for _ in range(2))
    for block in stage_blocks(recommender, asked.queries, k, exclude_seen=exclude_seen):
        start, stop = block.start, block.start + len(block)  # every request has something relevant, so all are judged
        served.add(start, stop, torch.from_numpy(block.lists))
        popular.add(start, stop, torch.from_numpy(popular_beside(recommender, block.allowed, k)))
    beside = {f"popularity_{name}": value for name, value in popular.judgement().values.items()}
    counted = {"num_users": float(len(asked)), "num_unknown_rows": float(asked.num_unknown_rows)}
    return {**served.judgement().values, **beside, **counted}
