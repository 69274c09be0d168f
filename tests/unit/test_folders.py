import hashlib
import os
import time
from pathlib import Path

import pytest

from tamis.errors import FormatError
from tamis.folders import MANIFEST, new_folder, read_json, read_manifest, saving, write_json


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_model(path: Path, text: str) -> None:
    with saving(path, kind="model", version=1) as folder:
        (folder / "weights.txt").write_text(text)


def test_a_new_folder_appears_only_at_the_end(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "target") as folder:
        (folder / "a.parquet").write_text("x")
        assert not (tmp_path / "deep" / "target").exists()
    assert names(tmp_path / "deep") == ["target"]
    assert names(tmp_path / "deep" / "target") == ["a.parquet"]


def test_an_exception_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "old")
    with pytest.raises(ZeroDivisionError), saving(tmp_path / "m", kind="model", version=1) as folder:
        (folder / "weights.txt").write_text("half")
        1 / 0  # noqa: B018 - the failure of the made-up writer
    assert (tmp_path / "m" / "weights.txt").read_text() == "old"
    assert names(tmp_path) == ["m"]


def test_a_success_replaces_the_whole_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "old")
    (tmp_path / "m" / "extra.txt").write_text("x")
    write_model(tmp_path / "m", "new")
    assert names(tmp_path / "m") == [MANIFEST, "weights.txt"]


def test_a_failing_last_rename_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "m", "old")
    rename = Path.rename

    def fails_for_new(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_new)
    with pytest.raises(OSError, match="disk full"):
        write_model(tmp_path / "m", "new")
    assert (tmp_path / "m" / "weights.txt").read_text() == "old"
    assert names(tmp_path) == ["m"]


def test_a_file_in_the_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(FormatError, match=r"there is a file where a folder should go. Give another path"):
        write_model(tmp_path / "m", "new")
    assert (tmp_path / "m").read_text() == "mine"


@pytest.mark.parametrize("stranger", [".bashrc", "thesis.doc", "sub/thesis.doc"])
def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path, stranger: str) -> None:
    """A mistyped path must not cost a home folder."""
    file = tmp_path / "home" / stranger
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    with pytest.raises(FormatError, match=r"which is no data of ours.*Give a new or empty folder"):
        write_model(tmp_path / "home", "new")
    assert file.read_text() == "years of work"


def test_empty_folders_are_replaced_and_data_replaces_data(tmp_path: Path) -> None:
    (tmp_path / "m" / "sub").mkdir(parents=True)
    write_model(tmp_path / "m", "new")
    assert names(tmp_path / "m") == [MANIFEST, "weights.txt"]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old.parquet").write_text("x")
    with new_folder(tmp_path / "d") as folder:
        (folder / "a.parquet").write_text("y")
    assert names(tmp_path / "d") == ["a.parquet"]


def test_leftovers_of_dead_writers_go_at_the_next_write_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead, fresh, other = (tmp_path / f".{name}" for name in ("m.new-0a0a0a0a", "m.new-0b0b0b0b", "n.new-0c0c0c0c"))
    for folder in (dead, fresh, other):
        folder.mkdir()
    for folder in (dead, other):
        os.utime(folder, (0, 0))
    with new_folder(tmp_path / "m") as living:
        os.utime(living, (0, 0))
        write_model(tmp_path / "m", "by another writer")
        assert names(tmp_path) == sorted([living.name, fresh.name, other.name, "m"])


def test_the_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with new_folder("~/target"):
        pass
    assert (tmp_path / "target").is_dir()


def test_the_manifest_tells_kind_version_facts_and_checksums(tmp_path: Path) -> None:
    with saving(tmp_path / "m", kind="model", version=3, dim=64) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("abc")
    manifest = read_manifest(tmp_path / "m", kind="model", version=3)
    assert manifest["dim"] == 64
    # sha256 of "abc", from the standard's example
    assert manifest["files"] == {"sub/a.txt": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: (m / "weights.txt").write_text("other"), r"its content changed since it was saved. Save the model"),
        (lambda m: (m / "weights.txt").unlink(), r"the file is missing from the saved model"),
        (lambda m: (m / MANIFEST).unlink(), r"the folder has no manifest.json, so it is not a saved model"),
        (lambda m: (m / MANIFEST).write_text("{"), r"cannot be read as JSON"),
        (lambda m: (m / MANIFEST).write_text("[1]"), r"it holds \[1\], not 'model'"),
        (lambda m: (m / MANIFEST).write_text('{"kind": "index"}'), r"it holds 'index', not 'model'. Give a folder"),
        (lambda m: (m / MANIFEST).write_text('{"kind": "model"}'), r"lacks a version or the list of files. Save"),
        (
            lambda m: (m / MANIFEST).write_text('{"kind": "model", "version": 2, "files": {}}'),
            r"format version 2 is newer than the 1 that this Tamis reads. Upgrade Tamis",
        ),
    ],
)
def test_a_broken_folder_is_refused_with_the_reason(tmp_path: Path, change, message: str) -> None:
    write_model(tmp_path / "m", "old")
    change(tmp_path / "m")
    with pytest.raises(FormatError, match=message):
        read_manifest(tmp_path / "m", kind="model", version=1)


def test_no_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"there is no such folder, so it is not a saved model"):
        read_manifest(tmp_path / "m", kind="model", version=1)


def test_json_keeps_its_content_and_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ü": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"ü": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    with pytest.raises(FormatError, match=r"b.json: it cannot be read as JSON"):
        read_json(tmp_path / "b.json")


def test_a_saved_thing_replaces_no_folder_of_parquet(tmp_path: Path) -> None:
    """It may be the very data that the model was trained on."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clicks.parquet").write_text("x")
    with (
        pytest.raises(FormatError, match=r"data: the folder holds the data 'clicks.parquet', and replacing it would"),
        saving(tmp_path / "data", kind="model", version=1),
    ):
        pytest.fail("nothing is written")
    assert names(tmp_path / "data") == ["clicks.parquet"]


def test_a_schema_beside_raw_data_does_not_make_the_folder_ours(tmp_path: Path) -> None:
    """People inspect their raw folders and have the schema written there."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("schema.json", "events.csv", "rows.parquet"):
        (raw / name).write_text("mine")
    with pytest.raises(FormatError, match=r"the folder holds 'events.csv', which is no data of ours"), new_folder(raw):
        pass
    assert sorted(file.name for file in raw.iterdir()) == ["events.csv", "rows.parquet", "schema.json"]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written are some seconds old."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 5)


@pytest.mark.usefixtures("later")
def test_a_file_is_read_once_as_long_as_nobody_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "m", "some text")
    digest, read = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda file, how: read.append(file.name) or digest(file, how))
    for _ in range(3):
        read_manifest(tmp_path / "m", kind="model", version=1)
    assert read == [str(tmp_path / "m" / "weights.txt")]


@pytest.mark.usefixtures("later")
def test_another_content_of_the_same_size_is_found_whatever_its_time_says(tmp_path: Path) -> None:
    file = tmp_path / "m" / "weights.txt"
    write_model(tmp_path / "m", "some text")
    read_manifest(tmp_path / "m", kind="model", version=1)
    before = file.stat()
    for content in ("same text", "next text"):
        file.write_text(content)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(FormatError, match=r"weights.txt: its content changed since it was saved"):
            read_manifest(tmp_path / "m", kind="model", version=1)
    file.write_text("some text")
    read_manifest(tmp_path / "m", kind="model", version=1)


def test_a_file_that_was_just_written_is_read_each_time(tmp_path: Path) -> None:
    """Two changes within a tick of the clock leave the same times."""
    file = tmp_path / "m" / "weights.txt"
    write_model(tmp_path / "m", "some text")
    for content in ("same text", "some text") * 20:
        file.write_text(content)
        if content == "some text":
            read_manifest(tmp_path / "m", kind="model", version=1)
        else:
            with pytest.raises(FormatError, match=r"weights.txt: its content changed since it was saved"):
                read_manifest(tmp_path / "m", kind="model", version=1)
