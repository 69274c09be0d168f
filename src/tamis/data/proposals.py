"""Tags proposed from the names of columns and from what they hold; for correction by people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tamis.data.column_report import ColumnReport
from tamis.data.moments import unit_of
from tamis.schema import Schema, Tags


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_USERS = _words("user customer member visitor client account viewer buyer shopper listener reader player reviewer u")
_ITEMS = _words(
    "item product movie film song track article sku asin video book ad news listing offer game stock poi venue recipe "
    "restaurant hotel candidate i"
)
_SESSIONS = _words("session visit basket invoice order cart s")
_IDS = _words("id no nr number code key uuid guid")
_NEVER_ALONE = _words("u i s visit order stock account")  # an id only where the name says so too
_TIMES = _words("time timestamp ts date datetime at epoch unixtime")
_TARGETS = _words(
    "click clicked label target purchase purchased conversion converted buy bought rating like liked attributed "
    "install installed churn churned y"
)
_CLASSES = _words("label target y")
_GLUE = _words("is has was did flag binary")
_AMOUNTS = _words(
    "age count num number quantity qty price amount cost total sum length size duration year position rank score views "
    "clicks sales revenue income weight height width distance rate ratio avg mean min max level stars seconds"
)
_HISTORIES = _words(
    "history sequence seq prefix recent last past clicked viewed watched bought purchased session event"
)
_CONTEXTS = _words(
    "device browser os platform hour weekday daytime weather referrer referer channel query page slot placement "
    "isweekend"
)
_FEW, _CODES = 20, 1000  # so many whole numbers are kinds of something; up to so many, unless the name says an amount
_EMBEDDING_WIDTH = 4
_TEXT_LENGTH = 12


@dataclass(frozen=True)
class Proposal:
    """Tags and why."""

    tags: frozenset[str]
    reason: str


def propose(reports: Sequence[ColumnReport], schema: Schema) -> dict[str, Proposal]:
    """Tags for every column; those that the schema has already stay as they are."""
    found = {report.name: _propose(report) for report in reports}
    side = _side_of_table(reports, found)
    if side is not None:
        found = {name: _with(proposal, side, f"in a table of one row per {side}") for name, proposal in found.items()}
    kept = {column.name: Proposal(column.tags, "tagged already") for column in schema if column.tags}
    return {**found, **kept}


def words_of(name: str) -> list[str]:
    """The words of a name in snake_case or camelCase, in singular and small letters; `userid` is two."""
    words: list[str] = []
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name):
        small = word.lower()
        kind = small.removesuffix("id")
        words += [kind, "id"] if kind != small and kind in _USERS | _ITEMS | _SESSIONS else [small]
    return [word.removesuffix("s") if _is_plural(word) else word for word in words]


def _is_plural(word: str) -> bool:
    return word.endswith("s") and word[:-1] in _USERS | _ITEMS | _SESSIONS | _IDS | {"event"} and len(word) > 2


def _propose(report: ColumnReport) -> Proposal:
    words = words_of(report.name)
    for rule in (_nothing, _as_id, _as_target, _as_time):
        found = rule(report, set(words), words)
        if found is not None:
            return found
    found = _by_content(report, set(words))
    for tag, kinds in ((Tags.USER, _USERS), (Tags.ITEM, _ITEMS), (Tags.CONTEXT, _CONTEXTS)):
        if set(words) & kinds - _NEVER_ALONE:
            found = _with(found, tag, f"its name speaks of the {tag}")
    return found


def _with(proposal: Proposal, tag: str, reason: str) -> Proposal:
    apart = {Tags.USER_ID, Tags.ITEM_ID, Tags.SESSION_ID, Tags.TARGET, Tags.TIME, Tags.USER, Tags.ITEM, Tags.CONTEXT}
    if not proposal.tags or proposal.tags & apart:
        return proposal
    return Proposal(proposal.tags | {tag}, f"{proposal.reason}; {reason}")


def _nothing(report: ColumnReport, words: set[str], order: list[str]) -> Proposal | None:
    return None if report.num_values else Proposal(frozenset(), "it holds nothing")


def _as_id(report: ColumnReport, words: set[str], order: list[str]) -> Proposal | None:
    if not _holds_codes(report):
        return None
    for tag, kinds in ((Tags.USER_ID, _USERS), (Tags.ITEM_ID, _ITEMS), (Tags.SESSION_ID, _SESSIONS)):
        named = words & kinds
        if named and words <= kinds | _IDS and (words & _IDS or not named & _NEVER_ALONE):
            return Proposal(_tags(tag, Tags.CATEGORICAL, *_of_list(report)), f"named like an id: {tag[:-3]}")
    return None


def _holds_codes(report: ColumnReport) -> bool:
    """Whole numbers or texts; whole numbers with nulls are fractional ones in some libraries."""
    ends = (report.minimum, report.maximum)
    is_whole = report.dtype.startswith("float") and all(float(end).is_integer() for end in (*ends, *_values(report)))
    return is_whole or report.dtype.startswith(("int", "uint", "string", "categorical", "enum"))


def _values(report: ColumnReport) -> Iterable[float]:
    return [value for value, _ in report.top]


def _of_list(report: ColumnReport) -> tuple[str, ...]:
    return (Tags.LIST, Tags.SEQUENCE) if report.is_list else ()


def _as_target(report: ColumnReport, words: set[str], order: list[str]) -> Proposal | None:
    named = words & _TARGETS
    if report.is_list or not named or not words <= _TARGETS | _GLUE or report.dtype.startswith(("date", "time")):
        return None
    if _is_binary(report):
        return Proposal(_tags(Tags.TARGET, Tags.BINARY_CLASSIFICATION), "named like a target, of two values")
    if named <= _CLASSES and report.dtype.startswith(("int", "uint", "string")):
        return Proposal(_tags(Tags.TARGET, Tags.MULTI_CLASS_CLASSIFICATION), "named like a target, of several values")
    if report.mean is None:
        return None
    return Proposal(_tags(Tags.TARGET, Tags.REGRESSION), "named like a target, an amount")


def _is_binary(report: ColumnReport) -> bool:
    if report.dtype == "boolean" or (report.dtype == "string" and report.num_distinct == 2):
        return True
    return report.mean is not None and set(_values(report)) <= {0, 1} and report.num_distinct <= 2


def _as_time(report: ColumnReport, words: set[str], order: list[str]) -> Proposal | None:
    if report.is_list:
        return None
    if report.dtype.startswith(("date", "datetime")):
        return Proposal(_tags(Tags.TIME), "it holds times")
    unit = unit_of(report.quantiles.get("50%")) if words & _TIMES and report.mean is not None else None
    return None if unit is None else Proposal(_tags(Tags.TIME), f"named like a time, in {unit} since 1970")


def _by_content(report: ColumnReport, words: set[str]) -> Proposal:
    if report.is_list:
        return _list(report, words)
    if report.dtype in ("boolean", "categorical") or report.dtype.startswith("enum"):
        return Proposal(_tags(Tags.CATEGORICAL), _number(report, "kind"))
    if report.dtype == "string":
        return _text(report)
    if report.dtype.startswith(("float", "decimal")):
        return Proposal(_tags(Tags.CONTINUOUS), "fractional numbers")
    if report.mean is None:
        return Proposal(frozenset(), f"no op or model takes {report.dtype} as it is")
    return _whole_numbers(report, words)


def _whole_numbers(report: ColumnReport, words: set[str]) -> Proposal:
    few = report.num_distinct <= _FEW
    if words & (_AMOUNTS | _TIMES) and not few:  # a time that is no moment is a duration
        return Proposal(_tags(Tags.CONTINUOUS), "named like an amount")
    if few or (report.num_distinct <= _CODES and report.minimum >= 0) or words & _IDS:
        return Proposal(_tags(Tags.CATEGORICAL), _number(report, "kind"))
    if report.minimum >= 0 and report.num_values > 2 * report.num_distinct:
        return Proposal(_tags(Tags.CATEGORICAL), f"{report.num_distinct:,} values that repeat, none below 0")
    return Proposal(_tags(Tags.CONTINUOUS), f"{report.num_distinct:,} different whole numbers")


def _text(report: ColumnReport) -> Proposal:
    assert report.lengths is not None
    if (
        report.lengths.mean > _TEXT_LENGTH
        and report.num_distinct > report.num_values / 2
        and report.num_distinct > _FEW
    ):
        return Proposal(_tags(Tags.TEXT), "long texts that hardly repeat")
    return Proposal(_tags(Tags.CATEGORICAL), _number(report, "text"))


def _list(report: ColumnReport, words: set[str]) -> Proposal:
    lengths = report.lengths
    if report.dtype.startswith(("list", "array", "struct", "binary", "object")):
        return Proposal(_tags(Tags.LIST), f"no op or model takes lists of {report.dtype} as they are")
    is_float = report.dtype.startswith("float")
    if is_float and lengths is not None and lengths.shortest == lengths.longest >= _EMBEDDING_WIDTH:
        return Proposal(_tags(Tags.EMBEDDING), f"vectors of {lengths.longest} numbers")
    order = [Tags.SEQUENCE] if words & (_HISTORIES | _ITEMS - _NEVER_ALONE) else []
    kind = Tags.CONTINUOUS if is_float else Tags.CATEGORICAL
    return Proposal(_tags(Tags.LIST, kind, *order), "lists, named like a history" if order else "lists")


def _number(report: ColumnReport, what: str) -> str:
    return f"{report.num_distinct:,} {what}{'' if report.num_distinct == 1 else 's'}"


def _tags(*tags: str) -> frozenset[str]:
    return frozenset(tags)


def _side_of_table(reports: Sequence[ColumnReport], found: dict[str, Proposal]) -> str | None:
    """`user` or `item` where the rows are the users or the items: one id, and no two rows share it."""
    ids = [report for report in reports if found[report.name].tags & {Tags.USER_ID, Tags.ITEM_ID}]
    is_log = any(proposal.tags & {Tags.TARGET, Tags.SESSION_ID} for proposal in found.values())
    if len(ids) != 1 or is_log or ids[0].is_list or ids[0].num_distinct < 0.97 * ids[0].num_rows:
        return None
    return Tags.USER if Tags.USER_ID in found[ids[0].name].tags else Tags.ITEM
