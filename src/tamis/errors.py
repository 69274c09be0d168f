"""Every exception that Tamis raises on purpose, in one tree.

TamisError
├── UnknownColumnError (LookupError)      a column that the data does not have
├── UnknownNameError (LookupError)        a name out of a fixed list: an optimizer, a generator, a metric
├── SchemaError (ValueError)              tags, domains or column roles that do not fit together
├── DataError (ValueError)                rows that cannot be used: none, corrupt, null or fractional ids
├── SettingError (ValueError)             a setting out of its range
├── NotFittedError (RuntimeError)         asked for what only `fit` can know
├── FormatError (ValueError)              a folder that is not what it should be, or is newer than this version
├── NotSavableError (TypeError)           something that a folder cannot hold
├── NonFiniteLossError (ArithmeticError)  training left the finite numbers
├── DiskFullError (OSError)               a disk, a quota or the room to put things aside was used up
├── UnreachableError (ConnectionError)    a store or an index outside the process gives no answer
└── MissingExtraError (ImportError)       a package of an extra is not installed

Messages read `<where>: <what is wrong, with the value seen>. <what to do>.`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "DiskFullError",
    "FormatError",
    "MissingExtraError",
    "NonFiniteLossError",
    "NotFittedError",
    "NotSavableError",
    "SchemaError",
    "SettingError",
    "TamisError",
    "UnknownColumnError",
    "UnknownNameError",
    "UnreachableError",
]


class TamisError(Exception):
    """Whatever Tamis raises on purpose."""


def _hint(name: str, known: Iterable[str], *, it_has: str) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = ", ".join(map(repr, known[:40])) or "none"
    return f"{it_has} {shown}{', ...' if len(known) > 40 else '.'}"


class UnknownColumnError(TamisError, LookupError):
    """A column was asked for that the data does not have."""

    def __init__(self, name: str, known: Iterable[str], *, where: str, what: str = "column") -> None:
        super().__init__(f"{where}: the data has no {what} {name!r}. {_hint(name, known, it_has='It has')}")


class UnknownNameError(TamisError, LookupError):
    """A name was given that is none of the known ones."""

    def __init__(self, name: str, known: Iterable[str], *, where: str, what: str) -> None:
        super().__init__(f"{where}: there is no {what} {name!r}. {_hint(name, known, it_has='There are')}")


class SchemaError(TamisError, ValueError):
    """Tags, domains or roles of columns do not fit together."""


class DataError(TamisError, ValueError):
    """The rows themselves cannot be used."""


class SettingError(TamisError, ValueError):
    """A setting is out of its range."""


class NotFittedError(TamisError, RuntimeError):
    """Something was asked for that only `fit` can know."""


class FormatError(TamisError, ValueError):
    """A folder on disk is not what it should be."""


class NotSavableError(TamisError, TypeError):
    """An object holds something that a folder of JSON, parquet and safetensors cannot hold."""


class NonFiniteLossError(TamisError, ArithmeticError):
    """The training loss became NaN or infinite."""


class DiskFullError(TamisError, OSError):
    """There was no more room on the disk; what was half-written is gone."""


class UnreachableError(TamisError, ConnectionError):
    """A store or an index outside the process gave no answer, or none in time."""


class MissingExtraError(TamisError, ImportError):
    """A package that an extra brings is not installed."""

    def __init__(self, package: str, extra: str, *, where: str) -> None:
        super().__init__(f"{where}: needs {package!r}, which is not installed. Run: pip install 'tamis[{extra}]'.")
