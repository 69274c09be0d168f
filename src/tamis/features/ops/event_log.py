"""What the ops share that look up in a log what happened before a row's time."""

from __future__ import annotations

from collections.abc import Sequence

from tamis.features.log_lookup import LOG, known, together
from tamis.features.ops.op import GroupOp, Learned, Unit


class EventLogOp(GroupOp):
    """An op that learns a log of the training rows: who, when and, where it matters, what."""

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """The rows of all parts."""
        return {LOG: together(parts)}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The rows of which is known who and when."""
        return {LOG: known(found[LOG])}

    def update(self, learned: Learned, unit: Unit, found: Learned) -> Learned:
        """The new rows too."""
        return self.finish(unit, self.merge([learned, found]))
