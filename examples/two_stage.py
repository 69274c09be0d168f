# %% [markdown]
# # Two-stage recommender systems: the retrieval stage
#
# With millions of items, a fast **retrieval** model first picks hundreds of candidates out of the whole catalogue, then
# a stronger **ranking** model orders them. This notebook builds the first stage, a two-tower model, on data like
# Ali-CCP (Alibaba's click and conversion prediction data):
#
# - preparing the data with a feature workflow,
# - training and judging a two-tower model,
# - exporting what a server needs: the query tower, user and item features, item embeddings.
#
# It follows NVIDIA Merlin's notebook "Two-Stage Recommender Systems" cell by cell. What had to change:
#
# | Merlin | Tamis | why |
# |---|---|---|
# | `import nvtabular as nvt`, `import merlin.models.tf as mm`, `from merlin.io.dataset import Dataset`, ... | `import tamis` | one package |
# | `from nvtabular.ops import *` | `from tamis.ops import ...` | |
# | `from merlin.schema.tags import Tags` | `from tamis import Tags` | |
# | `from merlin.datasets.synthetic import generate_data` | `from tamis.datasets import generate_data` | |
# | `generate_data(...)` writes to a folder the user must know | `generate_data(..., path=DATA_FOLDER)` | returns what it wrote |
# | `import tensorflow as tf`, silencing its log | nothing | torch is quiet |
# | `nvt.Dataset(glob)`, then `Dataset(glob, engine="parquet")` | `Dataset(glob)` | one Dataset for features and models |
# | `from merlin.datasets.ecommerce import transform_aliccp` | `from tamis.datasets import transform_aliccp` | |
# | `mm.TwoTowerModel(...)` | `tamis.TwoTowerModel(...)` | the same arguments |
# | `model.compile(optimizer="adam", run_eagerly=False, metrics=[...])` | the same | metrics are over the whole catalogue |
# | `model.fit(train, validation_data=valid, ...)` | the same | validation measures the catalogue, not sampled items |
# | `model.retrieval_block.query_block()` | `model.query_encoder` | |
# | `unique_rows_by_features(...).compute().reset_index(drop=True)` | `unique_rows_by_features(...).compute()` | frames have no index |
# | `model.item_embeddings(...).compute(scheduler="synchronous")` | `model.item_embeddings(...).compute()` | no scheduler |
# | `item_embs_df.iloc[:, 4:]` | `item_embs_df[:, 4:]` | a Polars frame |

# %%
import os
from pathlib import Path

import tamis
from tamis import Dataset, Tags
from tamis.datasets import generate_data, transform_aliccp
from tamis.ops import Categorify, Filter, TagAsItemFeatures, TagAsItemID, TagAsUserFeatures, TagAsUserID

# %% [markdown]
# ## Feature engineering
#
# Synthetic train and validation data. By default it has a planted truth: users have tastes, items have qualities, and
# clicks follow them, so there is something to learn. `signal=0` gives independent draws, in which only popularity can
# be learned.

# %%
DATA_FOLDER = Path(os.environ.get("DATA_FOLDER", "data"))
NUM_ROWS = int(os.environ.get("NUM_ROWS", 1_000_000))
EPOCHS = int(os.environ.get("EPOCHS", 3))

train, valid = generate_data("aliccp-raw", NUM_ROWS, set_sizes=(0.7, 0.3), path=DATA_FOLDER / "raw")
output_path = DATA_FOLDER / "processed"

# %% [markdown]
# Ids and features become codes; tags say what each column is. Only clicks are kept: they are the positives.

# %%
user_id = ["user_id"] >> Categorify() >> TagAsUserID()
item_id = ["item_id"] >> Categorify() >> TagAsItemID()

item_features = ["item_category", "item_shop", "item_brand"] >> Categorify() >> TagAsItemFeatures()

user_features = (
    [
        "user_shops",
        "user_profile",
        "user_group",
        "user_gender",
        "user_age",
        "user_consumption_2",
        "user_is_occupied",
        "user_geography",
        "user_intentions",
        "user_brands",
        "user_categories",
    ]
    >> Categorify()
    >> TagAsUserFeatures()
)

inputs = user_id + item_id + item_features + user_features + ["click"]

outputs = inputs >> Filter(f=lambda df: df["click"] == 1)

# %% [markdown]
# Fit on the training rows, transform both sets, write parquet and the workflow.

# %%
transform_aliccp((train, valid), output_path, nvt_workflow=outputs)

# %% [markdown]
# ## Building a two-tower model

# %%
train = Dataset(output_path / "train" / "*.parquet")
valid = Dataset(output_path / "valid" / "*.parquet")

schema = train.schema
schema = schema.select_by_tag([Tags.ITEM_ID, Tags.USER_ID, Tags.ITEM, Tags.USER])

# %%
schema.column_names

# %% [markdown]
# No targets are left: each row is a positive, and the other rows' items are its negatives (in-batch sampling). Popular
# items come up as negatives more often; the logQ correction, on by default, takes that out of the scores again.

# %%
label_names = schema.select_by_tag(Tags.TARGET).column_names
label_names

# %%
model = tamis.TwoTowerModel(
    schema,
    query_tower=tamis.MLPBlock([128, 64], no_activation_last_layer=True),
    samplers=[tamis.InBatchSampler()],
    embedding_options=tamis.EmbeddingOptions(infer_embedding_sizes=True),
)

# %% [markdown]
# Recall@10 says which share of a user's held-out items is among the first ten of the whole catalogue; NDCG@10 also
# looks at their ranks. The names that begin with `popularity_` are the same metrics of a list of the ten most popular
# items: what a model must beat.

# %%
model.compile(optimizer="adam", run_eagerly=False, metrics=[tamis.RecallAt(10), tamis.NDCGAt(10)])
history = model.fit(train, validation_data=valid, batch_size=4096, epochs=EPOCHS)
history

# %% [markdown]
# ## Exporting the retrieval model
#
# A server answers a query with the query tower and an index over the item embeddings.

# %%
query_tower = model.query_encoder
query_tower.save(DATA_FOLDER / "query_tower")

# %% [markdown]
# User and item features, one row per id:

# %%
user_features = tamis.unique_rows_by_features(train, Tags.USER, Tags.USER_ID).compute()
user_features.write_parquet(DATA_FOLDER / "user_features.parquet")
user_features.head()

# %%
item_features = tamis.unique_rows_by_features(train, Tags.ITEM, Tags.ITEM_ID).compute()
item_features.write_parquet(DATA_FOLDER / "item_features.parquet")
item_features.head()

# %% [markdown]
# Item embeddings: the feature columns first, then one column per dimension.

# %%
item_embs = model.item_embeddings(Dataset(item_features, schema=schema.select_by_tag(Tags.ITEM)), batch_size=1024)
item_embs_df = item_embs.compute()
item_embeddings = item_embs_df[:, 4:]
item_embeddings.write_parquet(DATA_FOLDER / "item_embeddings.parquet")
item_embeddings.head()

# %% [markdown]
# ## And on
#
# The query tower and an index as one object: the ten best items of the first three users.

# %%
top_k = model.to_top_k_encoder(k=10)
recommended = top_k.predict(user_features.head(3)).compute()
recommended
