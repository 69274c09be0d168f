"""Updates are kept in one file, one row for each thing, and a refused one leaves nothing behind."""

import sqlite3
import threading
from pathlib import Path

import pytest

from tamis.errors import DiskFullError, FormatError, SettingError
from tamis.serving.update_log import Event, ItemUpdate, UpdateLog


def test_an_item_has_one_row_that_holds_all_that_was_said_of_it(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    log.put_items([(1, {"price": 3.0, "title": "a"}), (2, {"price": 4.0})])
    log.put_items([(1, {"price": 5.0})])
    assert log.items_after(0) == [
        ItemUpdate(2, 2, {"price": 4.0}, True),
        ItemUpdate(3, 1, {"price": 5.0, "title": "a"}, True),
    ]
    assert log.items_after(2) == [ItemUpdate(3, 1, {"price": 5.0, "title": "a"}, True)]
    assert log.last_number == 3 and log.counts() == {"item": 2, "user": 0, "event": 0}


def test_a_removed_item_keeps_its_columns_for_the_day_it_comes_back(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    log.put_items([(1, {"price": 3.0})])
    log.remove_items(["1", "7"])
    assert log.items_after(1) == [ItemUpdate(2, "1", {"price": 3.0}, False), ItemUpdate(3, "7", {}, False)]
    log.put_items([(1, {"title": "a"})])
    assert log.items_after(3) == [ItemUpdate(4, 1, {"price": 3.0, "title": "a"}, True)]
    assert log.columns_of(1) == {"price": 3.0, "title": "a"} and log.columns_of(5) == {}


def test_what_a_user_met_comes_oldest_first_each_item_where_it_was_met_last(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    log.put_events([Event("u1", 1), Event("u1", 2, "click"), Event("u2", 9), Event("u1", 1)])
    log.put_user("u1", {"age": 30.0})
    assert log.user("u1").met == [2, 1]
    assert log.user("u1").features == {"age": 30.0}
    assert log.user("u2").met == [9] and log.user("u3").met == [] and log.user("u3").features == {}


def test_of_a_long_history_the_end_is_read_and_the_features_are_found_however_old(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path, history=3)
    log.put_user("u1", {"age": 30.0})
    log.put_events([Event("u1", item) for item in range(10)])
    assert log.user("u1").met == [7, 8, 9]
    assert log.user("u1").features == {"age": 30.0}


def test_features_replace_the_earlier_ones(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    log.put_user(7, {"age": 30.0, "city": "Rome"})
    log.put_user("7", {"age": 31.0})
    assert log.user(7).features == {"age": 31.0}


def test_another_process_reads_what_was_written(tmp_path: Path) -> None:
    mine, other = UpdateLog(tmp_path), UpdateLog(tmp_path)
    mine.put_items([(1, {"price": 3.0})])
    assert other.items_after(0) == [ItemUpdate(1, 1, {"price": 3.0}, True)]
    other.put_events([Event("u1", 1)])
    assert mine.user("u1").met == [1]


def test_old_events_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    log.put_events([Event("u1", 1)])
    log.put_items([(1, {"price": 3.0})])
    assert log.forget_events(older_than_days=1) == 0
    assert log.forget_events(older_than_days=-1) == 1
    assert log.counts() == {"item": 1, "user": 0, "event": 0}


def test_a_full_disk_refuses_the_update_and_keeps_all_earlier_ones(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path, max_bytes=64_000)
    for number in range(1000):
        try:
            log.put_items([(number, {"title": "x" * 1000}), (-number - 1, {"title": "y"})])
        except DiskFullError as error:
            assert "has no room for more" in str(error) and "nothing earlier is lost" in str(error)
            break
    assert 5 < number < 100
    kept = UpdateLog(tmp_path).items_after(0)
    assert {one.item for one in kept} == {item for n in range(number) for item in (n, -n - 1)}
    log.put_items([(0, {"title": "short"})])  # what makes no more room is still taken


def test_threads_write_side_by_side(tmp_path: Path) -> None:
    log = UpdateLog(tmp_path)
    threads = [
        threading.Thread(target=lambda n=n: [log.put_events([Event(f"u{n}", item)]) for item in range(20)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(log.user(f"u{n}").met == list(range(20)) for n in range(4))


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "updates.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(FormatError, match="it is no file of updates"):
        UpdateLog(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    UpdateLog(tmp_path).close()
    with sqlite3.connect(tmp_path / "updates.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FormatError, match="format version 99 is newer than the 1"):
        UpdateLog(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"updates: .*file cannot be written"):
        UpdateLog(tmp_path / "file")
