import inspect

import pytest

from tamis import errors
from tamis.errors import MissingExtraError, TamisError, UnknownColumnError, UnknownNameError


def test_a_misspelt_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownColumnError, match=r"^Categorify: the data has no column 'itemid'. Did you mean 'item_id'\?$"
    ):
        raise UnknownColumnError("itemid", ["user_id", "item_id"], where="Categorify")


def test_a_column_like_no_other_is_answered_with_all() -> None:
    assert str(UnknownColumnError("zzz", ["a", "b"], where="Loader")).endswith("It has 'a', 'b'.")


def test_data_without_columns_says_so() -> None:
    assert str(UnknownColumnError("a", [], where="Loader")) == "Loader: the data has no column 'a'. It has none."


def test_a_long_list_of_columns_is_cut() -> None:
    message = str(UnknownColumnError("zzz", [f"c{i}" for i in range(100)], where="Loader"))
    assert message.endswith("'c39', ...") and "c40" not in message


def test_an_unknown_name_tells_what_there_is() -> None:
    error = UnknownNameError("sdg", ["adam", "sgd"], where="compile", what="optimizer")
    assert str(error) == "compile: there is no optimizer 'sdg'. Did you mean 'sgd'?"
    error = UnknownNameError("xxxx", ["adam", "sgd"], where="compile", what="optimizer")
    assert str(error).endswith("There are 'adam', 'sgd'.")


def test_a_missing_extra_tells_how_to_install_it() -> None:
    error = MissingExtraError("ray", "ray", where="scale")
    assert str(error) == "scale: needs 'ray', which is not installed. Run: pip install 'tamis[ray]'."
    assert isinstance(error, ImportError)


def test_every_exception_is_a_tamis_error_and_listed_and_drawn() -> None:
    found = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    assert found == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), TamisError) for name in found)
    assert all(name in (errors.__doc__ or "") for name in found)


def test_messages_are_not_quoted_as_those_of_a_key_error() -> None:
    assert str(UnknownColumnError("a", ["b"], where="x"))[0] != '"'
