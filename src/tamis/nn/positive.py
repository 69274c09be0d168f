"""Settings that must be 1 or more."""

from __future__ import annotations

from tamis.errors import SettingError


def need_positive(where: str, **numbers: int) -> None:
    """Refuse numbers below 1.

    Raises:
        SettingError: names the setting and its value.
    """
    for name, number in numbers.items():
        if number < 1:
            raise SettingError(f"{where}: {name} is {number}. Choose 1 or more.")
