"""Conditions on item columns: what passes, and what is refused where."""

import datetime as dt
import sys
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError, TamisError, UnknownColumnError, UnknownNameError
from tamis.recommender.expressions import canonical, columns_of, parse_condition

BERLIN = pl.Datetime("ms", "Europe/Berlin")
ITEMS = pl.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "price": [5.0, None, 30.0, float("nan")],
        "weight": pl.Series([0.1, 0.2, None, 1.0], dtype=pl.Float32),
        "stock": pl.Series([1, 3, 0, None], dtype=pl.UInt8),
        "sold_out": [True, False, None, False],
        "brand": ["a", "b", "C", None],
        "kind": pl.Series(["u", "v", "u", None], dtype=pl.Categorical),
        "size": pl.Series(["S", "L", "M", None], dtype=pl.Enum(["S", "M", "L"])),
        "genres": [["drama", "war"], [], None, ["drama", None]],
        "tags": pl.Series([["u"], ["v", "u"], None, []], dtype=pl.List(pl.Categorical)),
        "numbers": pl.Series([[1, 2], [3], None, []], dtype=pl.List(pl.Int8)),
        "pair": pl.Series([[1, 2], [3, 4], None, [4, 4]], dtype=pl.Array(pl.Int64, 2)),
        "day": [dt.date(2026, 1, 1), dt.date(2026, 12, 31), None, dt.date(2025, 1, 1)],
        "days": [[dt.date(2026, 1, 1)], [], None, [dt.date(2025, 1, 1)]],
        "moment": pl.Series([dt.datetime(2025, 12, 31, 23), None, dt.datetime(2026, 6, 1, 10), None], dtype=BERLIN),
        "shape": [{"a": 1}] * 4,
        "cost": pl.Series(["1.50", "2.50", None, "9.99"]).cast(pl.Decimal(10, 2)),
        "two words": [1, 2, 3, 4],
        "contains": [1, 2, 3, 4],
    }
)


def passing(condition: str) -> list[int]:
    """The items that pass."""
    return ITEMS.filter(parse_condition(condition, ITEMS.schema))["item"].to_list()


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ("price < 20", [1]),
        ("price == 5", [1]),
        ("price != 5", [3]),
        ("stock == 3 and price < 20", []),
        ("stock == 1 and price < 20", [1]),
        ("stock == 3 or price < 20", [1, 2]),
        ("stock == 3 or stock == 1 and price > 20", [2]),
        ("(stock == 3 or stock == 1) and price > 20", []),
        ("5 <= price < 31", [1, 3]),
        ("5 < price <= 30", [3]),
        ("weight == 0.1", [1]),
        ("weight in [0.1, 1]", [1, 4]),
        ("cost >= 2.5", [2, 4]),
        ("sold_out", [1]),
        ("not sold_out", [2, 4]),
        ("sold_out == false", [2, 4]),
        ("sold_out in [true]", [1]),
        ('brand == "a"', [1]),
        ("brand == 'a'", [1]),
        ('brand < "b"', [1, 3]),
        ('kind == "u"', [1, 3]),
        ('kind == "unheard of"', []),
        ('kind in ["u", "unheard of"]', [1, 3]),
        ('size in ("S", "L")', [1, 2]),
        ('size < "M"', [2]),  # in the order of the alphabet, not that of the Enum
        ('brand in ["a", "C"]', [1, 3]),
        ('brand not in ["a", "C"]', [2]),
        ("brand in []", []),
        ("price > 10 or true", [1, 2, 3, 4]),
        ("`two words` > 2", [3, 4]),
        ("`contains` > 2", [3, 4]),
    ],
)
def test_a_condition_lets_pass_what_it_says(condition: str, items: list[int]) -> None:
    assert passing(condition) == items


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ("price is null", [2, 4]),
        ("price is not null", [1, 3]),
        ("shape is null", []),
        ("genres is null", [3]),
        ("not price < 20", [3]),
        ("not (price < 20 and stock == 1)", [2, 3]),  # one side is known to be false
        ("sold_out or price is null", [1, 2, 4]),
        ("not genres contains 'drama'", [2]),
        ("brand in genres", []),
        ("10 / stock > 0", [1, 2]),  # 10 / 0 is null
        ("10 / stock is null", [3, 4]),
    ],
)
def test_what_is_null_passes_no_comparison(condition: str, items: list[int]) -> None:
    assert passing(condition) == items


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ('genres contains "drama"', [1, 4]),
        ('"drama" in genres', [1, 4]),
        ('"drama" not in genres', [2]),
        ('genres not contains "drama"', [2]),
        ('contains(genres, "war")', [1]),
        ('tags contains "u"', [1, 2]),
        ("kind in tags", [1, 2]),
        ("numbers contains 3", [2]),
        ("numbers contains 300", []),
        ("numbers contains 2.0", [1]),
        ("numbers contains 2.5", []),
        ("item in numbers", [1]),
        ("pair contains 4", [2, 4]),
        ("price in pair", []),
        ('days contains "2026-01-01"', [1]),
        ("day in days", [1, 4]),
        ("len(genres) == 0", [2]),
        ("len(genres) >= 2 and sold_out", [1]),
    ],
)
def test_lists_are_asked_for_what_they_hold(condition: str, items: list[int]) -> None:
    assert passing(condition) == items


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ("stock - 3 < 0", [1, 3]),  # no wrapping around below 0
        ("stock * 200 == 600", [2]),
        ("-stock < -1", [2]),
        ("abs(stock - 2) == 1", [1, 2]),
        ("price * 2 + 1 > 2 * (5 + 0.5)", [3]),
        ("stock in [1, 300, 0.5, -1, 3.0, 18_446_744_073_709_551_615]", [1, 2]),
        ("stock < 18446744073709551616", [1, 2, 3]),
        ("item > -9223372036854775809", [1, 2, 3, 4]),
        ("item == " + "9" * 40, []),
        ("lower(brand) == 'c'", [3]),
        ("upper(brand) == 'A'", [1]),
        ("len(brand) == 1", [1, 2, 3]),
        ("brand contains 'a'", [1]),
        ("brand contains '.'", []),  # no pattern
        ("'b' in brand", [2]),
        ("startswith(brand, 'a') or endswith(brand, 'b')", [1, 2]),
    ],
)
def test_numbers_and_texts_can_be_computed(condition: str, items: list[int]) -> None:
    assert passing(condition) == items


@pytest.mark.parametrize(
    ("condition", "items"),
    [
        ('day >= "2026-01-01"', [1, 2]),
        ('"2026-01-01" < day', [2]),
        ('day < "2026-01-01 12:00"', [1, 4]),
        ('day in ["2026-12-31", "2025-01-01"]', [2, 4]),
        ('moment == "2026-01-01"', [1]),  # 23:00 in UTC is midnight in Berlin
        ('moment > "2026-06-01T11:59"', [3]),
        ("day < moment", []),
        ("day == moment", [1]),
    ],
)
def test_dates_are_written_as_text(condition: str, items: list[int]) -> None:
    assert passing(condition) == items


@pytest.mark.parametrize(
    ("condition", "message", "place"),
    [
        ("price < 'abc'", "`<` cannot compare 'price' (Float64) with the text 'abc'. Compare it with a number.", 8),
        ("price < brand", "`<` cannot compare 'price' (Float64) with 'brand' (String). Compare it with a number.", 8),
        ("price = 3", "the sign '=' means nothing here. Write == to compare.", 6),
        ("sold_out & true", "the sign '&' means nothing here. Write `and`.", 9),
        ("sold_out | true", "the sign '|' means nothing here. Write `or`.", 9),
        ("!sold_out", "the sign '!' means nothing here. Write `not`, or != to compare.", 0),
        ("price.mean() > 3", "the sign '.' means nothing here. Leave it out.", 5),
        ("price", "a condition needs true or false, not 'price' (Float64). Write a comparison, such as", 0),
        ("sold_out and price", "`and`, `or` needs true or false, not 'price' (Float64). Write a comparison", 13),
        ("price <", "it cannot be read here. Complete it, put text in quotes, or add an operator.", 7),
        ("(price < 3", "it cannot be read here. Complete it", 0),
        ("price < 3 brand", "it cannot be read here. Complete it", 10),
        ("price ** 2 > 1", "it cannot be read here. Complete it", 7),
        ("price if sold_out", "it cannot be read here. Complete it", 6),
        ("genres == 'x'", "'genres' (List(String)) holds lists, which `==` cannot compare. Use `contains`.", 0),
        ("sold_out < true", "true and false have no order, so `<` means nothing. Use == or !=.", 0),
        ("price == null", "nothing is == null. Write `is null` or `is not null`.", 9),
        ("price is 3", "`is` asks for null alone. Write `is null`, or use ==.", 9),
        ("shape == 3", "`==` cannot compare 'shape' (Struct({'a': Int64})) with the number 3. Leave the column out", 0),
        ("3 < 4", "it names no column, so it is the same for all items. Compare a column with something.", 0),
        ("lower(price) == 'x'", "lower needs text, not 'price' (Float64). Give text, in quotes.", 6),
        ("price + brand > 1", "`+` needs a number, not 'brand' (String). Give a number.", 8),
        ("price in [brand]", "the list for 'price' (Float64) holds 'brand' (String). Put in a number.", 10),
        ("price in [1, 'a']", "the list for 'price' (Float64) holds the text 'a'. Put in a number.", 13),
        ("price in 3", "the number 3 holds neither lists nor text. Compare it with ==.", 9),
        ("genres in ['a']", "`in [...]` cannot look up 'genres' (List(String)). Give a column of single values.", 0),
        ("genres contains 3", "the lists of 'genres' (List(String)) cannot hold the number 3. Look for text", 16),
        ("day < 'tomorrow'", "the text 'tomorrow' is no date. Write one as 2026-12-31 or 2026-12-31 18:00.", 6),
        ("day < '2026-01-01T00:00+02:00'", "the text '2026-01-01T00:00+02:00' has a time zone. Give the time as", 6),
        ("price < 1e999", "'1e999' is too large a number. Use a smaller one.", 8),
        ("price < 12abc", "'12abc' is no number. Write one such as 20 or 1.5.", 8),
        ("price < " + "9" * 41, "'" + "9" * 40 + "' is no number.", 8),
        ("price < 'abc", "a quote ' is opened but not closed. Close it, or put a backslash before it.", 8),
        ("brand == '\ud800'", "a text holds half a character. Give valid Unicode.", 9),
        ("[price] == 1", "this has no place in a condition. Compare a column with a value.", 0),
        ("price[0] == 1", "this has no place in a condition.", 0),
        ("len(*genres) == 1", "this has no place in a condition.", 4),
        ("len(brand, brand) == 1", "len takes 1 value, not 2. Separate values with a comma.", 0),
        ("startswith(brand)", "startswith takes 2 values, not 1. Separate values with a comma.", 0),
        ("(" * 51 + "price", "brackets are nested more than 50 deep. Write it flatter.", 50),
        ("not " * 60 + "sold_out", "it is nested more than 50 deep. Write it flatter.", 0),
        ("price" + " + 1" * 60 + " > 1", "it is nested more than 50 deep. Write it flatter.", 0),
    ],
)  # fmt: skip
def test_a_mistake_is_shown_at_its_place(condition: str, message: str, place: int) -> None:
    with pytest.raises(SettingError) as found:
        parse_condition(condition, ITEMS.schema, where="Where")
    assert str(found.value).startswith(f"Where: {message}")
    assert str(found.value).splitlines()[-1].index("^") == 2 + place


def test_a_misspelt_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownColumnError) as found:
        parse_condition("stock > 1 and prise < 3", ITEMS.schema)
    assert str(found.value) == (
        "condition: the data has no column 'prise'. Did you mean 'price'? Text goes in quotes.\n"
        "  stock > 1 and prise < 3\n"
        "                ^"
    )


@pytest.mark.parametrize(
    "call", ["lenn(brand) > 1", "`len`(brand) > 1", "brand('a') or sold_out", "__import__('os') == price"]
)
def test_functions_that_are_not_there_are_refused(call: str) -> None:
    with pytest.raises(UnknownNameError, match=r"condition: there is no function"):
        parse_condition(call, ITEMS.schema)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", r"condition: the condition is ''. Give one such as 'price < 20'."),
        (" \n", r"the condition is ' \\n'. Give one"),
        (None, r"the condition is None. Give one"),
        ("x" * 20_001, r"the condition has 20,001 characters. Use 20,000 or fewer."),
        (f"price in [{'1, ' * 1001}]", r"there are more than 1,000 values. Use fewer, or a list of ids."),
        (" or ".join(["price < 1"] * 80), r"there are more than 200 names and operators. Use `in \[...\]`"),
    ],
    ids=["empty", "blank", "none", "long", "values", "operators"],
)
def test_what_is_too_much_or_nothing_is_refused(condition: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_condition(condition, ITEMS.schema)


def test_a_long_condition_is_shown_around_the_mistake() -> None:
    with pytest.raises(SettingError) as found:
        parse_condition("price < 1 or " * 20 + "price ? 2" + " or price < 1" * 20, ITEMS.schema)
    _, line, caret = str(found.value).splitlines()
    assert line[caret.index("^")] == "?"
    assert line.startswith("  ...") and line.endswith("...") and len(line) < 140


@pytest.mark.parametrize("piece", ["(", "[", "not ", "- ", "price +", "price <", "len(", "not(", "'", "`", "1,", "9"])
def test_repetition_without_end_is_refused_quickly(piece: str) -> None:
    start = time.perf_counter()
    with pytest.raises(TamisError):
        parse_condition("price < 1 or " + piece * (19_000 // len(piece)), ITEMS.schema)
    assert time.perf_counter() - start < 1


def test_a_caller_deep_in_the_stack_gets_a_refusal() -> None:
    def at_depth(left: int) -> str:
        if left:
            return at_depth(left - 1)
        with pytest.raises(SettingError) as found:
            parse_condition("not " * 40 + "sold_out", ITEMS.schema)
        return str(found.value)

    frame, frames = sys._getframe(), 0
    while frame is not None:
        frame, frames = frame.f_back, frames + 1
    refusal = at_depth(sys.getrecursionlimit() - frames - 30)
    assert refusal == "condition: the condition is nested too deeply. Write it flatter."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("category==3and price<20", None),
        ("category==3 and price<20", "category == 3 and price < 20"),
        (" brand  in['a',\n'b'] ", 'brand in ["a", "b"]'),
        ("price is None or not(True)", "price is null or not (true)"),
        ("a - -3 < (- b)*- 2", "a - -3 < (-b) * -2"),
        ("`two words` > `price`", "`two words` > price"),
        ("`in` > `len`", "`in` > len"),
        (r"""a == 'say "hi" \\ \n \d'""", r'a == "say \"hi\" \\ \n \\d"'),
        ("contains ( a,'x' ) or a contains('x')", 'contains(a, "x") or a contains ("x")'),
    ],
)
def test_the_same_condition_has_one_text(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(SettingError, match="'3and' is no number"):
            canonical(text)
    else:
        assert canonical(text) == canonical(expected) == expected


def test_the_columns_of_a_condition_can_be_asked_for() -> None:
    assert columns_of("len(genres) > 1 and `two words` in [1] or price is null or genres contains 'x'") == (
        "genres",
        "two words",
        "price",
    )


def test_reading_a_condition_takes_well_under_a_millisecond() -> None:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        parse_condition("stock == 3 and price < 20", ITEMS.schema)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.001


_VALUES = st.sampled_from(
    [*(f"`{name}`" for name in ITEMS.columns), "1", "-2.5", "300", "99999999999999999999", "18446744073709551615",
     "'a'", "'2026-01-01'", "true", "null", "[1, 2.5, -1]", "['a', '']", "[]", "['2026-01-01']",
     "[9223372036854775808]"]
)  # fmt: skip
_OPERATORS = st.sampled_from(
    ["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "is", "is not", "and", "or", "+", "-", "*", "/"]
)


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, parts, _OPERATORS, parts),
        st.builds("{} {} {}".format, parts, _OPERATORS, parts),
        st.builds("not {}".format, parts),
        st.builds("-{}".format, parts),
        st.builds("{}({})".format, st.sampled_from(["len", "lower", "upper", "abs"]), parts),
        st.builds("{}({}, {})".format, st.sampled_from(["contains", "startswith", "endswith"]), parts, parts),
    )


@settings(max_examples=400, deadline=None)
@given(st.recursive(_VALUES, _larger, max_leaves=6))
def test_whatever_is_not_refused_can_be_evaluated_and_written_again(text: str) -> None:
    try:
        condition = parse_condition(text, ITEMS.schema)
    except TamisError:
        return
    found = ITEMS.select(found=condition)["found"]
    assert found.dtype == pl.Boolean and found.null_count() == 0
    assert ITEMS.clear().select(condition).height == 0
    assert canonical(canonical(text)) == canonical(text)
    again = ITEMS.select(found=parse_condition(canonical(text), ITEMS.schema))["found"]
    assert again.to_list() == found.to_list()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    try:
        parse_condition(text, ITEMS.schema)
    except TamisError as error:
        assert str(error).encode()
