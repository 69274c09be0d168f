"""Every op, one to a file."""

from tamis.features.ops.bucketize import Bucketize
from tamis.features.ops.categorify import Categorify
from tamis.features.ops.dropna import Dropna
from tamis.features.ops.fill_missing import FillMissing
from tamis.features.ops.filter import Filter
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
from tamis.features.ops.op import ColumnOp, GroupOp, Op, RowOp, TableOp
from tamis.features.ops.rename import Rename

__all__ = [
    "AddMetadata",
    "AddProperties",
    "AddTags",
    "Bucketize",
    "Categorify",
    "ColumnOp",
    "Dropna",
    "FillMissing",
    "Filter",
    "GroupOp",
    "LogOp",
    "Normalize",
    "Op",
    "Rename",
    "RowOp",
    "TableOp",
    "TagAsItemFeatures",
    "TagAsItemID",
    "TagAsUserFeatures",
    "TagAsUserID",
]
