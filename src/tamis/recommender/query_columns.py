"""Which raw columns the features of a query are made of, and which of them only a request can supply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from tamis.errors import SchemaError, SettingError
from tamis.features.workflow import Workflow
from tamis.schema import Tags

# several parts of a recommender ask, and an answer takes a second for fifty columns
_known: WeakKeyDictionary[Workflow, tuple[tuple[str, ...], dict[str, set[str]]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class QueryColumns:
    """The encoded columns of queries and the raw columns behind them.

    Args:
        user: encoded columns that belong to the user; known users have them stored.
        context: encoded columns that belong to the request.
        raw_user: raw columns that the user's are made of.
        raw_context: raw columns that the context's are made of.
    """

    user: tuple[str, ...]
    context: tuple[str, ...]
    raw_user: tuple[str, ...]
    raw_context: tuple[str, ...]


def sources_of(workflow: Workflow) -> dict[str, set[str]]:
    """The raw columns that each output column is made of."""
    names, known = _names(workflow), _known.get(workflow)
    if known is None or known[0] != names:
        known = _known[workflow] = (names, _sources_of(workflow))
    return known[1]


def remember_sources(workflow: Workflow, sources: Mapping[str, Iterable[str]]) -> None:
    """Take what `sources_of` gave of the same workflow before it was saved, so that it is not worked out again."""
    _known[workflow] = (_names(workflow), {name: set(raw) for name, raw in sources.items()})


def _names(workflow: Workflow) -> tuple[str, ...]:
    return (*workflow.input_schema.column_names, *workflow.output_schema.column_names)


def _sources_of(workflow: Workflow) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in workflow.output_schema.column_names}
    for raw in workflow.input_schema.column_names:
        try:
            left = set(workflow.remove_inputs(raw).output_schema.column_names)
        except SettingError:  # nothing would be left
            left = set()
        for name in found.keys() - left:
            found[name].add(raw)
    return found


def query_columns(workflow: Workflow, needed: Iterable[str], *, whose: Mapping[str, str]) -> QueryColumns:
    """Sort the columns that queries need by who can supply them.

    Args:
        workflow: fitted.
        needed: encoded columns besides the items'.
        whose: the part that needs each column, for messages: "the ranker DLRMModel".

    Raises:
        SchemaError: columns that nobody can supply when a request comes, by name.
    """
    outputs, made_of = workflow.output_schema, sources_of(workflow)
    needed = list(dict.fromkeys(needed))
    _refuse([name for name in needed if name not in outputs], whose, "the workflow does not make them")
    user = tuple(name for name in needed if outputs[name].has_tag(Tags.USER) or outputs[name].has_tag(Tags.USER_ID))
    context = tuple(name for name in needed if name not in user)
    raw_items = _raw(made_of, [column.name for column in outputs if column.has_tag(Tags.ITEM)])
    raw_user = {name for name in _raw(made_of, user) if name not in raw_items}
    of_pairs = [name for name in context if made_of[name] & (raw_items | raw_user)]
    _refuse(of_pairs, whose, "they are made of a user or an item together with others, so no request has them ready")
    return QueryColumns(user, context, tuple(sorted(raw_user)), tuple(sorted(_raw(made_of, context))))


def _raw(made_of: Mapping[str, set[str]], names: Iterable[str]) -> set[str]:
    return set().union(*(made_of[name] for name in names))


def _refuse(names: list[str], whose: Mapping[str, str], why: str) -> None:
    if names:
        owners = ", ".join(dict.fromkeys(whose.get(name, "a model") for name in names))
        raise SchemaError(
            f"Recommender: {owners}: the columns {names} cannot be supplied at request time: {why}. Tag them USER or "
            "ITEM if they belong to one, make them of columns of one side, or train without them."
        )
