"""Drawn negatives: whose columns they have, what is left out, how often each item comes, and the correction of it."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from tamis.data.batch import OFFSETS, VALUES, Batch, join_rows, take_rows
from tamis.errors import SettingError, UnknownNameError
from tamis.training.ranking_losses import slate_bpr, slate_softmax
from tamis.training.ranking_negatives import Extended, NegativeRows, RandomNegatives

IDS, COUNTS = torch.tensor([3, 4, 5, 9]), torch.tensor([5, 2, 2, 1])
ITEM_COLUMNS = ["item", "price", "tags" + VALUES, "tags" + OFFSETS]


def items_of(ids: Tensor) -> dict[str, Tensor]:
    """An item's price is ten times its id, and it has as many tags as the id modulo 3, all of them the id."""
    lengths = ids % 3
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    tags = {"tags" + VALUES: ids.repeat_interleave(lengths), "tags" + OFFSETS: offsets}
    return {"item": ids.int(), "price": ids * 10.0, **tags}


def batch_of(user: list[int], item: list[int], click: list[int]) -> Batch:
    whose = torch.tensor(user)
    queries = {"user": whose, "age": whose + 0.5, "weight": whose / 10}
    return Batch({**queries, **items_of(torch.tensor(item))}, {"click": torch.tensor(click)})


def rows_of(settings: RandomNegatives, *, user_id: str | None = "user") -> NegativeRows:
    return NegativeRows(
        settings,
        item_columns=ITEM_COLUMNS,
        item_id="item",
        user_id=user_id,
        ids=IDS,
        counts=COUNTS,
        features=items_of(IDS),
    )


def extended(settings: RandomNegatives, batch: Batch, *, seed: int = 0, user_id: str | None = "user") -> Extended:
    return rows_of(settings, user_id=user_id)(batch, torch.Generator().manual_seed(seed))


every_way = pytest.mark.parametrize("by", ["uniform", "popularity", "in_batch"])


@every_way
def test_a_drawn_row_is_its_positives_query_beside_a_whole_other_item(by: str) -> None:
    batch = batch_of([1, 2, 3, 4], [3, 4, 5, 9], [1, 0, 1, 1])
    found, made_of, _ = extended(RandomNegatives(50, by), batch)
    assert len(found) == len(made_of) > 4 + 3 * 20 and made_of[:4].tolist() == [0, 1, 2, 3]
    assert set(made_of[4:].tolist()) == {0, 2, 3}  # the negative row of the log gets none
    assert torch.equal(found.features["user"], batch.features["user"][made_of])
    assert torch.equal(found.features["age"], batch.features["age"][made_of])
    assert torch.equal(found.features["weight"], batch.features["weight"][made_of])
    expected = items_of(found.features["item"].long())
    assert all(torch.equal(found.features[name], expected[name]) for name in ITEM_COLUMNS)
    assert found.targets["click"].tolist() == [1, 0, 1, 1] + [0] * (len(found) - 4)
    assert torch.equal(found.features["item"][:4], batch.features["item"])


@every_way
def test_what_a_user_chose_in_the_batch_is_not_drawn_for_her(by: str) -> None:
    batch = batch_of([1, 1, 2, 2], [3, 4, 5, 3], [1, 1, 1, 0])
    found, made_of, _ = extended(RandomNegatives(200, by), batch)
    drawn: dict[int, set[int]] = {}
    for row, item in zip(made_of[4:].tolist(), found.features["item"][4:].tolist(), strict=True):
        drawn.setdefault(row, set()).add(item)
    others = {5} if by == "in_batch" else {5, 9}
    assert drawn[0] == drawn[1] == others
    assert drawn[2] == ({3, 4} if by == "in_batch" else {3, 4, 9})  # what was shown in vain may be drawn again


def test_without_users_only_the_rows_own_item_is_left_out() -> None:
    batch = batch_of([1, 1], [3, 4], [1, 1])
    found, made_of, _ = extended(RandomNegatives(100, "in_batch"), batch, user_id=None)
    assert set(found.features["item"][2:][made_of[2:] == 0].tolist()) == {4}
    assert set(found.features["item"][2:][made_of[2:] == 1].tolist()) == {3}


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        (RandomNegatives(20_000, "uniform"), [1 / 3, 1 / 3, 1 / 3]),
        (RandomNegatives(20_000, "popularity"), [5 / 9, 2 / 9, 2 / 9]),
        (RandomNegatives(20_000, "popularity", power=2.0), [25 / 33, 4 / 33, 4 / 33]),
    ],
)
def test_items_come_as_often_as_the_settings_say(settings: RandomNegatives, shares: list[float]) -> None:
    """Item 9 is the positive; its draws, of known probability, are left out of the others' shares."""
    found, _, _ = extended(settings, batch_of([1], [9], [1]))
    counts = Counter(found.features["item"][1:].tolist())
    total = sum(counts.values())
    assert 20_000 * (0.7 if settings.by == "uniform" else 0.85) < total < 20_000
    assert [counts[item] / total for item in (3, 4, 5)] == pytest.approx(shares, abs=0.015)


@every_way
def test_the_generator_alone_chooses_the_draws(by: str) -> None:
    batch = batch_of([1, 2, 3, 4], [3, 4, 5, 9], [1, 1, 1, 1])
    first, again, other = (extended(RandomNegatives(9, by), batch, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first.features["item"], again.features["item"])
    assert first.features["item"].tolist() != other.features["item"].tolist()


def test_the_correction_is_how_often_an_item_is_drawn_beside_an_even_draw() -> None:
    batch = batch_of([1, 2], [3, 9], [1, 0])
    for by in ("popularity", "in_batch"):
        found, _, log_q = extended(RandomNegatives(3, by), batch)
        expected = {3: math.log(4 * 0.5), 4: math.log(0.8), 5: math.log(0.8), 9: math.log(0.4)}
        assert log_q is not None
        assert log_q.tolist() == pytest.approx([expected[i] for i in found.features["item"].tolist()])
    assert extended(RandomNegatives(3), batch).log_q is None
    assert extended(RandomNegatives(3, "in_batch", logq_correction=False), batch).log_q is None


@pytest.mark.parametrize("loss", ["pointwise", "bpr", "softmax"])
@pytest.mark.parametrize("by", ["uniform", "popularity"])
def test_corrected_scores_order_items_by_how_likely_they_are_chosen(loss: str, by: str) -> None:
    """One free score per item, exact expectations by many draws: the best scores are ln P(item), up to a constant."""
    chance = torch.tensor([0.5, 0.2, 0.2, 0.1])
    chosen = torch.repeat_interleave(IDS, (chance * 400).round().long())
    batch = Batch({**items_of(chosen)}, {"click": torch.ones(len(chosen))})
    rows = rows_of(RandomNegatives(40, by), user_id=None)
    # A draw of the row's own item is left out in use, which tilts the expectation a little; here all of them stay.
    rows._is_hit = lambda batch, positives, owner, drawn: torch.zeros(len(owner), dtype=torch.bool)  # type: ignore
    found, made_of, log_q = rows(batch, torch.Generator().manual_seed(0))
    place = torch.searchsorted(IDS, found.features["item"].long())
    score = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], max_iter=100)

    def closure() -> float:
        optimizer.zero_grad()
        logit = score[place] - (0.0 if log_q is None else log_q)
        label = found.targets["click"]
        if loss == "pointwise":
            value = torch.nn.functional.binary_cross_entropy_with_logits(logit, label)
        else:
            value = {"bpr": slate_bpr, "softmax": slate_softmax}[loss](logit, label, made_of)
        value.backward()
        return value.item()

    optimizer.step(closure)
    learned = (score - score.logsumexp(0)).exp()
    assert learned.tolist() == pytest.approx(chance.tolist(), abs=0.03)


def test_a_batch_without_positives_stays_as_it_is() -> None:
    batch = batch_of([1, 2], [3, 4], [0, 0])
    found, made_of, _ = extended(RandomNegatives(3), batch)
    assert len(found) == 2 and made_of.tolist() == [0, 1]


def test_rows_are_joined_with_their_lists() -> None:
    ids = torch.tensor([5, 3, 4, 8])
    both = join_rows(items_of(ids[:2]), items_of(ids[2:]))
    expected = items_of(ids)
    assert all(torch.equal(both[name], expected[name]) for name in expected)
    assert join_rows(both, take_rows(both, torch.zeros(0, dtype=torch.long))).keys() == both.keys()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"RandomNegatives: num_per_positive is 0\. Choose 1 or more"):
        RandomNegatives(0)
    with pytest.raises(SettingError, match=r"RandomNegatives: power is -1"):
        RandomNegatives(power=-1)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'popularity'\?"):
        RandomNegatives(by="popular")
