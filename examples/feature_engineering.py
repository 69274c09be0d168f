# %% [markdown]
# # Feature engineering: from raw logs to a model's inputs
#
# A shop's log of views and clicks and a table of its items, with gaps, texts, lists and times: what data looks like
# before anything has been done to it. This notebook
#
# - looks at the data,
# - builds a graph of ops and explains it,
# - writes training and validation features,
# - saves the graph, loads it, and answers a single request with it in microseconds,
# - takes in the rows of a new day without losing what the codes mean,
# - trains a two-tower model on what came out.
#
# The data is written below, so that everything runs on its own. With
# [MovieLens-1M](https://grouplens.org/datasets/movielens/1m/), `tamis.datasets.MovieLens` gives ratings, users and
# films that go the same way.

# %%
import os
from pathlib import Path

import numpy as np
import polars as pl

import tamis
from tamis import Dataset, Subgraph, Tags, Workflow
from tamis.ops import (
    AddTags,
    Bucketize,
    Categorify,
    Clip,
    DataStats,
    DateParts,
    FillMedian,
    FillMissing,
    Filter,
    HashedCross,
    HistorySequence,
    JoinExternal,
    JoinGroupby,
    ListSlice,
    LogOp,
    Normalize,
    Recency,
    Rename,
    RollingCount,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
    TargetEncoding,
    TextEmbedding,
)

# %% [markdown]
# ## Raw data
#
# Users have a taste for one kind of item and come back every few days; some fields are missing, as ever.

# %%
DATA_FOLDER = Path(os.environ.get("DATA_FOLDER", "data"))
NUM_ROWS = int(os.environ.get("NUM_ROWS", 200_000))
EPOCHS = int(os.environ.get("EPOCHS", 2))

random = np.random.default_rng(seed=42)
KINDS = ["tea", "coffee", "bread", "cheese", "fruit"]
NUM_USERS, NUM_ITEMS = max(NUM_ROWS // 40, 50), 200

kind = random.integers(len(KINDS), size=NUM_ITEMS)
items = pl.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(NUM_ITEMS)],
        "title": [f"{random.choice(['green', 'fine', 'old'])} {KINDS[k]}" for k in kind],
        "price": [None if n % 10 == 0 else round(random.lognormal(1, 1), 2) for n in range(NUM_ITEMS)],
        "labels": [["bio", "new", "sale"][: n % 4] for n in range(NUM_ITEMS)],
    }
)

user = random.zipf(1.3, NUM_ROWS) % NUM_USERS
item = (NUM_ITEMS * random.random(NUM_ROWS) ** 2).astype(int)
likes = kind[item] == user % len(KINDS)
second = np.sort(random.integers(60 * 86_400, size=NUM_ROWS))
log = pl.DataFrame(
    {
        "user_id": user,
        "item_id": [f"i{n}" for n in item],
        "at": pl.from_epoch(pl.Series(1_704_067_200 + second)),
        "age": [None if n % 7 == 0 else int(18 + n % 60) for n in user],
        "country": [["fr", "de", "it", None][n % 4] for n in user],
        "device": random.choice(["phone", "laptop"], NUM_ROWS),
        "click": (random.random(NUM_ROWS) < np.where(likes, 0.6, 0.1)).astype(np.int8),
    }
)
log.write_parquet(DATA_FOLDER / "log.parquet", mkdir=True)
items.write_parquet(DATA_FOLDER / "items.parquet")
log.head()

# %% [markdown]
# ## A look at it
#
# On the command line, `tamis inspect data/log.parquet --write-schema` prints what each column holds and what looks
# wrong, and writes the tags that it proposes to `schema.json`, to be corrected by hand. In a program, an op puts the
# same kind of facts into the schema:

# %%
looked_at = Workflow(["*"] >> DataStats()).fit(Dataset(log)).output_schema
pl.DataFrame([{"column": c.name, "dtype": c.dtype, **c.properties["stats"]} for c in looked_at], strict=False)

# %% [markdown]
# The last fifth of the time is for validation: a model is always asked about what comes later.

# %%
train, valid = tamis.split_by_time(Dataset(DATA_FOLDER / "log.parquet"), "at", fractions=(0.8, 0.2))
train.num_rows, valid.num_rows

# %% [markdown]
# ## The graph
#
# What is known of the user: who, how old (gaps filled with the median, then in steps), where from. And what the user did
# before the moment of the row: how long ago, how often, with which items. These look only at training rows that are
# earlier than the row itself.

# %%
user_id = ["user_id"] >> Categorify() >> TagAsUserID()
profile = (["age"] >> FillMedian() >> Bucketize([25, 40, 60])) + (["country"] >> Categorify())
recency = ["user_id"] >> Recency("at") >> FillMissing(30 * 86_400.0) >> LogOp() >> Normalize()
activity = ["user_id"] >> RollingCount("at", ["1d", "7d"]) >> LogOp() >> Normalize()

item_code = ["item_id"] >> Categorify()
history = item_code >> HistorySequence("user_id", "at", length=10)

user = Subgraph("user", user_id + ((profile + recency + activity + history) >> TagAsUserFeatures()))

# %% [markdown]
# What is known of the item: the items table is joined by key. Titles become vectors, labels become lists of codes,
# prices are filled, tamed and scaled. How often an item was seen is known from the training rows.

# %%
of_items = ["item_id"] >> JoinExternal(DATA_FOLDER / "items.parquet", on="item_id")
title = of_items["title"] >> TextEmbedding(16)
labels = of_items["labels"] >> Categorify() >> ListSlice(3)
price = of_items["price"] >> FillMedian() >> Clip(max_value=100) >> LogOp() >> Normalize()
popularity = ["item_id"] >> JoinGroupby(stats="count") >> LogOp() >> Normalize()

item = Subgraph("item", (item_code >> TagAsItemID()) + ((title + labels + price + popularity) >> TagAsItemFeatures()))

# %% [markdown]
# What is known of the moment, and of things together. These are for a ranking model, which sees user, item and moment
# at once. `TargetEncoding` says how often the user's country and the item went with a click; a training row never sees
# its own.

# %%
moment = ["at"] >> DateParts(["hour", "weekday"])
where = [["country", "device"]] >> HashedCross(16)
quality = [["country", "item_id"]] >> TargetEncoding("click") >> Rename(name="click_rate")

context = (moment + where + quality) >> AddTags(Tags.CONTEXT)
target = ["click"] >> AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])

# %% [markdown]
# A workflow shows itself as a picture; `explain` says what `fit` will do.

# %%
workflow = Workflow(user + item + context + target)
workflow

# %%
workflow.explain()

# %% [markdown]
# ## Fit and transform
#
# Everything that ops of one level want to know is found in one streaming pass. What comes out is written as parquet,
# with the schema beside it. The training rows are recognised: they get the values of `TargetEncoding` in which they have
# no part themselves. Validation rows see what was learned from the training rows, and of a user's past only that in
# them, as a server does that is not updated.

# %%
workflow.fit(train)
train_features = workflow.transform(train).to_parquet(DATA_FOLDER / "features" / "train")
valid_features = workflow.transform(valid).to_parquet(DATA_FOLDER / "features" / "valid")
train_features.schema

# %%
train_features.head(3)

# %%
workflow.explain()

# %% [markdown]
# ## Save, load, answer a request
#
# A saved workflow is a folder of JSON and parquet. A request has no target, so that goes first; the user's part alone is
# what a query tower needs.

# %%
workflow.save(DATA_FOLDER / "workflow")
loaded = Workflow.load(DATA_FOLDER / "workflow")
online = loaded.remove_inputs("click").online()
request = log.drop("click").row(-1, named=True)
online.transform(request)

# %%
loaded.get_subworkflow("user").online().transform(request)

# %% [markdown]
# ## A new day
#
# New users and items get the next codes, all others keep theirs; the logs of what users did grow. The answer says how
# many rows each embedding table of a trained model has to grow.

# %%
new_day = log.tail(NUM_ROWS // 100).with_columns(pl.col("user_id") % 10 + NUM_USERS, pl.col("at") + pl.duration(days=1))
growth = loaded.update(new_day)
growth

# %% [markdown]
# User 1 has the code that it had; user `NUM_USERS + 1`, unknown before (code 2), has one of its own now.

# %%
[one.encode("user_id", [1, NUM_USERS + 1]).to_list() for one in (workflow, loaded)]

# %% [markdown]
# ## Into a model
#
# Retrieval learns from clicks, so a filter comes last. Everything that the model needs to know is in the schema.

# %%
clicks = Workflow(["*"] >> Filter(lambda df: df["click"] == 1)).fit(train_features)
train_clicks, valid_clicks = clicks.transform(train_features), clicks.transform(valid_features)

schema = train_features.schema.select_by_tag([Tags.USER, Tags.ITEM])
model = tamis.TwoTowerModel(schema, query_tower=tamis.MLPBlock([64, 32], no_activation_last_layer=True))
model.compile(optimizer="adam", metrics=[tamis.RecallAt(10), tamis.NDCGAt(10)])
model.fit(train_clicks, validation_data=valid_clicks, batch_size=1024, epochs=EPOCHS)
