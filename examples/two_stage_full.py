# %% [markdown]
# # Two-stage recommender systems, whole: features, retrieval, ranking, serving
#
# A large shop answers "what may this user like now?" in stages: **retrieval** picks a hundred candidates out of the
# whole catalogue, **filters** take out what must not be shown, **ranking** scores the rest, **ordering** makes the list.
# NVIDIA Merlin's example "Building and deploying multi-stage recommender systems" builds this on synthetic Ali-CCP:
# NVTabular features, a DLRM trained on clicks, a two-tower model, Feast for features, FAISS for candidates, and a Triton
# ensemble `user id -> Feast -> query tower -> FAISS, 100 items -> Feast -> features unrolled -> DLRM -> softmax sampling
# -> 10 ids`. This notebook builds the same in one package, here and then on MovieLens-1M.
#
# Some of what Merlin's two notebooks do is wrong, and a port has to know it:
#
# | Merlin's example | what goes wrong | what stands here |
# |---|---|---|
# | builds a filter that keeps clicks, and never puts it into a workflow | the two towers learn from rows that nobody clicked, and nothing says so | each model says which rows it learns from, and why: see "The two stages" |
# | fits the encoding workflow again, on data that it has encoded already | the towers know other codes than the saved workflow gives | one workflow, fitted once |
# | `SoftmaxSampling(temperature=0.00000001)` | its temperature is an inverse one, so the final order is practically random | `SoftmaxSampling(temperature=0)` keeps the order, more means more chance |
# | weights `exp(T * s) / sum(s)` | scores whose sum is negative reverse the order, large ones overflow | Gumbel noise on scores: adding a constant changes nothing |
# | the index gives ids without scores, always IVF32 with 8 probes | what it misses is not known; the first stage's knowledge is thrown away | an index tuned to a measured recall; scores of both stages in the answer, and in the order |
# | an index with fewer than 100 items left answers -1 | -1 goes to the feature store, which crashes | shorter lists |
# | a user or item that the feature store lacks | crashes | answered from features, else with popular items, and marked so |
# | candidates of a request are flattened | one user per request | any number of users |
# | `UnrollFeatures` repeats the user's features for each candidate | the same sums 100 times | the user's part is computed once |
# | what was seen may come again; a filter exists, the example does not use it | | `SeenItems()` by default |
# | validation metrics over sampled items, none of the whole | nobody knows what the pipeline is worth | the funnel: what each stage keeps and loses, with intervals |
# | the ensemble is saved by cloudpickle, into a container with TensorFlow, Feast and Triton | loading runs code of the folder | a folder of parquet, JSON and tensors with checksums, which answers its own requests again before use |

# %%
import os
from pathlib import Path

import numpy as np
import polars as pl

import tamis
from tamis import (
    Adam,
    Dataset,
    EarlyStopping,
    EmbeddingOptions,
    ItemItem,
    MLPBlock,
    NDCGAt,
    Recommender,
    Retrieval,
    Tags,
    Workflow,
    datasets,
    ranking_rows,
)
from tamis.ops import AddTags, Categorify, TagAsItemFeatures, TagAsItemID, TagAsUserFeatures, TagAsUserID
from tamis.recommender.found_positives import found_positives
from tamis.recommender.ordering import SoftmaxSampling
from tamis.recommender.stage_mix import choose_mix

DATA_FOLDER = Path(os.environ.get("DATA_FOLDER", "data"))
NUM_ROWS = int(os.environ.get("NUM_ROWS", 300_000))
EPOCHS = int(os.environ.get("EPOCHS", 6))

# %% [markdown]
# # Synthetic Ali-CCP
#
# A row is an impression: a user, an item that was shown, and whether the user clicked. The data has a planted truth, so
# the best possible lists are known too. The second part chooses settings, the third is looked at once, at the end.

# %%
train, valid, test = datasets.generate_data("aliccp-raw", NUM_ROWS, (0.7, 0.1, 0.2), path=DATA_FOLDER / "raw")
train.head(3)

# %% [markdown]
# ## Features
#
# One workflow for both stages, fitted on the training rows alone. The click stays a column: it is what the ranker is to
# predict, and `TARGET` says so.

# %%
USER_FEATURES = ["user_profile", "user_group", "user_gender", "user_age", "user_consumption_2", "user_is_occupied"]
USER_FEATURES += ["user_geography", "user_shops", "user_brands", "user_categories", "user_intentions"]
ITEM_FEATURES = ["item_category", "item_shop", "item_brand"]

user = (["user_id"] >> Categorify() >> TagAsUserID()) + (USER_FEATURES >> Categorify() >> TagAsUserFeatures())
item = (["item_id"] >> Categorify() >> TagAsItemID()) + (ITEM_FEATURES >> Categorify() >> TagAsItemFeatures())
click = ["click"] >> AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])

workflow = Workflow(user + item + click).fit(train)
shown, shown_valid = (
    workflow.transform(part).to_parquet(DATA_FOLDER / "coded" / name)
    for part, name in ((train, "train"), (valid, "valid"))
)
clicked = shown.filter(pl.col("click") == 1)
shown.num_rows, clicked.num_rows

# %% [markdown]
# ## The two stages
#
# The chance that a user's next click is on an item is the chance to **meet** it times the chance to **click** it once it
# is met. So the first stage learns from all impressions which items users meet: two and a half times the rows that
# clicks are. The second learns on the same rows which of the items met are clicked. Each knows what the other does not,
# and the order of the list multiplies both.

# %%
towers = tamis.TwoTowerModel(
    shown.schema.select_by_tag([Tags.USER, Tags.ITEM]),
    query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
    embedding_options=EmbeddingOptions(infer_embedding_sizes=True),
)
towers.compile(learning_rate=0.005, metrics=[NDCGAt(10)])
towers.fit(shown, validation_data=shown_valid, batch_size=1024, epochs=EPOCHS, callbacks=[EarlyStopping(patience=1)])

# %%
ranker = tamis.DLRMModel(
    shown.schema,
    embedding_options=EmbeddingOptions(embedding_dim_default=16, init_std=0.05),
    top_block=MLPBlock([64, 32]),
)
ranker.compile(Adam(0.003), embedding_l2=3e-5, metrics=["auc", "gauc"])
ranker.fit(shown, shown_valid, batch_size=2048, epochs=3, callbacks=[EarlyStopping("val_gauc", patience=0)])

# %% [markdown]
# ## Both as one object
#
# `fit` takes the clicks: what counts as seen and as popular. How much the retrieval score counts beside the ranker's is
# chosen on validation rows; near 1 is what the reasoning above says. The ranker alone is much worse than either: of the
# hundred candidates it knows which would be clicked, and nothing of how likely each is to be met.

# %%
items = train.select(["item_id", *ITEM_FEATURES])
both = Recommender(Retrieval(towers), ranker=ranker).fit(workflow, clicked, items=items)
mix = choose_mix(both, valid, exclude_seen=False)
mix.table

# %%
recommender = Recommender(Retrieval(towers), ranker=ranker, ordering=mix.ordering).fit(workflow, clicked, items=items)
recommender

# %% [markdown]
# ## The funnel
#
# What the test rows' clicks lose at each stage, what the lists are worth beside each stage alone, the most popular items
# and the best possible lists; intervals are by bootstrap over users.

# %%
world = datasets.oracle_of("aliccp-raw", NUM_ROWS)
best = {"exclude_seen": False, "oracle": lambda users: world.best_items(np.asarray(users), 10)}
funnel = recommender.funnel(test, **best)
print(funnel)

# %% [markdown]
# Is it better than a first stage of clicks alone, as Merlin's example meant to have it? The same users, one by one:

# %%
of_clicks = tamis.TwoTowerModel(
    shown.schema.select_by_tag([Tags.USER, Tags.ITEM]),
    query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
    embedding_options=EmbeddingOptions(infer_embedding_sizes=True),
)
of_clicks.compile(learning_rate=0.01, metrics=[NDCGAt(10)])
of_clicks.fit(
    clicked,
    validation_data=shown_valid.filter(pl.col("click") == 1),
    batch_size=1024,
    epochs=EPOCHS,
    callbacks=[EarlyStopping(patience=0)],
)
alone = Recommender(of_clicks).fit(workflow, clicked)
funnel.compare({"towers of clicks": alone.funnel(test, **best)})

# %% [markdown]
# ## A folder, and back
#
# The folder holds all that a server needs. Loading compares checksums and answers a dozen requests that were saved with
# their answers.

# %%
recommender.save(DATA_FOLDER / "recommender", metrics={name: funnel[name] for name in funnel.metrics})
recommender = Recommender.load(DATA_FOLDER / "recommender")

# %% [markdown]
# Several users at once, by id. What they clicked before is left out.

# %%
users = train.head(1000)["user_id"].unique(maintain_order=True).head(2).to_list()
found = recommender.recommend(users, 5, show=ITEM_FEATURES)
found

# %% [markdown]
# With a condition on item columns, which is pushed into the index:

# %%
category = found["item_category"][0]
recommender.recommend(users, 5, filters=f"item_category != {category}", show=["item_category"])

# %% [markdown]
# A user that nobody knows gets the most popular items, marked so in `sources`; one of whom only features are known is
# answered by both stages:

# %%
recommender.recommend([-1], 3)

# %%
features = train.head(1).select(USER_FEATURES)
recommender.recommend(features, 3)

# %% [markdown]
# Chance in the order, as Merlin's example wanted it, so that not everybody sees the same few items. The temperature is
# in units of the score; 0 keeps the order.

# %%
explore = Recommender(Retrieval(towers), ranker=ranker, ordering=[*mix.ordering, SoftmaxSampling(20.0, seed=1)])
explore.fit(workflow, clicked, items=items).recommend(users, 3)

# %% [markdown]
# A new item, without training: it has no code of its own, but the item tower reads its category, shop and brand.

# %%
like = items.head(1).with_columns(item_id=pl.lit(99_999_999, pl.Int64))
recommender.upsert_items(like)
recommender.recommend(users, 3, filters="item_id == 99999999", show=ITEM_FEATURES)

# %% [markdown]
# # MovieLens-1M
#
# Real data: 6,040 users, each one's films in the order of the ratings. A user's last film is the test, the one before it
# the validation; all films are ranked, those seen left out. Nobody logged what was shown and not watched, so the ranker
# learns from candidates that were not taken. Download
# [ml-1m.zip](https://grouplens.org/datasets/movielens/1m/), unpack it, and set `MOVIELENS_FOLDER` to the folder.

# %%
tables = datasets.movielens("1m", os.environ.get("MOVIELENS_FOLDER", "ml-1m"))
rows = tables.interactions.scan().select("user_id", "movie_id", "position")
for table, key in ((tables.users, "user_id"), (tables.items, "movie_id")):
    rows = rows.join(table.scan(), on=key, maintain_order="left")
train, valid, test = tamis.leave_last_out(Dataset(rows), user="user_id", order="position")

user = (["user_id"] >> Categorify() >> TagAsUserID()) + (
    ["gender", "age", "occupation"] >> Categorify() >> TagAsUserFeatures()
)
item = (["movie_id"] >> Categorify() >> TagAsItemID()) + (["genres", "year"] >> Categorify() >> TagAsItemFeatures())
workflow = Workflow(user + item).fit(train)
coded, coded_valid = (workflow.transform(part).compute() for part in (train, valid))
place = train.compute().select(pl.col("position").max().over("user_id") - pl.col("position")).to_series()  # 0: the last


def part(newest: int, oldest: int) -> Dataset:
    """Each user's encoded training rows from the `newest` last on, before the `oldest` last."""
    return Dataset(coded.filter((place >= newest) & (place < oldest)), schema=workflow.output_schema)


# %% [markdown]
# ## Two sources, two periods
#
# Item-item weights with a short memory are strong here, where the next film goes with the last few; towers see age,
# genres and years. A first stage that learned from the very films whose candidates the ranker is trained on would find
# them too easily. So a first one learns without each user's latest five training films, finds candidates for these, and
# the ranker learns which of them was taken; then both sources learn from all training films. Films that are not among
# the candidates are no rows: from them a ranker would learn that what retrieval holds for unlikely is what people take.

# %%
FOREVER = 1_000_000
NUM_LATE = 5


def sources(newest: int) -> list:
    """What learns from films before the `newest` last; the towers from ten each, since taste changes."""
    model = tamis.TwoTowerModel(
        workflow.output_schema,
        query_tower=MLPBlock([256, 128], no_activation_last_layer=True),
        embedding_options=EmbeddingOptions(embedding_dim_default=128, init_std=0.05),
        l2_normalization=True,
        logits_temperature=0.1,
    )
    model.compile(learning_rate=0.003)
    everything = part(0, FOREVER)
    model.fit(part(newest, newest + 10), items=everything, batch_size=4096, epochs=2 * EPOCHS)
    return [ItemItem(half_life=3, l2=1000), Retrieval(model)]


before = part(NUM_LATE, FOREVER)
first_stage = Recommender(sources(NUM_LATE)).fit(workflow, before)
learned = ranking_rows(
    found_positives(part(0, NUM_LATE), first_stage),
    first_stage,
    DATA_FOLDER / "ranking_rows",
    trained_on=before,
    num_negatives=10,
    target="taken",
)
learned.head(3)

# %%
film_ranker = tamis.DeepFMModel(
    learned.schema, MLPBlock([64, 32]), embedding_options=EmbeddingOptions(embedding_dim_default=16, init_std=0.02)
)
film_ranker.compile(Adam(0.002), embedding_l2=1e-5)
film_ranker.fit(learned, batch_size=4096, epochs=2)

# %% [markdown]
# ## What it is worth
#
# The ranker's weight is chosen on the validation films, on what was known before them; the test is judged with them
# known.

# %%
last_stage = sources(0)
both = Recommender(last_stage, ranker=film_ranker).fit(workflow, part(0, FOREVER))
mix = choose_mix(both, valid)
mix.table

# %%
known = Dataset(pl.concat([coded, coded_valid]), schema=workflow.output_schema)
films = tables.items.select(["movie_id", "title", "year", "genres"])
movies = Recommender(last_stage, ranker=film_ranker, ordering=mix.ordering).fit(workflow, known, items=films)
movies.save(DATA_FOLDER / "movies")
film_funnel = movies.funnel(test)
print(film_funnel)

# %%
film_funnel.to_html(DATA_FOLDER / "funnel.html")
movies.recommend(train.head(1)["user_id"].to_list(), 10, filters="year > 1980", show=["title", "year"])
