"""The models of two other libraries on Frappe, run by the Python of an environment that has the library.

    frappe_others.py torch-rechub

Each line of standard input is a trial as JSON: `{"model": "DeepFM", "settings": {...}, "seed": 1, "test": false}`; each
line that it answers with begins with `{` and holds the best AUC of the held-out rows, its epoch, and, if asked for, the
AUC of `test` with the weights of that epoch. The libraries' own models, training steps and predictions; only batches
are cut here, a whole batch at a time instead of row by row, and the best weights are kept here.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from frappe_data import EPOCHS, LABEL, PATIENCE, Part, codes, read

Settings = dict[str, Any]
PARTS, SIZES = codes(read())
NAMES = list(SIZES)


class Batches:
    """Whole batches of a part's rows: a dict of code tensors, and the labels."""

    def __init__(self, part: Part, batch_size: int, seed: int | None = None) -> None:
        self.columns = {name: torch.from_numpy(part[name]) for name in NAMES}
        self.labels = torch.from_numpy(part[LABEL].astype(np.float32))
        self.batch_size, self.generator = batch_size, None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Any]]:
        num_rows, shuffled = len(self.labels), self.generator is not None
        order = torch.randperm(num_rows, generator=self.generator) if shuffled else torch.arange(num_rows)
        for rows in order.split(self.batch_size):
            yield {name: codes[rows] for name, codes in self.columns.items()}, self.labels[rows]


class Rechub:
    """torch-rechub. It has no models named LR and FM; those here are put together from its layers of these names."""

    def __init__(self, model: str, settings: Settings, seed: int) -> None:
        from torch_rechub.trainers import CTRTrainer

        self.network = self._network(model, settings)
        self.trainer = CTRTrainer(
            self.network,
            optimizer_params={"lr": settings["learning_rate"], "weight_decay": 0.0},
            regularization_params={"embedding_l2": settings["embedding_l2"]},
        )
        self.batches = Batches(PARTS["fit"], settings["batch_size"], seed)

    def epoch(self) -> None:
        """One pass over the rows."""
        self.trainer.train_one_epoch(self.batches)

    def predict(self, part: Part) -> Any:
        """The probability of each row."""
        return self.trainer.predict(self.network, Batches(part, 16_384))

    def _network(self, model: str, settings: Settings) -> Any:
        from torch_rechub.basic.features import SparseFeature
        from torch_rechub.basic.initializers import RandomNormal
        from torch_rechub.models.ranking import AutoInt, DCNv2, DeepFM

        start = RandomNormal(0, settings["init_std"])
        fields = [SparseFeature(name, SIZES[name], settings["embedding_dim"], initializer=start) for name in NAMES]
        if model in ("LR", "FM"):
            return _linear_and_pairs(fields, settings["embedding_dim"], pairs=model == "FM")
        dense = {"dims": settings["hidden"], "dropout": settings["dropout"]}
        if model == "DeepFM":
            return DeepFM(fields, fields, dense)
        if model == "DCN-v2":
            shape = {"model_structure": settings["structure"], "use_low_rank_mixture": False}
            return DCNv2(fields, settings["depth"], dense, **shape)
        shape = {"num_layers": settings["depth"], "num_heads": settings["num_heads"]}
        return AutoInt(fields, [], mlp_params=dense if settings["hidden"] else None, **shape)


def _linear_and_pairs(fields: list[Any], dim: int, *, pairs: bool) -> Any:
    from torch_rechub.basic.layers import FM, LR, EmbeddingLayer

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.linear, self.pairs = EmbeddingLayer(fields), LR(dim * len(fields)), FM()

        def forward(self, columns: dict[str, Any]) -> Any:
            vectors = self.embedding(columns, fields)
            logit = self.linear(vectors.flatten(1))
            return torch.sigmoid((logit + self.pairs(vectors) if pairs else logit).squeeze(1))

    return Model()


class DeepCTR:
    """deepctr-torch. Its LR is WDL, and its FM is DeepFM, without dense layers."""

    def __init__(self, model: str, settings: Settings, seed: int) -> None:
        # It asks the network for its newest version when it is imported; there is no network here to ask.
        sys.modules.setdefault("requests", ModuleType("requests"))
        from deepctr_torch.models import basemodel

        basemodel.DataLoader = _WholeBatches
        self.seed, self.settings, self.epochs = seed, settings, 0
        self.network = self._network(model)
        self.network.compile(
            torch.optim.Adam(self.network.parameters(), lr=settings["learning_rate"]), "binary_crossentropy"
        )

    def epoch(self) -> None:
        """One pass over the rows."""
        torch.manual_seed(1000 * self.seed + self.epochs)
        self.epochs += 1
        rows, labels = _inputs(PARTS["fit"]), PARTS["fit"][LABEL].astype(np.float32)
        self.network.fit(rows, labels, batch_size=self.settings["batch_size"], epochs=1, verbose=0)

    def predict(self, part: Part) -> Any:
        """The probability of each row."""
        return self.network.predict(_inputs(part), 16_384).ravel()

    def _network(self, model: str) -> Any:
        from deepctr_torch.inputs import SparseFeat
        from deepctr_torch.models import DCN, WDL, AutoInt, DeepFM

        settings = self.settings
        fields = [SparseFeat(name, SIZES[name], embedding_dim=settings.get("embedding_dim", 4)) for name in NAMES]
        # It adds the squares to the *sum* of the rows' losses: times the rows of a batch they weigh as for the others.
        l2 = settings["embedding_l2"] * settings["batch_size"]
        more: Settings = {"seed": self.seed, "init_std": settings["init_std"], "l2_reg_embedding": l2}
        if model != "AutoInt":
            more["l2_reg_linear"] = l2
        if model in ("LR", "FM"):
            return (WDL if model == "LR" else DeepFM)(fields, fields, dnn_hidden_units=(), **more)
        more |= {"dnn_hidden_units": tuple(settings["hidden"]), "dnn_dropout": settings["dropout"]}
        more["dnn_use_bn"] = settings["batch_norm"]
        if model == "DeepFM":
            return DeepFM(fields, fields, **more)
        if model == "DCN-v2":
            return DCN(fields, fields, cross_num=settings["depth"], cross_parameterization="matrix", **more)
        shape = {"att_layer_num": settings["depth"], "att_head_num": settings["num_heads"]}
        return AutoInt(fields, fields, **shape, **more)


def _inputs(part: Part) -> dict[str, Any]:
    return {name: part[name].astype(np.float32) for name in NAMES}


class _WholeBatches:
    """In place of torch's DataLoader, which picks row by row."""

    def __init__(self, dataset: Any, *, shuffle: bool, batch_size: int) -> None:
        self.tensors, self.shuffle, self.batch_size = dataset.tensors, shuffle, batch_size

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        num_rows = len(self.tensors[0])
        for rows in (torch.randperm(num_rows) if self.shuffle else torch.arange(num_rows)).split(self.batch_size):
            yield [tensor[rows] for tensor in self.tensors]


LIBRARIES: dict[str, Callable[[str, Settings, int], Any]] = {"torch-rechub": Rechub, "deepctr-torch": DeepCTR}


def trial(library: str, model: str, settings: Settings, seed: int, *, test: bool) -> dict[str, Any]:
    """Train with early stopping, and judge the best weights."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    side = LIBRARIES[library](model, settings, seed)
    best, best_epoch, weights = 0.0, 0, {}
    for epoch in range(1, EPOCHS + 1):
        side.epoch()
        auc = roc_auc_score(PARTS["held_out"][LABEL], side.predict(PARTS["held_out"]))
        if auc > best:
            best, best_epoch, weights = auc, epoch, copy.deepcopy(side.network.state_dict())
        elif epoch - best_epoch > PATIENCE:
            break
    side.network.load_state_dict(weights)
    answer = {"valid_auc": round(float(best), 5), "best_epoch": best_epoch, "fit_s": time.perf_counter() - start}
    if test:
        answer["test_auc"] = round(float(roc_auc_score(PARTS["test"][LABEL], side.predict(PARTS["test"]))), 5)
    return {**answer, "fit_s": round(answer["fit_s"], 1)}


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        nowhere = io.StringIO()  # their progress bars
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            answer = trial(sys.argv[1], asked["model"], asked["settings"], asked["seed"], test=asked["test"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
