"""`[tune]`: what `tamis tune` searches, and how good is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tamis.journey.config_checks import check_choice, check_least

# figures of the validation rows by stage, the default first, and whether more is better
METRICS: dict[str, dict[str, bool]] = {
    "retrieval": {"val_ndcg_at_10": True, "val_recall_at_10": True},
    "ranking": {"val_gauc": True, "val_auc": True, "val_log_loss": False},
}


@dataclass(frozen=True)
class TuneConfig:
    """`[tune]`: a search over settings; nothing of it changes what `tamis train` does.

    Args:
        stage: `"retrieval"` searches `[model]` and `[training]`, `"ranking"` searches `[ranking]` on the candidates of
            a first stage as it is.
        metric: of the validation rows: `"val_ndcg_at_10"` (retrieval's default) or `"val_recall_at_10"`;
            `"val_gauc"` (ranking's default), `"val_auc"` or `"val_log_loss"`.
        trials: how many in all.
        seed: of the search; `training.seed` is that of every trial.
        pruning: end a trial early whose epochs are worse than the median of those before.
        space: settings to search, `[tune.space]`; see `search_space`. By default those that matter most.
    """

    stage: str = "retrieval"
    metric: str = ""
    trials: int = 20
    seed: int = 0
    pruning: bool = True
    space: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("tune.stage", self.stage, METRICS)
        if self.metric:
            check_choice("tune.metric", self.metric, METRICS[self.stage])
        check_least("tune.trials", self.trials, 1)
        check_least("tune.seed", self.seed, 0)

    @property
    def measured(self) -> str:
        """The metric, or the stage's default."""
        return self.metric or next(iter(METRICS[self.stage]))

    @property
    def is_more_better(self) -> bool:
        """Whether a higher value of the metric is better."""
        return METRICS[self.stage][self.measured]
