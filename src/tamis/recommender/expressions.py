"""Conditions on item columns, written as text: `category == 3 and price < 20`. Safe to take from a request."""

from __future__ import annotations

import ast
import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tamis.errors import SettingError, UnknownColumnError, UnknownNameError
from tamis.recommender.condition_tokens import (
    CONSTANTS,
    FUNCTIONS,
    MAX_DEPTH,
    NAME,
    NUMBER,
    SIGN,
    TEXT,
    WORD,
    Source,
    Token,
    tokens_of,
    written,
)
from tamis.recommender.condition_values import (
    BOOLEAN,
    NULL,
    NUMERIC,
    STRING,
    Value,
    compared,
    computed,
    contains,
    dtypes_of,
    is_among,
    need,
    number,
    of_column,
    of_constant,
    of_literal,
    truth,
)

_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def parse_condition(text: str, columns: Mapping[str, Any], *, where: str = "condition") -> pl.Expr:
    """True for the rows that the condition lets pass, as an expression over a frame with these columns.

    Columns stand by name, in backticks where the name is no plain word; text in quotes; numbers, `true` and `false`
    as they are; dates as text, `"2026-12-31"`. There are `and`, `or`, `not`, brackets; `==`, `!=`, `<`, `<=`, `>`,
    `>=`, also in a chain, `10 < price <= 20`; `brand in ["a", "b"]`; `genres contains "drama"` or `"drama" in genres`
    for list columns, and for parts of a text; `price is null`, `price is not null`; `+ - * /`; `len`, `lower`,
    `upper`, `abs`, `contains`, `startswith`, `endswith`.

    What is null compares with nothing, so neither `price < 20` nor `not price < 20` lets a null price pass; NaN and
    anything divided by 0 are null. Arithmetic is in 64-bit floats. Text is compared as it is written, case and all.

    Args:
        text: the condition.
        columns: dtype by column.
        where: what error messages begin with.

    Raises:
        UnknownColumnError: it names a column that is not there.
        UnknownNameError: it calls a function that is not there.
        SettingError: it is no condition, compares what cannot be compared, or is too long or too deep.
    """
    source = Source(text, where)
    try:
        tokens = tokens_of(source)
        tree, starts = _tree(tokens, source)
        condition = _Reader(source, tokens, starts, dtypes_of(columns)).condition(tree)
    except (RecursionError, MemoryError):  # the caller itself stands deep in the stack
        raise SettingError(f"{where}: the condition is nested too deeply. Write it flatter.") from None
    return condition.fill_null(False)


def canonical(text: str, *, where: str = "condition") -> str:
    """The condition with spaces and quotes in one way. What is canonical stays as it is.

    Raises:
        SettingError: it holds a sign that means nothing, or is too long.
    """
    return written(tokens_of(Source(text, where)))


def columns_of(text: str, *, where: str = "condition") -> tuple[str, ...]:
    """The columns that the condition names, in the order of their first mention."""
    return tuple(dict.fromkeys(_named_columns(tokens_of(Source(text, where)))))


def _named_columns(tokens: Sequence[Token]) -> list[str]:
    behind = [*tokens[1:], Token(SIGN, "", 0)]
    return [
        token.value
        for token, after in zip(tokens, behind, strict=True)
        if token.kind == NAME and not _is_constant(token) and (token.is_quoted or not after.is_sign("("))
    ]


def _is_constant(token: Token) -> bool:
    return token.kind == NAME and token.value in CONSTANTS and not token.is_quoted


def _tree(tokens: Sequence[Token], source: Source) -> tuple[ast.expr, list[int]]:
    """Python's reading of the tokens, and where each begins in what Python read.

    Python decides on precedence alone: it gets a plain word in place of each name, text and number, so that none of
    its own rules for them apply.
    """
    if not _named_columns(tokens):
        raise source.error("it names no column, so it is the same for all items", "Compare a column with something", 0)
    words = [_word(i, token) for i, token in enumerate(tokens)]
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    try:
        tree = ast.parse(" ".join(words), mode="eval").body
    except SyntaxError as error:
        at = _token_at(starts, error.offset - 1) if error.offset else len(tokens)
        place = tokens[at].at if at < len(tokens) else len(source.text)
        raise source.error(
            "it cannot be read here", "Complete it, put text in quotes, or add an operator", place
        ) from None
    _check_depth(tree, source)
    return tree, starts


def _word(i: int, token: Token) -> str:
    if token.kind == SIGN:
        return token.value
    if token.kind == WORD:
        return "in" if token.value == "contains" else token.value
    return f"t{i}"


def _token_at(starts: Sequence[int], offset: int) -> int:
    return bisect.bisect_right(starts, offset) - 1


def _check_depth(tree: ast.expr, source: Source) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise source.error(f"it is nested more than {MAX_DEPTH} deep", "Write it flatter", 0)


class _Reader:
    """Turns the tree into an expression; what is not named here is refused."""

    def __init__(
        self, source: Source, tokens: Sequence[Token], starts: Sequence[int], columns: Mapping[str, pl.DataType]
    ) -> None:
        self.source, self.tokens, self.starts, self.columns = source, tokens, starts, columns

    def condition(self, node: ast.expr) -> pl.Expr:
        return need(self.value(node), BOOLEAN, self.source, "a condition")

    def value(self, node: ast.expr) -> Value:
        at = self._at(node)
        match node:
            case ast.Name():
                return self._named(self._token(node))
            case ast.BoolOp():
                parts = [need(self.value(one), BOOLEAN, self.source, "`and`, `or`") for one in node.values]
                every = pl.all_horizontal if isinstance(node.op, ast.And) else pl.any_horizontal
                return truth(every(parts), at)
            case ast.UnaryOp(op=ast.Not()):
                return truth(~need(self.value(node.operand), BOOLEAN, self.source, "`not`"), at)
            case ast.UnaryOp(op=ast.USub()):
                return computed(-number(self.value(node.operand), self.source, "`-`"), NUMERIC, at)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return self._arithmetic(node, _ARITHMETIC[type(node.op)], at)
            case ast.Compare():
                return self._comparison(node, at)
            case ast.Call(func=ast.Name(), keywords=[]):
                return self._call(self._token(node.func), node.args, at)
        raise self.source.error("this has no place in a condition", "Compare a column with a value", at)

    def _at(self, node: ast.expr) -> int:
        return self._token(node).at

    def _token(self, node: ast.expr) -> Token:
        return self.tokens[_token_at(self.starts, node.col_offset)]

    def _named(self, token: Token) -> Value:
        if token.kind in (TEXT, NUMBER):
            return of_literal(token, self.source)
        if _is_constant(token):
            return of_constant(CONSTANTS[token.value], token.at)
        if token.value not in self.columns:
            raise self._unknown(token)
        return of_column(token.value, self.columns[token.value], token.at)

    def _unknown(self, token: Token) -> UnknownColumnError:
        error = UnknownColumnError(token.value, self.columns, where=self.source.where)
        error.args = (f"{error} Text goes in quotes.{self.source.caret(token.at)}",)
        return error

    def _arithmetic(self, node: ast.BinOp, sign: str, at: int) -> Value:
        left, right = (number(self.value(side), self.source, f"`{sign}`") for side in (node.left, node.right))
        if sign == "/":
            return computed(left / pl.when(right != 0).then(right), NUMERIC, at)
        return computed({"+": left + right, "-": left - right, "*": left * right}[sign], NUMERIC, at)

    def _comparison(self, node: ast.Compare, at: int) -> Value:
        sides = [node.left, *node.comparators]
        steps = [self._step(sides[i], op, sides[i + 1]) for i, op in enumerate(node.ops)]
        return truth(steps[0] if len(steps) == 1 else pl.all_horizontal(steps), at)

    def _step(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
        if isinstance(op, ast.Is | ast.IsNot):
            return self._null_check(left, right, is_null=isinstance(op, ast.Is))
        if isinstance(op, ast.In | ast.NotIn):
            found = self._membership(left, right)
            return ~found if isinstance(op, ast.NotIn) else found
        return compared(self.value(left), _SIGNS[type(op)], self.value(right), self.source)

    def _null_check(self, left: ast.expr, right: ast.expr, *, is_null: bool) -> pl.Expr:
        if not isinstance(right, ast.Name) or self.value(right).kind != NULL:
            raise self.source.error("`is` asks for null alone", "Write `is null`, or use ==", self._at(right))
        expr = self.value(left).expr
        return expr.is_null() if is_null else expr.is_not_null()

    def _membership(self, left: ast.expr, right: ast.expr) -> pl.Expr:
        if self._is_contains(left, right):
            return contains(self.value(left), self.value(right), self.source)
        if isinstance(right, ast.List | ast.Tuple):
            return is_among(self.value(left), [self.value(one) for one in right.elts], self.source)
        return contains(self.value(right), self.value(left), self.source)

    def _is_contains(self, left: ast.expr, right: ast.expr) -> bool:
        """Whether the operator between the two sides was written as `contains`, not `in`."""
        assert left.end_col_offset is not None
        first, last = _token_at(self.starts, left.end_col_offset - 1), _token_at(self.starts, right.col_offset)
        return any(token.kind == WORD and token.value == "contains" for token in self.tokens[first + 1 : last])

    def _call(self, function: Token, arguments: Sequence[ast.expr], at: int) -> Value:
        name = function.value
        if function.kind != NAME or function.is_quoted or name not in FUNCTIONS:
            error = UnknownNameError(name, FUNCTIONS, where=self.source.where, what="function")
            error.args = (f"{error}{self.source.caret(function.at)}",)
            raise error
        wanted = 2 if name in ("contains", "startswith", "endswith") else 1
        if len(arguments) != wanted:
            problem = f"{name} takes {wanted} value{'s' if wanted > 1 else ''}, not {len(arguments)}"
            raise self.source.error(problem, "Separate values with a comma", at)
        return self._result(name, [self.value(one) for one in arguments], at)

    def _result(self, name: str, values: Sequence[Value], at: int) -> Value:
        source = self.source
        if name == "contains":
            return truth(contains(values[0], values[1], source), at)
        if name == "len" and values[0].is_list:
            return computed(values[0].expr.list.len().cast(pl.Float64), NUMERIC, at)
        if name == "abs":
            return computed(number(values[0], source, "abs").abs(), NUMERIC, at)
        texts = [need(value, STRING, source, name) for value in values]
        if name == "len":
            return computed(texts[0].str.len_chars().cast(pl.Float64), NUMERIC, at)
        if name in ("lower", "upper"):
            return computed(texts[0].str.to_lowercase() if name == "lower" else texts[0].str.to_uppercase(), STRING, at)
        starts = texts[0].str.starts_with(texts[1]) if name == "startswith" else texts[0].str.ends_with(texts[1])
        return truth(starts, at)
