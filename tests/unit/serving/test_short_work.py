"""Short work in the event loop's thread: alike pieces together, the network in between, no place lost."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from tamis.index.protocol import FEW_QUERIES
from tamis.serving.admission import Admission, TooBusyError
from tamis.serving.request_models import RecommendRequest
from tamis.serving.service import alike
from tamis.serving.short_work import _MOST, ShortWork


class Worker:
    """Doubles numbers, and remembers which it was given together; text fails."""

    def __init__(self) -> None:
        self.groups: list[list[object]] = []

    def __call__(self, items: Sequence[object]) -> list[int]:
        self.groups.append(list(items))
        return [2 * int(item) if isinstance(item, int) else int("no number") for item in items]


def test_those_that_wait_and_are_alike_are_done_together_four_at_a_time() -> None:
    async def run() -> list[int]:
        found = await asyncio.gather(*(short.run(number, "odd" if number % 2 else "even") for number in range(1, 12)))
        assert admission.num_inside == 0
        return found

    admission, worker = Admission(2, 32, name="test"), Worker()
    short = ShortWork(admission, worker)
    assert asyncio.run(run()) == [2 * number for number in range(1, 12)]
    # the first finds nobody at work; then the first that waits, with those like it
    assert worker.groups == [[1], [2, 4, 6, 8], [3, 5, 7, 9], [10], [11]]
    assert asyncio.run(run()) == [2 * number for number in range(1, 12)]  # in another loop as well


def test_a_piece_without_a_key_is_done_alone() -> None:
    async def run() -> list[int]:
        return await asyncio.gather(*(short.run(number, None) for number in range(4)))

    worker = Worker()
    short = ShortWork(Admission(2, 32, name="test"), worker)
    assert asyncio.run(run()) == [0, 2, 4, 6]
    assert worker.groups == [[0], [1], [2], [3]]


def test_what_fails_fails_alone() -> None:
    async def run() -> list[object]:
        return await asyncio.gather(*(short.run(item, "same") for item in (1, 2, "x", 3)), return_exceptions=True)

    admission = Admission(2, 32, name="test")
    short: ShortWork[object, int] = ShortWork(admission, Worker())
    one, two, wrong, three = asyncio.run(run())
    assert (one, two, three) == (2, 4, 6)
    assert isinstance(wrong, ValueError) and "no number" in str(wrong)
    assert admission.num_inside == 0


def test_beyond_the_places_pieces_are_refused_at_once() -> None:
    async def run() -> list[object]:
        return await asyncio.gather(*(short.run(number, "same") for number in range(5)), return_exceptions=True)

    admission = Admission(1, 2, name="test")  # three places, and the first is done before the others come
    short = ShortWork(admission, Worker())
    found = asyncio.run(run())
    assert found[:4] == [0, 2, 4, 6] and isinstance(found[4], TooBusyError)
    assert admission.num_inside == 0


def test_a_piece_that_nobody_waits_for_any_more_is_left_out_and_the_rest_goes_on() -> None:
    async def run() -> list[object]:
        asked = [asyncio.ensure_future(short.run(number, None)) for number in range(5)]
        await asyncio.sleep(0)  # they have begun, and all but the first wait
        asked[1].cancel()
        asked[3].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert admission.num_inside == 0
        return [*found, await short.run(9, None)]

    admission, worker = Admission(2, 32, name="test"), Worker()
    short = ShortWork(admission, worker)
    first, gone, second, also_gone, third, later = asyncio.run(run())
    assert (first, second, third, later) == (0, 4, 8, 18)
    assert isinstance(gone, asyncio.CancelledError) and isinstance(also_gone, asyncio.CancelledError)
    assert worker.groups == [[0], [2], [4], [9]]


def test_the_loop_looks_at_the_network_between_two_turns() -> None:
    async def run() -> None:
        def heard() -> None:
            ours.recv(100)
            order.append("network")

        asyncio.get_running_loop().add_reader(ours, heard)
        await asyncio.gather(*(short.run(number, None) for number in range(6)))
        asyncio.get_running_loop().remove_reader(ours)

    def work(items: Sequence[int]) -> list[int]:
        order.extend(items)
        if items[0] == 0:
            theirs.send(b"x")
        return [0 for _ in items]

    order: list[object] = []
    ours, theirs = socket.socketpair()
    short = ShortWork(Admission(2, 32, name="test"), work)
    with ours, theirs:
        asyncio.run(run())
    assert order.index("network") <= 2, order


def test_as_many_as_are_done_together_are_few_enough_to_be_searched_for_one_by_one() -> None:
    assert _MOST <= FEW_QUERIES  # else they would not get what each gets alone


@pytest.mark.parametrize(
    "other",
    [
        {"k": 11},
        {"exclude_seen": False},
        {"explain": True},
        {"timeout_ms": 5.0},
        {"show": ["title"]},
        {"context": {"hour": 2}},
        {"context": {"hour": 1.0}},
        {"context": {"hour": True}},
        {"context": {"day": 1}},
    ],
)
def test_requests_that_ask_for_something_else_are_not_alike(other: dict[str, object]) -> None:
    asked = {"users": ["u1"], "k": 10, "context": {"hour": 1}}
    first, same, different = (RecommendRequest.model_validate(asked | more) for more in ({}, {"users": [2]}, other))
    assert alike(first) == alike(same) != alike(different)


def test_every_field_of_a_request_is_compared_or_rules_togetherness_out() -> None:
    compared = {"k", "exclude_seen", "explain", "timeout_ms", "show", "context"}
    alone = {"exclude", "features", "filters", "version", "num_candidates", "num_ranked"}  # `is_short`, or no key
    assert set(RecommendRequest.model_fields) == {"users", *compared, *alone}


def test_lists_of_items_to_leave_out_and_contexts_of_lists_make_a_request_like_no_other() -> None:
    for field in ({"exclude": [1]}, {"context": {"hours": [1, 2]}}):
        assert alike(RecommendRequest.model_validate({"users": ["u1"], **field})) is None
