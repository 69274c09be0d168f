"""Tamis: a two-stage recommender system in one package.

Names load what they need when they are first used, so `import tamis` is quick.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Read by OpenMP when torch loads it. Its default, spinning, makes a training step 10 times slower as soon as another
# process wants one of the cores; sleeping costs a few percent at most. Whoever sets the variable decides.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# public name -> the module that holds it; an entry that equals its module is a whole module
_HOME = {
    "AUC": "tamis.evaluation.order_metrics",
    "Adagrad": "tamis.training.optimizers",
    "Adam": "tamis.training.optimizers",
    "AutoIntModel": "tamis.models.auto_int",
    "AvgPrecisionAt": "tamis.evaluation.metrics",
    "Brier": "tamis.evaluation.probability_metrics",
    "Callback": "tamis.training.callbacks",
    "Checkpoint": "tamis.training.callbacks",
    "ColumnSchema": "tamis.schema",
    "ConstantSchedule": "tamis.training.schedules",
    "CosineSchedule": "tamis.training.schedules",
    "DCNModel": "tamis.models.dcn",
    "DINModel": "tamis.models.din",
    "DLRMModel": "tamis.models.dlrm",
    "Dataset": "tamis.data.dataset",
    "DeepFMModel": "tamis.models.deep_fm",
    "ECE": "tamis.evaluation.probability_metrics",
    "ESMM": "tamis.nn.experts",
    "EarlyStopping": "tamis.training.callbacks",
    "EmbeddingOptions": "tamis.nn.embeddings",
    "Encoder": "tamis.models.encoder",
    "ExactIndex": "tamis.index",
    "ExponentialSchedule": "tamis.training.schedules",
    "FMModel": "tamis.models.deep_fm",
    "FTRL": "tamis.training.ftrl",
    "FaissIndex": "tamis.index",
    "FinalMLPModel": "tamis.models.final_mlp",
    "GAUC": "tamis.evaluation.order_metrics",
    "History": "tamis.training.history",
    "HitRateAt": "tamis.evaluation.metrics",
    "InBatchSampler": "tamis.training.negatives",
    "ItemCoverageAt": "tamis.evaluation.metrics",
    "ItemItem": "tamis.recommender.sources.item_item",
    "LightGBMModel": "tamis.models.lightgbm_model",
    "LinearSchedule": "tamis.training.schedules",
    "Loader": "tamis.data.loader",
    "LogLoss": "tamis.evaluation.probability_metrics",
    "LogisticRegressionModel": "tamis.models.logistic_regression",
    "MLPBlock": "tamis.nn.mlp",
    "MLPModel": "tamis.models.mlp_model",
    "MMoE": "tamis.nn.experts",
    "MRRAt": "tamis.evaluation.metrics",
    "MatrixFactorizationModel": "tamis.models.matrix_factorization",
    "NDCGAt": "tamis.evaluation.metrics",
    "NDCGByGroup": "tamis.evaluation.order_metrics",
    "NormalizedEntropy": "tamis.evaluation.probability_metrics",
    "NoveltyAt": "tamis.evaluation.metrics",
    "PLE": "tamis.nn.experts",
    "PRAUC": "tamis.evaluation.order_metrics",
    "Popular": "tamis.recommender.sources.popular",
    "PopularityBasedSampler": "tamis.training.negatives",
    "PopularityBiasAt": "tamis.evaluation.metrics",
    "PrecisionAt": "tamis.evaluation.metrics",
    "RMSE": "tamis.evaluation.probability_metrics",
    "RandomNegatives": "tamis.training.ranking_negatives",
    "RecallAt": "tamis.evaluation.metrics",
    "Recent": "tamis.recommender.sources.recent",
    "Recommender": "tamis.recommender.recommender",
    "Retrieval": "tamis.recommender.sources.retrieval_source",
    "SGD": "tamis.training.optimizers",
    "Schema": "tamis.schema",
    "SharedBottom": "tamis.nn.experts",
    "SimilarItems": "tamis.recommender.sources.similar_items",
    "Subgraph": "tamis.features.subgraph",
    "Tags": "tamis.schema",
    "TamisError": "tamis.errors",
    "TopKEncoder": "tamis.models.top_k_encoder",
    "TwoTowerModel": "tamis.models.two_tower",
    "UniformSampler": "tamis.training.negatives",
    "WeightAverage": "tamis.training.weight_averaging",
    "WideAndDeepModel": "tamis.models.wide_and_deep",
    "Workflow": "tamis.features.workflow",
    "XGBoostModel": "tamis.models.xgboost_model",
    "build_index": "tamis.index",
    "check_no_leakage": "tamis.data.leakage",
    "choose_mix": "tamis.recommender.stage_mix",
    "datasets": "tamis.datasets",
    "errors": "tamis.errors",
    "filters": "tamis.recommender.filters",
    "inspect": "tamis.data.inspection",
    "leave_last_out": "tamis.data.split",
    "load_index": "tamis.index",
    "load_model": "tamis.models",
    "ops": "tamis.ops",
    "ordering": "tamis.recommender.ordering",
    "ranking_rows": "tamis.recommender.ranking_data",
    "split_by_time": "tamis.data.split",
    "split_by_user": "tamis.data.random_split",
    "split_random": "tamis.data.random_split",
    "unique_rows_by_features": "tamis.data.unique_rows",
    "write_report": "tamis.evaluation.report",
}
_MODULES = {"datasets", "errors", "filters", "ops", "ordering"}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from tamis.errors import UnknownNameError

        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(str(UnknownNameError(name, _HOME, where="tamis", what="name")))
    module = importlib.import_module(_HOME[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from tamis import datasets as datasets
    from tamis import errors as errors
    from tamis import ops as ops
    from tamis.data.dataset import Dataset as Dataset
    from tamis.data.inspection import inspect as inspect
    from tamis.data.leakage import check_no_leakage as check_no_leakage
    from tamis.data.loader import Loader as Loader
    from tamis.data.random_split import split_by_user as split_by_user
    from tamis.data.random_split import split_random as split_random
    from tamis.data.split import leave_last_out as leave_last_out
    from tamis.data.split import split_by_time as split_by_time
    from tamis.data.unique_rows import unique_rows_by_features as unique_rows_by_features
    from tamis.errors import TamisError as TamisError
    from tamis.evaluation.metrics import AvgPrecisionAt as AvgPrecisionAt
    from tamis.evaluation.metrics import HitRateAt as HitRateAt
    from tamis.evaluation.metrics import ItemCoverageAt as ItemCoverageAt
    from tamis.evaluation.metrics import MRRAt as MRRAt
    from tamis.evaluation.metrics import NDCGAt as NDCGAt
    from tamis.evaluation.metrics import NoveltyAt as NoveltyAt
    from tamis.evaluation.metrics import PopularityBiasAt as PopularityBiasAt
    from tamis.evaluation.metrics import PrecisionAt as PrecisionAt
    from tamis.evaluation.metrics import RecallAt as RecallAt
    from tamis.evaluation.order_metrics import AUC as AUC
    from tamis.evaluation.order_metrics import GAUC as GAUC
    from tamis.evaluation.order_metrics import PRAUC as PRAUC
    from tamis.evaluation.order_metrics import NDCGByGroup as NDCGByGroup
    from tamis.evaluation.probability_metrics import ECE as ECE
    from tamis.evaluation.probability_metrics import RMSE as RMSE
    from tamis.evaluation.probability_metrics import Brier as Brier
    from tamis.evaluation.probability_metrics import LogLoss as LogLoss
    from tamis.evaluation.probability_metrics import NormalizedEntropy as NormalizedEntropy
    from tamis.evaluation.report import write_report as write_report
    from tamis.features.subgraph import Subgraph as Subgraph
    from tamis.features.workflow import Workflow as Workflow
    from tamis.index import ExactIndex as ExactIndex
    from tamis.index import FaissIndex as FaissIndex
    from tamis.index import build_index as build_index
    from tamis.index import load_index as load_index
    from tamis.models import load_model as load_model
    from tamis.models.auto_int import AutoIntModel as AutoIntModel
    from tamis.models.dcn import DCNModel as DCNModel
    from tamis.models.deep_fm import DeepFMModel as DeepFMModel
    from tamis.models.deep_fm import FMModel as FMModel
    from tamis.models.din import DINModel as DINModel
    from tamis.models.dlrm import DLRMModel as DLRMModel
    from tamis.models.encoder import Encoder as Encoder
    from tamis.models.final_mlp import FinalMLPModel as FinalMLPModel
    from tamis.models.lightgbm_model import LightGBMModel as LightGBMModel
    from tamis.models.logistic_regression import LogisticRegressionModel as LogisticRegressionModel
    from tamis.models.matrix_factorization import MatrixFactorizationModel as MatrixFactorizationModel
    from tamis.models.mlp_model import MLPModel as MLPModel
    from tamis.models.top_k_encoder import TopKEncoder as TopKEncoder
    from tamis.models.two_tower import TwoTowerModel as TwoTowerModel
    from tamis.models.wide_and_deep import WideAndDeepModel as WideAndDeepModel
    from tamis.models.xgboost_model import XGBoostModel as XGBoostModel
    from tamis.nn.embeddings import EmbeddingOptions as EmbeddingOptions
    from tamis.nn.experts import ESMM as ESMM
    from tamis.nn.experts import PLE as PLE
    from tamis.nn.experts import MMoE as MMoE
    from tamis.nn.experts import SharedBottom as SharedBottom
    from tamis.nn.mlp import MLPBlock as MLPBlock
    from tamis.recommender import filters as filters
    from tamis.recommender import ordering as ordering
    from tamis.recommender.ranking_data import ranking_rows as ranking_rows
    from tamis.recommender.recommender import Recommender as Recommender
    from tamis.recommender.sources.item_item import ItemItem as ItemItem
    from tamis.recommender.sources.popular import Popular as Popular
    from tamis.recommender.sources.recent import Recent as Recent
    from tamis.recommender.sources.retrieval_source import Retrieval as Retrieval
    from tamis.recommender.sources.similar_items import SimilarItems as SimilarItems
    from tamis.recommender.stage_mix import choose_mix as choose_mix
    from tamis.schema import ColumnSchema as ColumnSchema
    from tamis.schema import Schema as Schema
    from tamis.schema import Tags as Tags
    from tamis.training.callbacks import Callback as Callback
    from tamis.training.callbacks import Checkpoint as Checkpoint
    from tamis.training.callbacks import EarlyStopping as EarlyStopping
    from tamis.training.ftrl import FTRL as FTRL
    from tamis.training.history import History as History
    from tamis.training.negatives import InBatchSampler as InBatchSampler
    from tamis.training.negatives import PopularityBasedSampler as PopularityBasedSampler
    from tamis.training.negatives import UniformSampler as UniformSampler
    from tamis.training.optimizers import SGD as SGD
    from tamis.training.optimizers import Adagrad as Adagrad
    from tamis.training.optimizers import Adam as Adam
    from tamis.training.ranking_negatives import RandomNegatives as RandomNegatives
    from tamis.training.schedules import ConstantSchedule as ConstantSchedule
    from tamis.training.schedules import CosineSchedule as CosineSchedule
    from tamis.training.schedules import ExponentialSchedule as ExponentialSchedule
    from tamis.training.schedules import LinearSchedule as LinearSchedule
    from tamis.training.weight_averaging import WeightAverage as WeightAverage
