"""A study's folder is nobody else's, and holds trials of one thing."""

import os
from pathlib import Path

import pytest

from tamis.errors import FormatError, SettingError, TamisError
from tamis.journey.study_folder import fingerprint, held_study, replace_text

SEARCHED = {"training": {"epochs": 3, "layers": (1, 2)}, "files": {"users": "a"}, "space": {"model.dim": {"low": 1}}}


def test_the_same_search_comes_back_to_it(tmp_path: Path) -> None:
    for _ in range(2):
        with held_study(tmp_path / "new" / "study", SEARCHED):
            assert (tmp_path / "new" / "study" / "study.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"training": {"epochs": 4}},
            r"searched with training.epochs = 3, now it is 4. Change it back, or name another",
        ),
        ({"space": {"model.dim": {"low": 2}}}, r'space = \{"model.dim": \{"low": 1\}\}, now it is'),
        (
            {"files": {"users": "b"}},
            r"the files of data.users changed since it began. Bring them back, or name another",
        ),
    ],
)
def test_another_search_is_refused_with_what_differs(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with held_study(tmp_path, SEARCHED):
        pass
    with pytest.raises(SettingError, match=message), held_study(tmp_path, SEARCHED | change):
        pass


def test_a_setting_that_a_later_version_adds_does_not_end_a_study(tmp_path: Path) -> None:
    with held_study(tmp_path, SEARCHED):
        pass
    with held_study(tmp_path, {**SEARCHED, "training": {**SEARCHED["training"], "new": 0}}):
        pass


def test_two_searches_at_once_are_refused(tmp_path: Path) -> None:
    with (
        held_study(tmp_path, SEARCHED),
        pytest.raises(SettingError, match=r"another search is running there. Wait for it, or name another folder"),
        held_study(tmp_path, SEARCHED),
    ):
        pass
    with held_study(tmp_path, SEARCHED):  # the lock went with it
        pass


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("thesis.txt", "mine", r"holds 'thesis.txt' and no study.json, so it is no study. Name a new or empty folder"),
        ("study.json", '{"kind": "workflow"}', r"study.json: it does not describe a study. Name another folder"),
        (
            "study.json",
            '{"kind": "study", "version": 9}',
            r"format version 9 is newer than the 1 that this Tamis reads",
        ),
        ("study.json", "{", r"study.json: it cannot be read as JSON"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    error: type[TamisError] = FormatError
    with pytest.raises(error, match=message), held_study(tmp_path, SEARCHED):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_start_that_was_killed_is_no_stranger(tmp_path: Path) -> None:
    (tmp_path / ".study.json.new").write_text('{"ki')
    with held_study(tmp_path, SEARCHED):
        assert [file.name for file in tmp_path.iterdir()] == ["study.json"]


def test_a_fingerprint_changes_with_the_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "part-1.parquet"
    file.write_text("one")
    kinds = [str(file), str(tmp_path), str(tmp_path / "*.parquet")]
    before = [fingerprint(path) for path in kinds]
    assert before == [fingerprint(path) for path in kinds]
    os.utime(file, ns=(0, 12345))
    assert all(old != fingerprint(path) for old, path in zip(before, kinds, strict=True))
    assert fingerprint("") == fingerprint("s3://bucket/x.parquet") == ""


def test_a_text_is_replaced_as_a_whole(tmp_path: Path) -> None:
    replace_text(tmp_path / "a", "old and long")
    replace_text(tmp_path / "a", "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a", "new")]
