"""Every op, one to a file."""

from tamis.features.ops.bucketize import Bucketize
from tamis.features.ops.categorify import Categorify
from tamis.features.ops.clip import Clip
from tamis.features.ops.column_similarity import ColumnSimilarity
from tamis.features.ops.data_stats import DataStats
from tamis.features.ops.date_parts import DateParts
from tamis.features.ops.difference_lag import DifferenceLag
from tamis.features.ops.drop_low_cardinality import DropLowCardinality
from tamis.features.ops.dropna import Dropna
from tamis.features.ops.fill_median import FillMedian
from tamis.features.ops.fill_missing import FillMissing
from tamis.features.ops.filter import Filter
from tamis.features.ops.groupby import Groupby
from tamis.features.ops.hash_bucket import HashBucket
from tamis.features.ops.hashed_cross import HashedCross
from tamis.features.ops.history_sequence import HistorySequence
from tamis.features.ops.join_external import JoinExternal
from tamis.features.ops.join_groupby import JoinGroupby
from tamis.features.ops.lambda_op import LambdaOp
from tamis.features.ops.list_slice import ListSlice
from tamis.features.ops.log_op import LogOp
from tamis.features.ops.metadata import (
    AddMetadata,
    AddProperties,
    AddTags,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
)
from tamis.features.ops.normalize import Normalize
from tamis.features.ops.normalize_min_max import NormalizeMinMax
from tamis.features.ops.op import ColumnOp, GroupOp, Op, RowOp, TableOp
from tamis.features.ops.recency import Recency
from tamis.features.ops.reduce_dtype_size import ReduceDtypeSize
from tamis.features.ops.rename import Rename
from tamis.features.ops.rolling_count import RollingCount
from tamis.features.ops.target_encoding import TargetEncoding
from tamis.features.ops.text_embedding import TextEmbedding
from tamis.features.ops.value_count import ValueCount

__all__ = [
    "AddMetadata",
    "AddProperties",
    "AddTags",
    "Bucketize",
    "Categorify",
    "Clip",
    "ColumnOp",
    "ColumnSimilarity",
    "DataStats",
    "DateParts",
    "DifferenceLag",
    "DropLowCardinality",
    "Dropna",
    "FillMedian",
    "FillMissing",
    "Filter",
    "GroupOp",
    "Groupby",
    "HashBucket",
    "HashedCross",
    "HistorySequence",
    "JoinExternal",
    "JoinGroupby",
    "LambdaOp",
    "ListSlice",
    "LogOp",
    "Normalize",
    "NormalizeMinMax",
    "Op",
    "Recency",
    "ReduceDtypeSize",
    "Rename",
    "RollingCount",
    "RowOp",
    "TableOp",
    "TagAsItemFeatures",
    "TagAsItemID",
    "TagAsUserFeatures",
    "TagAsUserID",
    "TargetEncoding",
    "TextEmbedding",
    "ValueCount",
]
