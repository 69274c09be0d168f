"""Writes tests/data/bundle-v<format version>, the example that must stay loadable for good.

`python tests/make_example_bundle.py` with an empty place: an example that is there is never replaced. A new format
version gets an example beside the old ones.
"""

from pathlib import Path

from tamis import Dataset, EmbeddingOptions, ItemItem, MLPBlock, MLPModel, Popular, Recommender, TwoTowerModel
from tamis.recommender.filters import Available, SeenItems
from tamis.recommender.ordering import MMR, ByScore
from tamis.recommender.recommender_folder import VERSION
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.schema import Tags
from two_stage_world import clicks, fitted, impressions, raw_items

EXAMPLES = Path(__file__).parent / "data"


def example() -> Recommender:
    """Three sources, filters, a ranker and an ordering, all small."""
    workflow, rows, _, _ = fitted()
    few = EmbeddingOptions(embedding_dim_default=4)
    towers = TwoTowerModel(
        rows.schema.select_by_tag([Tags.USER, Tags.ITEM]),
        query_tower=MLPBlock([8], no_activation_last_layer=True),
        embedding_options=few,
    )
    towers.fit(clicks(), epochs=8, batch_size=256, verbose=False)
    ranker = MLPModel(rows.schema, mlp=MLPBlock([8]), embedding_options=few)
    ranker.fit(rows, epochs=4, batch_size=256, verbose=False)
    recommender = Recommender(
        [Retrieval(towers, quota=20), ItemItem("knn", quota=10), Popular(by="age", quota=10)],
        filters=[SeenItems(), Available("in_stock")],
        ranker=ranker,
        ordering=[ByScore(), MMR(0.1, by=["category"])],
        context={"hour": 12},
    )
    return recommender.fit(workflow, clicks(), items=raw_items())


if __name__ == "__main__":
    place = EXAMPLES / f"bundle-v{VERSION}"
    if place.exists():
        raise SystemExit(f"{place} is there already, and has to stay as it is.")
    made = example()
    made.save(place, metrics=made.evaluate(Dataset(impressions(2000, seed=1)), metrics=["ndcg_at_5"]))
    print(f"Wrote {place}: {sum(file.stat().st_size for file in place.rglob('*') if file.is_file()):,} bytes")
