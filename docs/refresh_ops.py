"""Puts each op's signature and docstring into its section of ops.md, so that the page cannot grow old."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from tamis import ops

PAGE = Path(__file__).parent / "ops.md"
_BLOCK = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def refreshed(page: str) -> str:
    """The page with every block as the code has it now."""
    return _BLOCK.sub(lambda found: f"{found[1]}{described(found[2])}{found[3]}", page)


def described(name: str) -> str:
    """An op's call and docstring as Markdown."""
    op = getattr(ops, name)
    settings = ", ".join(_setting(parameter) for parameter in inspect.signature(op).parameters.values())
    return f"```text\n{name}({settings})\n\n{inspect.cleandoc(op.__doc__)}\n```\n"


def _setting(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    default = parameter.default
    if isinstance(default, tuple):
        default = tuple(map(str, default))
    return f"{parameter.name}={'{}' if repr(default).startswith('<') else repr(default)}"


if __name__ == "__main__":
    before = PAGE.read_text()
    after = refreshed(before)
    PAGE.write_text(after)
    sys.exit(print("docs/ops.md was refreshed." if before != after else "docs/ops.md is up to date."))
