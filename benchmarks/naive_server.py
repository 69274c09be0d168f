"""What a team writes in an afternoon, and honestly so: FastAPI, the trained models in torch, pandas for all look-ups.

Nothing is slow on purpose: frames are indexed by id, item vectors are encoded once when it starts, the nearest are
found by one matrix product and `topk` (an exact search), the user's features are repeated for all candidates and the
ranker takes them as one batch without gradients. It knows the same models, items, users and seen items as the bundle.

    python naive_server.py BUNDLE PORT NUM_CANDIDATES NUM_RANKED
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from tamis import Recommender
from tamis.nn.inputs import split_inputs
from tamis.recommender.sources.retrieval_source import Retrieval


class Asked(BaseModel):
    users: list[int]
    k: int = 10


class Naive:
    """Models and frames.

    Args:
        bundle: of both stages, or of retrieval alone.
        num_candidates: that retrieval gives.
        num_ranked: of these, how many the ranker sees.
    """

    def __init__(self, bundle: Path, num_candidates: int, num_ranked: int) -> None:
        recommender = Recommender.load(bundle, verify=False, runtime="torch")
        self.num_candidates, self.num_ranked = num_candidates, num_ranked
        source = recommender.sources[0]
        assert isinstance(source, Retrieval)
        self.query_tower: Any = source.query_encoder
        self.items = _pandas(recommender.catalogue.features)
        self.item_ids = recommender.catalogue.ids.to_numpy()
        self.users = _pandas(recommender.audience.features)
        self.users.index = pd.Index(recommender.audience.ids.to_numpy())
        rows = recommender.interactions
        seen = pd.DataFrame({"user": rows.users, "item": rows.items})
        self.seen = {int(user): group.to_numpy() for user, group in seen.groupby("user")["item"]}
        self.row_of_user = {int(user): row for row, user in enumerate(self.users.index)}
        self.vectors = torch.as_tensor(source.vectors_of(recommender.catalogue, np.arange(len(self.items))))
        self.tower_columns = self.query_tower.schema.column_names
        self.ranker: Any = None if recommender.ranker is None else recommender.ranker.model
        self.ranker_columns = [] if self.ranker is None else self.ranker.input_schema.column_names
        schemas = [self.query_tower.schema, *([] if self.ranker is None else [self.ranker.input_schema])]
        self.codes = {column.name for schema in schemas for column in split_inputs(schema)[0]}
        first = recommender.queries([int(self.users.index[0])]).features.to_pandas().iloc[0]
        self.context = {name: first[name] for name in first.index if name not in self.users.columns}

    @torch.inference_mode()
    def recommend(self, user: int, k: int) -> list[dict[str, Any]]:
        features = self.users.loc[user]
        query = self.query_tower({name: self._tensor(name, [features[name]]) for name in self.tower_columns})
        scores = self.vectors @ query[0]
        scores[torch.from_numpy(self.seen.get(self.row_of_user[user], np.zeros(0, np.int64)))] = -torch.inf
        best = torch.topk(scores, self.num_candidates)
        rows, values = best.indices.numpy(), best.values.numpy()
        if self.ranker is not None:
            rows = rows[: self.num_ranked]
            values = self._ranked(features, rows)
            order = np.argsort(-values)
            rows, values = rows[order], values[order]
        first = zip(rows[:k], values[:k], strict=True)
        return [{"id": int(self.item_ids[row]), "score": float(value)} for row, value in first]

    def _ranked(self, features: pd.Series, rows: np.ndarray) -> np.ndarray:
        frame = self.items.iloc[rows].reset_index(drop=True)
        frame = frame.assign(**features.to_dict(), **self.context)
        batch = {name: self._tensor(name, frame[name].to_numpy()) for name in self.ranker_columns}
        return self.ranker.activated(self.ranker.network(batch))[:, 0].numpy()  # type: ignore[no-any-return]

    def _tensor(self, name: str, values: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values, np.int64 if name in self.codes else np.float32))


def _pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})


def main() -> None:
    bundle, port, num_candidates, num_ranked = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    torch.set_num_threads(1)  # as many requests as there are cores are at work
    naive, app = Naive(bundle, num_candidates, num_ranked), FastAPI()

    @app.post("/v1/recommend")
    def recommend(asked: Asked) -> dict[str, Any]:
        return {"results": [{"user": user, "items": naive.recommend(user, asked.k)} for user in asked.users]}

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
