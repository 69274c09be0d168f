"""Sampled candidates must teach what the full softmax teaches."""

import pytest
import torch
from torch import Tensor

from tamis.data.batch import Batch
from tamis.errors import SettingError, UnknownNameError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.tower import Tower
from tamis.nn.two_towers import TwoTowers
from tamis.schema import ColumnSchema, Schema, Tags
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.negatives import InBatchSampler, PopularityBasedSampler, Sampler, UniformSampler
from tamis.training.optimizers import Adam
from tamis.training.retrieval_step import RetrievalLoss, RetrievalStep
from tamis.training.schedules import ExponentialSchedule

NUM_ITEMS, NUM_USERS, ROWS = 12, 3, 120_000
USER = ColumnSchema("user", tags=Tags.USER_ID).with_tags(Tags.CATEGORICAL).with_domain(NUM_USERS - 1)
ITEM = ColumnSchema("item", tags=Tags.ITEM_ID).with_tags(Tags.CATEGORICAL).with_domain(NUM_ITEMS - 1)


def truth() -> Tensor:
    """p(item | user): Zipf popularity, bent by each user's own taste."""
    generator = torch.Generator().manual_seed(3)
    popularity = 1.0 / torch.arange(1, NUM_ITEMS + 1)
    taste = torch.randn(NUM_USERS, NUM_ITEMS, generator=generator).exp()
    return (popularity * taste) / (popularity * taste).sum(dim=1, keepdim=True)


def rows_of(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    user = torch.randint(NUM_USERS, (ROWS,), generator=generator)
    item = torch.multinomial(probabilities[user], 1, generator=generator)[:, 0]
    return user.int(), item.int()


def free_towers() -> TwoTowers:
    """As many dimensions as items, so any table of scores can be learned."""
    torch.manual_seed(0)
    tables = EmbeddingTables([USER, ITEM], EmbeddingOptions(embedding_dim_default=NUM_ITEMS, init_std=0.3))
    return TwoTowers(tables, Tower(Schema([USER]), tables), Tower(Schema([ITEM]), tables))


def step_of(towers: TwoTowers, item: Tensor, settings: RetrievalLoss) -> RetrievalStep:
    return RetrievalStep(
        towers,
        settings,
        item_schema=Schema([ITEM]),
        item_id="item",
        item_ids=torch.arange(NUM_ITEMS),
        item_counts=torch.bincount(item, minlength=NUM_ITEMS),
        item_features={"item": torch.arange(NUM_ITEMS, dtype=torch.int32)},
    )


def learned(samplers: list[Sampler], *, batch_size: int = 12, num_steps: int = 1500, **settings: object) -> Tensor:
    """The softmax over all items of the scores that training finds: [users, items]."""
    user, item = rows_of(truth())
    towers = free_towers()
    step = step_of(towers, item, RetrievalLoss(samplers, **settings))  # type: ignore[arg-type]
    slower = ExponentialSchedule(factor_per_period=1 / 6, period_steps=num_steps // 2, staircase=True)
    optimizer = ModelOptimizer(towers, Adam(0.03), schedule=slower)
    generator = torch.Generator().manual_seed(5)
    total = torch.zeros(NUM_USERS, NUM_ITEMS)
    for i in range(num_steps):
        start = i * batch_size % (ROWS - batch_size)
        rows = slice(start, start + batch_size)
        step(Batch({"user": user[rows], "item": item[rows]}), generator).backward()
        optimizer.step()
        if i >= num_steps * 2 // 3:  # the mean of the last steps: less noise
            total += towers.tables.vectors_of("user") @ towers.tables.vectors_of("item").T
    return (total / (num_steps - num_steps * 2 // 3)).softmax(dim=1)


def distance(found: Tensor, expected: Tensor) -> float:
    """Total variation, mean over the users."""
    return (found - expected).abs().sum(dim=1).mean().item() / 2


EVERY_SAMPLING = [
    [InBatchSampler()],
    [UniformSampler(5)],
    [PopularityBasedSampler(5)],
    [InBatchSampler(), UniformSampler(4)],
    [InBatchSampler(), PopularityBasedSampler(4, power=0.5)],
]


@pytest.mark.parametrize("samplers", EVERY_SAMPLING, ids=str)
def test_corrected_scores_are_the_log_of_the_items_probability(samplers: list[Sampler]) -> None:
    assert distance(learned(samplers), truth()) < 0.05


@pytest.mark.parametrize("samplers", [[InBatchSampler()], [PopularityBasedSampler(5)]], ids=str)
def test_without_the_correction_popularity_is_divided_out(samplers: list[Sampler]) -> None:
    """What is learned instead is p(item | user) / Q(item)."""
    found = learned(samplers, logq_correction=False)
    num_draws = 11 if samplers == [InBatchSampler()] else 5
    divided = truth() / (1 - (1 - truth().mean(dim=0)) ** num_draws)
    assert distance(found, truth()) > 0.15
    assert distance(found, divided / divided.sum(dim=1, keepdim=True)) < 0.05


def test_uniform_draws_need_no_correction() -> None:
    assert distance(learned([UniformSampler(5)], logq_correction=False), truth()) < 0.05


def test_the_step_over_the_batch_equals_the_softmax_over_its_distinct_items() -> None:
    towers = free_towers()
    user, item = torch.tensor([0, 1, 2, 1]), torch.tensor([4, 9, 4, 2])
    counts = torch.arange(1, NUM_ITEMS + 1)
    step = step_of(towers, torch.repeat_interleave(torch.arange(NUM_ITEMS), counts), RetrievalLoss([InBatchSampler()]))
    loss = step(Batch({"user": user, "item": item}), torch.Generator())
    vectors = {name: towers.tables.vectors_of(name).double() for name in ("user", "item")}
    frequency = counts.double() / counts.sum()
    expected = []
    for u, i in zip(user.tolist(), item.tolist(), strict=True):
        corrected = {
            j: (vectors["user"][u] @ vectors["item"][j] - (1 - (1 - frequency[j]) ** 3).log()).item() for j in (2, 4, 9)
        }
        expected.append(torch.tensor(list(corrected.values())).logsumexp(0).item() - corrected[i])
    assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-5)


def test_bpr_meets_each_other_item_of_the_batch_once() -> None:
    towers = free_towers()
    user, item = torch.tensor([0, 1, 2, 1]), torch.tensor([4, 9, 4, 2])
    loss = step_of(towers, item, RetrievalLoss([InBatchSampler()], loss="bpr"))(
        Batch({"user": user, "item": item}), torch.Generator()
    )
    vectors = {name: towers.tables.vectors_of(name).double() for name in ("user", "item")}
    pairs = [
        torch.nn.functional.softplus(vectors["user"][u] @ (vectors["item"][j] - vectors["item"][i])).item()
        for u, i in zip(user.tolist(), item.tolist(), strict=True)
        for j in (2, 4, 9)
        if j != i
    ]
    assert loss.item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


@pytest.mark.parametrize("samplers", [[UniformSampler(20)], [InBatchSampler(), UniformSampler(3)]], ids=str)
def test_bpr_runs_on_drawn_negatives(samplers: list[Sampler]) -> None:
    towers = free_towers()
    step = step_of(towers, torch.arange(NUM_ITEMS), RetrievalLoss(samplers, loss="bpr"))
    loss = step(Batch({"user": torch.tensor([0, 1]), "item": torch.tensor([3, 3])}), torch.Generator().manual_seed(0))
    loss.backward()
    assert 0.0 < loss.item() < 3.0


def test_an_items_features_are_those_of_its_first_row_in_the_batch() -> None:
    price = ColumnSchema("price", "float32", Tags.CONTINUOUS).with_tags(Tags.ITEM)
    tables = EmbeddingTables([USER, ITEM], EmbeddingOptions(embedding_dim_default=2))
    seen = []

    class Spy(Tower):
        def forward(self, features):  # type: ignore[no-untyped-def]
            seen.append({name: tensor.tolist() for name, tensor in features.items()})
            return super().forward(features)

    schema = Schema([ITEM, price])
    towers = TwoTowers(tables, Tower(Schema([USER]), tables), Spy(schema, tables, layers=torch.nn.Linear(3, 2)))
    step = RetrievalStep(
        towers,
        RetrievalLoss([InBatchSampler()]),
        item_schema=schema,
        item_id="item",
        item_ids=torch.tensor([3, 7, 8]),
        item_counts=torch.tensor([1, 2, 1]),
        item_features={},
    )
    features = {
        "user": torch.tensor([0, 1, 2]),
        "item": torch.tensor([8, 3, 8]),
        "price": torch.tensor([0.5, 1.5, 2.5]),
    }
    step(Batch(features), torch.Generator())
    assert seen == [{"item": [3, 8], "price": [1.5, 0.5]}]


def test_an_unknown_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"compile: there is no loss 'sofmax'\. Did you mean 'softmax'\?"):
        RetrievalLoss([InBatchSampler()], loss="sofmax")


def test_no_sampler_is_no_training() -> None:
    with pytest.raises(SettingError, match=r"samplers: none is given, .* Give \[InBatchSampler\(\)\]"):
        RetrievalLoss([])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(SettingError, match=r"logits_temperature: it is .*\. Choose a number above 0"):
        RetrievalLoss([InBatchSampler()], temperature=temperature)
