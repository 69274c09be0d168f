from pathlib import Path

import pytest

from tamis.errors import SettingError, UnknownColumnError
from tamis.journey.request_arguments import check_users, read_context
from tamis.schema import ColumnSchema, Schema

SCHEMA = Schema(
    [
        ColumnSchema("hour", "int64"),
        ColumnSchema("share", "float32"),
        ColumnSchema("place", "string"),
        ColumnSchema("is_new", "boolean"),
        ColumnSchema("words", "string", is_list=True),
    ]
)


def test_context_is_read_in_the_kind_of_its_column() -> None:
    pairs = ["hour=20", "share=0.5", "place=20=x", "is_new=true", 'words=["a", "b"]']
    found = read_context(pairs, SCHEMA)
    assert found == {"hour": 20, "share": 0.5, "place": "20=x", "is_new": True, "words": ["a", "b"]}
    assert read_context([], SCHEMA) == {}


def test_context_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(SettingError, match=r"recommend: --context is 'hour'. Give name=value, hour=20 say"):
        read_context(["hour"], SCHEMA)
    with pytest.raises(SettingError, match=r"--context hour is 'late', but the column holds int64. Write it as JSON"):
        read_context(["hour=late"], SCHEMA)
    with pytest.raises(UnknownColumnError, match=r"--context: the data has no column 'our'. Did you mean 'hour'"):
        read_context(["our=1"], SCHEMA)


@pytest.mark.parametrize(
    ("users", "output", "all_users", "message"),
    [
        (None, None, False, "there is neither --user nor --all-users"),
        (["u1"], Path("x"), True, "both --user and --all-users are given"),
        (None, None, True, r"--all-users needs a place for the lists. Give --output recs.parquet"),
    ],
)
def test_who_is_asked_for_must_be_said_once(users, output, all_users: bool, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_users(users, output, all_users=all_users)


def test_some_users_on_the_screen_or_in_a_file_and_all_of_them_in_a_file_are_fine() -> None:
    check_users(["u1"], None, all_users=False)
    check_users(["u1"], Path("x"), all_users=False)
    check_users(None, Path("x"), all_users=True)
