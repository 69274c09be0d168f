"""The whole pipeline over requests that another server has collected: what asks for the same is answered together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.errors import TamisError
from tamis.recommender.candidates import Candidates
from tamis.recommender.recommender import Recommender
from tamis.serving.answering import Question, answer
from tamis.serving.asked_users import AskedUser
from tamis.serving.live_version import LiveVersion
from tamis.serving.recommend_tensors import USERS, RecommendTensors
from tamis.serving.tensors import Array, ProtocolError


class Pipeline:
    """The whole pipeline: what the model `recommend` is.

    Args:
        recommender: loaded.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._version = LiveVersion("bundle", recommender)
        self.tensors = RecommendTensors(recommender)

    def answer(self, requests: Sequence[Mapping[str, Array]]) -> list[dict[str, Array] | ProtocolError]:
        """The outputs of each request, or why there are none. What asks for the same is answered together."""
        found: list[Any] = [None] * len(requests)
        together: dict[tuple[Any, ...], list[tuple[int, int, int | str]]] = {}
        for number, inputs in enumerate(requests):
            try:
                groups = self.tensors.asked(inputs)
            except ProtocolError as error:
                found[number] = error
                continue
            found[number] = [None] * len(inputs[USERS])
            for group in groups:
                key = (group.k, *sorted(group.context.items()))
                together.setdefault(key, []).extend(
                    (number, row, user) for row, user in zip(group.rows, group.users, strict=True)
                )
        for (k, *context), places in together.items():
            self._answer(found, k, dict(context), places)
        return [self.tensors.answer(one) if isinstance(one, list) else one for one in found]

    def _answer(
        self, found: list[Any], k: int, context: Mapping[str, Any], places: Sequence[tuple[int, int, int | str]]
    ) -> None:
        question = Question([AskedUser(user) for _, _, user in places], k, context)
        try:
            lists = lists_of(self._version.recommender, answer(self._version, question).lists)
        except TamisError as error:
            for number, _, _ in places:
                found[number] = ProtocolError(str(error))
            return
        for (number, row, _), one in zip(places, lists, strict=True):
            if isinstance(found[number], list):
                found[number][row] = one


def lists_of(recommender: Recommender, lists: Candidates) -> list[tuple[list[Any], list[float]]]:
    """Ids and scores of each list."""
    told = []
    for rows, scores in zip(lists.items, lists.scores, strict=True):
        places = np.flatnonzero(rows >= 0)
        told.append((recommender.catalogue.ids.gather(rows[places]).to_list(), scores[places].tolist()))
    return told
