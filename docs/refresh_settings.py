"""Write the settings of the server, as the code has them, into docs/serving.md."""

from __future__ import annotations

import re
from pathlib import Path

from tamis.serving.serving_settings import PREFIX, ServingSettings

PAGE = Path(__file__).with_name("serving.md")
_MARKS = ("<!-- settings: begin -->", "<!-- settings: end -->")


def table() -> str:
    """One row for each setting."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for name, field in ServingSettings.model_fields.items():
        rows.append(f"| `{name}` | {_shown(field.default)} | {field.description or ''} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    if default is None or default == ():
        return ""
    return f"`{str(default).lower()}`" if isinstance(default, bool) else f"`{default}`"


def refreshed(page: str) -> str:
    """The page with the table as it is now."""
    begin, end = _MARKS
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    assert found.search(page), f"{PAGE.name} has no {begin} ... {end}"
    return found.sub(lambda _: f"{begin}\n{table()}\n{end}", page)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote {PAGE.name}; in the environment each name begins with {PREFIX}")
