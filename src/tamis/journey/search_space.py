"""What a search may vary: `[tune.space]`, each setting checked against the configuration that it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias, get_type_hints

from tamis.errors import SettingError, UnknownNameError
from tamis.journey.config import SECTIONS, TrainConfig
from tamis.journey.config_tables import typed

WHERE = "tune.space"
_SEARCHED = {"retrieval": ("model", "training"), "ranking": ("ranking",)}
# what all trials share: the rows to train on, chance, and the machine
_SHARED = ("training.seed", "training.device", "ranking.share", "ranking.num_negatives")
_LAYERED = ("two-tower", "auto-int", "dcn", "deep-fm", "dlrm", "mlp", "wide-and-deep")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, evenly or by their logarithm, all or in steps."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """What a configuration must bear at least."""
        return self.low, self.high

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or not (Decimal(str(value)) - Decimal(str(self.low))) % Decimal(str(self.step))

    def nearest(self, value: float) -> float:
        """The number of the range that is nearest to another."""
        clipped = min(max(value, self.low), self.high)
        if self.step is None:
            return clipped
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        return type(self.low)(low + round((Decimal(str(clipped)) - low) / step) * step)


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def labels(self) -> dict[str, Any]:
        """Each value by a text of its own."""
        return {json.dumps(value, ensure_ascii=False): value for value in self.values}


Domain: TypeAlias = Range | Choices


def search_space(config: TrainConfig) -> dict[str, Domain]:
    """The settings that the configuration's search varies, by name such as `"training.learning_rate"`, in its order.

    `{ low, high }` are the ends of a range of numbers, both included; `log = true` spreads it evenly over orders of
    magnitude, `step` leaves only so many apart. `{ choices }` are values to choose from.

    Raises:
        UnknownNameError: no such setting, or no such key beside `low` and `high`.
        SettingError: a setting that all trials share, a range that is none, or ends that the setting cannot have.
    """
    stage = config.tune.stage
    if stage == "ranking" and config.ranking.kind == "none":
        raise SettingError("tune.stage: 'ranking' is to be searched, but ranking.kind is 'none'. Choose a kind.")
    given = _by_name(config.tune.space)
    space = {name: _domain(name, given[name], stage) for name in sorted(given)} or default_space(config)
    for name, domain in space.items():
        for value in domain.ends:
            with_settings(config, {name: value})
    return space


def default_space(config: TrainConfig) -> dict[str, Domain]:
    """What matters most in a stage, for the model that the configuration names."""
    is_ranking = config.tune.stage == "ranking"
    table, steps = ("ranking", "ranking") if is_ranking else ("model", "training")
    kind = config.ranking.kind if is_ranking else config.model.kind
    space: dict[str, Domain] = {f"{steps}.learning_rate": Range(3e-4, 3e-2, log=True)}
    space[f"{steps}.embedding_l2"] = Range(1e-8, 1e-3, log=True)
    if kind != "logistic-regression":
        space[f"{table}.dim"] = Range(8, 64, step=8) if is_ranking else Range(16, 128, step=16)
    if kind in _LAYERED:
        space[f"{table}.layers"] = Choices(((64,), (128, 64), (256, 128)))
        space[f"{table}.dropout"] = Range(0.0, 0.4, step=0.1)
    if not is_ranking:
        # scores of vectors of length 1 are at most 1, so the temperature says how sharp they can get
        ends = (0.03, 0.3) if config.model.l2_normalization else (0.3, 3.0)
        space["model.temperature"] = Range(*ends, log=True)
    return dict(sorted(space.items()))


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The configuration with other values of some settings.

    Raises:
        TamisError: values that it cannot have.
    """
    for name, value in settings.items():
        table, _, key = name.partition(".")
        config = replace(config, **{table: replace(getattr(config, table), **{key: value})})
    return config


def start_of(space: Mapping[str, Domain], config: TrainConfig) -> dict[str, Any]:
    """The configuration as it is, or as near as the space comes to it; what it leaves open is left out."""
    start: dict[str, Any] = {}
    for name, domain in space.items():
        table, _, key = name.partition(".")
        value = getattr(getattr(config, table), key)
        if isinstance(domain, Range) and value is not None:
            start[name] = domain.nearest(value)
        elif value in domain:
            start[name] = value
    return start


def describe_space(space: Mapping[str, Domain]) -> dict[str, dict[str, Any]]:
    """The space as JSON can hold it."""
    return {name: asdict(domain) for name, domain in space.items()}


def _by_name(space: Mapping[str, Any]) -> dict[str, Any]:
    """Both ways to write it: `"model.dim" = {...}`, and `model.dim = {...}`, which TOML reads as a table in a table."""
    flat: dict[str, Any] = {}
    for name, value in space.items():
        inner = value if name in SECTIONS and isinstance(value, dict) else None
        flat |= {name: value} if inner is None else {f"{name}.{key}": one for key, one in inner.items()}
    return flat


def _domain(name: str, given: Any, stage: str) -> Domain:
    hint = _checked_hint(name, stage)
    place = f"{WHERE}: {name}"
    if not isinstance(given, dict) or not given:
        raise SettingError(f"{place} is {given!r}. Make it {{ low = ..., high = ... }} or {{ choices = [...] }}.")
    known = ("choices",) if "choices" in given else ("low", "high", "step", "log")
    for key in given:
        if key not in known:
            raise UnknownNameError(key, known, where=place, what="key")
    if "choices" in given:
        return _choices(given["choices"], hint, place)
    return _range(given, hint, place)


def _checked_hint(name: str, stage: str) -> Any:
    """The type of a setting that may be searched."""
    known = {f"{table}.{key}": hint for table, kind in SECTIONS.items() for key, hint in get_type_hints(kind).items()}
    tables = _SEARCHED[stage]
    open_to_search = [one for one in known if one.partition(".")[0] in tables and one not in _SHARED]
    if name in open_to_search:
        return float if known[name] == float | None else known[name]
    if name not in known:
        raise UnknownNameError(name, open_to_search, where=WHERE, what="setting")
    raise SettingError(
        f"{WHERE}: {name!r} is the same for all trials of the stage {stage!r}. Leave it out; what may be searched is "
        f"in {' and '.join(f'[{table}]' for table in tables)}."
    )


def _choices(values: Any, hint: Any, place: str) -> Choices:
    if not isinstance(values, list) or not values:
        raise SettingError(f"{place}: choices is {values!r}. Give a list of one value or more.")
    found = tuple(typed(value, hint, f"{place}: a choice") for value in values)
    if len(set(found)) < len(found):
        raise SettingError(f"{place}: a choice stands twice in {values!r}. Leave it there once.")
    return Choices(found)


def _range(given: Mapping[str, Any], hint: Any, place: str) -> Range:
    if hint not in (int, float):
        raise SettingError(f"{place} is no number, so it has no range. Give {{ choices = [...] }}.")
    for key in ("low", "high"):
        if key not in given:
            raise SettingError(f"{place}: {key} is missing. Give both ends.")
    numbers = {key: typed(given[key], hint, f"{place}: {key}") for key in ("low", "high", "step") if key in given}
    found = Range(**numbers, log=typed(given.get("log", False), bool, f"{place}: log"))
    _check_range(found, place)
    return found


def _check_range(found: Range, place: str) -> None:
    if not found.low < found.high < float("inf"):
        raise SettingError(f"{place}: it goes from {found.low} to {found.high}. Give a low end below a high one.")
    if found.log and (found.low <= 0 or found.step is not None):
        wrong = "a step" if found.step is not None else f"a low end of {found.low}"
        raise SettingError(f"{place}: log is true, with {wrong}. Logarithms need a low end above 0, and no step.")
    if found.step is not None and not found.step > 0:
        raise SettingError(f"{place}: step is {found.step}. Choose it above 0.")
    if found.high not in found:
        raise SettingError(f"{place}: no step of {found.step} from {found.low} meets {found.high}. Move an end.")
