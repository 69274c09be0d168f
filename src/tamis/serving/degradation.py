"""How far an answer was made simpler, for lack of time or because a part outside the process gave no answer."""

from __future__ import annotations

from collections.abc import Iterable

BUNDLE_FEATURES = "bundle_features"  # the store did not answer: users have the features that they have in the bundle
FEWER = "fewer_candidates"
FEWER_SOURCES = "fewer_sources"  # an index did not answer: the other sources' candidates, or popular items
RETRIEVAL, POPULARITY = "retrieval_order", "popularity"
LEVELS = (BUNDLE_FEATURES, FEWER, FEWER_SOURCES, RETRIEVAL, POPULARITY)  # each leaving out more


def worst(levels: Iterable[str | None]) -> str | None:
    """The one that leaves out most; None where nothing was left out."""
    return max((one for one in levels if one is not None), key=LEVELS.index, default=None)
