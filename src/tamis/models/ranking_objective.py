"""What `compile` chose about what a ranking model learns: losses, slates, negatives, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from tamis.data.dataset import Dataset, check_ids
from tamis.errors import SchemaError, SettingError, UnknownNameError
from tamis.models.item_table import ItemTable
from tamis.models.scoring import RANKING
from tamis.models.target_check import check_chain, check_slates, check_targets, check_weights
from tamis.nn.experts import ESMM, HeadSettings
from tamis.schema import Schema, Tags
from tamis.training.ranking_losses import LOSSES, POINTWISE
from tamis.training.ranking_negatives import IN_BATCH, NegativeRows, RandomNegatives
from tamis.training.ranking_step import BINARY, REGRESSION, RankingLoss
from tamis.training.tensor_names import tensor_names


@dataclass(frozen=True)
class RankingObjective:
    """The part of `compile`'s arguments that says what a step's loss is; see `RankingModel.compile`.

    Raises:
        UnknownNameError: no loss of this name.
    """

    loss: str = POINTWISE
    group: str | None = None
    negatives: RandomNegatives | None = None
    target_weights: Mapping[str, float] = field(default_factory=dict)
    positive_weight: float = 1.0
    sample_weight: str | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownNameError(self.loss, LOSSES, where="compile", what="loss")

    @property
    def is_by_slate(self) -> bool:
        """Whether probabilities give way to an order within slates."""
        return self.loss != POINTWISE

    def scores(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """What scores that are learned so are, by target: binary, regression or ranking."""
        return {name: RANKING if self.is_by_slate and kind == BINARY else kind for name, kind in kinds.items()}

    def slate(self, inputs: Schema) -> str | None:
        """The column whose values make slates, where rows are to stand together by a column."""
        if not self.is_by_slate or (self.negatives is not None and self.group is None):
            return None
        return self.group or next(iter(inputs.select_by_tag(Tags.USER_ID).column_names), None)

    def check(self, inputs: Schema, kinds: Mapping[str, str], heads: HeadSettings | None) -> None:
        """Refuse what the columns or heads of a model do not go with; `kinds` is binary or regression by target.

        Raises:
            UnknownNameError: a weight of a target that there is not.
            SettingError: a weight out of range; a loss by slates without slates, of amounts alone, or of a chain of
                chances.
            SchemaError: negatives without a category that names the item, for amounts, or with a column of two sides.
        """
        if self.is_by_slate:
            self._check_slates(inputs, kinds, heads)
        if self.negatives is not None:
            _check_sides(inputs, kinds)
        self.of_targets(kinds, inputs, torch.float32)

    def _check_slates(self, inputs: Schema, kinds: Mapping[str, str], heads: HeadSettings | None) -> None:
        if BINARY not in kinds.values():
            raise SettingError(
                f"compile: loss={self.loss!r} orders rows by a target of 0 and 1, and {list(kinds)} are amounts. "
                "Leave the loss out."
            )
        if isinstance(heads, ESMM):
            raise SettingError(
                f"compile: loss={self.loss!r} learns an order, and ESMM multiplies chances. Leave the loss out, or "
                "choose other heads."
            )
        if self.slate(inputs) is None and self.negatives is None:
            raise SettingError(
                f"compile: loss={self.loss!r} compares the rows of a query, and no input is tagged USER_ID. Tag one, "
                "or name the column of the queries with group=."
            )

    def check_rows(
        self,
        train: Dataset,
        validation: Dataset | None,
        inputs: Schema,
        kinds: Mapping[str, str],
        heads: HeadSettings | None,
        *,
        batch_size: int,
    ) -> str | None:
        """Refuse rows that cannot be learned from or judged by, and give what to tell about slates, if anything.

        Raises:
            DataError: see `RankingModel.fit`.
        """
        draws = self.negatives is not None
        way_out = "or drawn ones with compile(negatives=RandomNegatives())"
        check_targets(train, kinds, only_positives=draws, way_out=way_out)
        check_chain(train, heads, list(kinds))
        if self.sample_weight is not None:
            check_weights(train, self.sample_weight)
        if validation is not None and draws:  # figures about rows drawn here would be figures about the draw
            check_targets(validation, kinds, where="fit, validation_data", way_out="or those of ranking_rows")
        slate = self.slate(inputs)
        if slate is None or draws:
            return None
        ordered = [name for name, kind in kinds.items() if kind == BINARY]
        return check_slates(train, slate, ordered, batch_size=batch_size)

    def of_targets(self, kinds: Mapping[str, str], inputs: Schema, precision: torch.dtype) -> RankingLoss:
        """The loss of targets that are binary or regression by their tags."""
        learned = {name: self.loss if kind == BINARY and self.is_by_slate else kind for name, kind in kinds.items()}
        weights = (self.target_weights, self.positive_weight, self.sample_weight)
        return RankingLoss(learned, *weights, slate=self.slate(inputs), precision=precision)

    def negative_rows(self, train: Dataset, inputs: Schema, device: torch.device) -> NegativeRows | None:
        """What draws the negatives from the items of the training data, if any are asked for.

        Raises:
            DataError: item ids that are null, or no rows.
            SettingError: a single item.
        """
        if self.negatives is None:
            return None
        items = inputs.select_by_tag(Tags.ITEM)
        item_id = items.select_by_tag(Tags.ITEM_ID).first.name
        check_ids(train, [item_id], where="fit")
        needed = items.select_by_name([item_id]) if self.negatives.by == IN_BATCH else items
        table = ItemTable.from_dataset(train, needed)
        if len(table) == 1:
            raise SettingError("fit: the training data holds one item only, so no other can be drawn as a negative.")
        return NegativeRows(
            self.negatives,
            item_columns=tensor_names(items),
            item_id=item_id,
            user_id=next(iter(inputs.select_by_tag(Tags.USER_ID).column_names), None),
            ids=torch.tensor(table.ids, device=device),
            counts=torch.tensor(table.counts, device=device),
            features={name: tensor.to(device) for name, tensor in table.features().items()},
        )

    def describe(self) -> dict[str, Any]:
        """`compile`'s arguments as JSON can hold them."""
        return {
            "loss": self.loss,
            "group": self.group,
            "negatives": self.negatives and asdict(self.negatives),
            "target_weights": dict(self.target_weights),
            "positive_weight": self.positive_weight,
            "sample_weight": self.sample_weight,
        }

    @classmethod
    def described(cls, compiled: Mapping[str, Any]) -> Self:
        """What `describe` described; folders of before have neither loss, group nor negatives."""
        given = {name: compiled[name] for name in cls.__dataclass_fields__ if name in compiled}
        negatives = given.get("negatives")
        return cls(**{**given, "negatives": negatives and RandomNegatives(**negatives)})


def _check_sides(inputs: Schema, kinds: Mapping[str, str]) -> None:
    amounts = [name for name, kind in kinds.items() if kind == REGRESSION]
    if amounts:
        raise SchemaError(
            f"compile: negatives are rows in which nothing happened, but what {amounts[0]!r} would have been is not "
            "known. Leave this target out, or train without negatives."
        )
    ids = inputs.select_by_tag(Tags.ITEM_ID)
    if len(ids) != 1 or ids.first.cardinality is None:
        raise SchemaError(
            "compile: negatives are drawn by the item's id, but the model has no single category tagged ITEM_ID. Add "
            "one: Categorify() >> TagAsItemID()."
        )
    for column in inputs.select_by_tag(Tags.ITEM):
        if column.has_tag(Tags.USER) or column.has_tag(Tags.CONTEXT) or column.has_tag(Tags.SESSION):
            raise SchemaError(
                f"compile: the column {column.name!r} is tagged as the item's and the query's, so a drawn row cannot "
                "take it from either. Leave it out, or train without negatives."
            )
