"""Positives that are among their user's candidates, against the lists that are recommended."""

import polars as pl
import pytest

from tamis import Dataset
from tamis.recommender import found_positives as module
from tamis.recommender.found_positives import found_positives
from tamis.recommender.sources.popular import Popular
from two_stage_world import clicks, fitted, two_stages


def test_a_positive_stays_where_a_list_as_long_as_the_quota_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_USERS_AT_ONCE", 7)
    recommender = two_stages([Popular(quota=6)], filters=(), ranker=None, context={})
    workflow = fitted()[0]
    found = found_positives(clicks(), recommender)
    lists = recommender.recommend(workflow.decode("user", clicks().compute()["user"].unique()).to_list(), 6)
    allowed = set(lists.select("user", "item").rows())
    frame = clicks().compute()
    users, items = (workflow.decode(name, frame[name]).to_list() for name in ("user", "item"))
    expected = frame.filter(pl.Series([pair in allowed for pair in zip(users, items, strict=True)]))
    assert 0 < len(expected) < len(frame)
    assert found.compute().equals(expected)
    assert found.schema == clicks().schema


def test_without_candidates_no_positive_is_found() -> None:
    recommender = two_stages(
        [Popular(quota=6)], ranker=None, context={}
    )  # everything that was clicked is seen, so filtered
    assert found_positives(Dataset(clicks().compute(), schema=clicks().schema), recommender).num_rows == 0
