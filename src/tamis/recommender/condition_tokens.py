"""The words of a condition on items: read one by one, counted, and written in one way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tamis.errors import SettingError

MAX_LENGTH, MAX_VALUES, MAX_OPERATIONS, MAX_DEPTH = 20_000, 1_000, 200, 50
NAME, TEXT, NUMBER, SIGN, WORD = "name", "text", "number", "sign", "word"
FUNCTIONS = ("abs", "contains", "endswith", "len", "lower", "startswith", "upper")
CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_WORDS = {"and", "or", "not", "in", "is", "contains"}
_RESERVED = {*_WORDS, *CONSTANTS}
_LONGEST_NUMBER = 40
_SHOWN = 60  # characters of a long condition on each side of a mistake

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<letters>\w*)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<quoted>`[^`]+`)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>[=!<>]=|[<>+\-*/()\[\],])""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[^\W\d]\w*")
_INSTEAD = {"=": "Write == to compare", "&": "Write `and`", "|": "Write `or`", "!": "Write `not`, or != to compare"}
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t"}


@dataclass(frozen=True)
class Token:
    """A word of a condition: what it is, what it says, and where it begins."""

    kind: str
    value: str
    at: int
    is_quoted: bool = False  # a name in backticks

    @property
    def ends_value(self) -> bool:
        """Whether a value may end here, so that an operator follows."""
        return self.kind in (NAME, TEXT, NUMBER) or self.is_sign(")", "]")

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.kind == SIGN and self.value in signs


@dataclass(frozen=True)
class Source:
    """A condition as it was given, for telling where in it something is wrong."""

    text: str
    where: str

    def error(self, problem: str, advice: str, at: int) -> SettingError:
        """The error with a caret below the place."""
        return SettingError(f"{self.where}: {problem}. {advice}.{self.caret(at)}")

    def caret(self, at: int) -> str:
        """Two more lines: the condition, and a caret below the place."""
        start, stop = max(at - _SHOWN, 0), at + _SHOWN
        before, after = "..." if start else "", "..." if stop < len(self.text) else ""
        line = "".join(sign if sign.isprintable() else " " for sign in self.text[start:stop])
        return f"\n  {before}{line}{after}\n  {' ' * (at - start + len(before))}^"


def tokens_of(source: Source) -> list[Token]:
    """The words of the condition.

    Raises:
        SettingError: it is empty, too long, holds a sign that means nothing, or brackets nested too deeply.
    """
    if not isinstance(source.text, str) or not source.text.strip():
        raise SettingError(f"{source.where}: the condition is {source.text!r}. Give one such as 'price < 20'.")
    if len(source.text) > MAX_LENGTH:
        raise SettingError(
            f"{source.where}: the condition has {len(source.text):,} characters. Use {MAX_LENGTH:,} or fewer."
        )
    found: list[Token] = []
    for token in _read(source):
        found.append(_in_context(token, found))
        if found[-1].kind == NUMBER and found[-1].value.startswith("-"):
            del found[-2]  # the sign that went into the number
    _check_size(found, source)
    return found


def _read(source: Source) -> Iterator[Token]:
    text, at = source.text, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(source, at)
        kind, value = match.lastgroup, match.group()
        if kind == "letters":
            if match["letters"] or len(match["number"]) > _LONGEST_NUMBER:
                raise source.error(f"{value[:_LONGEST_NUMBER]!r} is no number", "Write one such as 20 or 1.5", at)
            yield Token(NUMBER, value, at)
        elif kind == TEXT:
            yield Token(TEXT, _unescaped(value, source, at), at)
        elif kind == "quoted":
            yield Token(NAME, value[1:-1], at, is_quoted=True)
        elif kind == NAME:
            yield Token(WORD if value in _WORDS else NAME, value, at)
        elif kind == SIGN:
            yield Token(SIGN, value, at)
        at = match.end()


def _unreadable(source: Source, at: int) -> SettingError:
    sign = source.text[at]
    if sign in "\"'`":
        return source.error(f"a quote {sign} is opened but not closed", "Close it, or put a backslash before it", at)
    return source.error(f"the sign {sign!r} means nothing here", _INSTEAD.get(sign, "Leave it out"), at)


def _unescaped(literal: str, source: Source, at: int) -> str:
    try:
        literal.encode()
    except UnicodeEncodeError:
        raise source.error("a text holds half a character", "Give valid Unicode", at) from None
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), literal[1:-1], flags=re.DOTALL)


def _in_context(token: Token, before: Sequence[Token]) -> Token:
    """A minus before a number belongs to it unless it subtracts; `contains` without a left side is the function."""
    last = before[-1] if before else None
    if token.kind == NUMBER and last is not None and last.is_sign("-"):
        subtracts = len(before) > 1 and before[-2].ends_value
        return token if subtracts else Token(NUMBER, f"-{token.value}", last.at)
    if token.value == "contains" and token.kind == WORD:
        is_operator = last is not None and (last.ends_value or last.value == "not")
        return token if is_operator else Token(NAME, token.value, token.at)
    return token


def _check_size(tokens: Sequence[Token], source: Source) -> None:
    depth = values = operations = 0
    for token in tokens:
        depth += int(token.is_sign("(", "[")) - int(token.is_sign(")", "]"))
        values += token.kind in (TEXT, NUMBER)
        operations += token.kind in (WORD, NAME) or (token.kind == SIGN and not token.is_sign(",", ")", "]"))
        if depth > MAX_DEPTH:
            raise source.error(f"brackets are nested more than {MAX_DEPTH} deep", "Write it flatter", token.at)
        if values > MAX_VALUES:
            raise source.error(f"there are more than {MAX_VALUES:,} values", "Use fewer, or a list of ids", token.at)
        if operations > MAX_OPERATIONS:
            raise source.error(
                f"there are more than {MAX_OPERATIONS} names and operators",
                "Use `in [...]`, or a shorter one",
                token.at,
            )


def written(tokens: Sequence[Token]) -> str:
    """The tokens as a condition again, with spaces and quotes in one way; reads as the same tokens."""
    glued = [_is_glued(tokens, i) for i in range(len(tokens))]
    return "".join(("" if to_last else " ") + _written(token) for to_last, token in zip(glued, tokens, strict=True))


def _is_glued(tokens: Sequence[Token], i: int) -> bool:
    """Whether no space stands before the token."""
    if i == 0 or tokens[i].is_sign(")", "]", ","):
        return True
    last = tokens[i - 1]
    return last.is_sign("(", "[") or _is_sign(tokens, i - 1) or (last.kind == NAME and tokens[i].is_sign("("))


def _is_sign(tokens: Sequence[Token], i: int) -> bool:
    """Whether this is a minus or plus that has no left side."""
    return tokens[i].is_sign("+", "-") and (i == 0 or not tokens[i - 1].ends_value)


def _written(token: Token) -> str:
    if token.kind == TEXT:
        escaped = token.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    if token.kind == NAME and token.value in CONSTANTS and not token.is_quoted:
        return token.value.lower().replace("none", "null")
    if token.kind == NAME and token.is_quoted and (token.value in _RESERVED or not _PLAIN_NAME.fullmatch(token.value)):
        return f"`{token.value}`"
    return token.value
