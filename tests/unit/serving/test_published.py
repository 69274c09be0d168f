"""A published place: what is served to whom, changed in one step, and back again."""

import json
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from serving_world import bundle, other_bundle
from tamis.errors import FormatError, SettingError
from tamis.serving.published import PublishedPlace, PublishedState


def test_the_first_version_is_the_current_one(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path / "place")
    assert not place.exists
    state = place.publish(bundle())
    assert place.exists and place.read() == state == PublishedState(state.current)
    assert (place.path_of(state.current) / "manifest.json").is_file()


def test_a_new_version_takes_the_place_of_the_old_and_rollback_brings_it_back(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    first = place.publish(bundle()).current
    second = place.publish(other_bundle()).current
    assert place.read() == PublishedState(second, (first,))
    assert place.rollback() == place.read() == PublishedState(first)
    with pytest.raises(SettingError, match=f"rollback: .* has no version before {first}"):
        place.rollback()


def test_a_share_of_the_users_and_a_shadow_are_undone_first(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    first = place.publish(bundle()).current
    second = place.publish(other_bundle(), share=0.25).split
    assert list(second.values()) == [0.25] and place.read().current == first
    state = place.publish(place.path_of(next(iter(second))), shadow=True)
    assert state.shadow == next(iter(second)) and state.split == second
    assert state.versions == [first, next(iter(second))]
    assert place.rollback() == PublishedState(first)


def test_what_is_no_bundle_or_was_changed_is_not_published(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path / "place")
    first = place.publish(bundle()).current
    damaged = shutil.copytree(bundle(), tmp_path / "damaged")
    (damaged / "users.arrow").write_bytes(b"something else")
    with pytest.raises(FormatError, match=r"users\.arrow: its content changed"):
        place.publish(damaged)
    with pytest.raises(FormatError, match=r"nothing"):
        place.publish(tmp_path / "nothing")
    assert place.read() == PublishedState(first)
    assert [one.name for one in (tmp_path / "place" / "versions").iterdir()] == [first]


def test_a_share_is_between_0_and_1_and_needs_something_to_be_beside(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingError, match="publish: the share is"):
            place.publish(bundle(), share=share)
    with pytest.raises(SettingError, match="has no version yet to compare with"):
        place.publish(bundle(), share=0.5)
    with pytest.raises(SettingError, match="has no version yet to compare with"):
        place.publish(bundle(), shadow=True)


def test_old_versions_go_and_those_in_use_stay(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    place.publish(bundle())
    second = place.publish(other_bundle(), keep=0).current
    assert [one.name for one in (tmp_path / "versions").iterdir()] == [second]


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    for text in ("{", "[]", '{"current": 1, "previous": []}', '{"previous": []}', '{"current": "a", "previous": 1}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(FormatError, match=r"state\.json"):
            place.read()
    (tmp_path / "state.json").write_text(json.dumps({"current": "a", "previous": [], "split": {"b": 7}}))
    with pytest.raises(FormatError, match="does not say which version is current"):
        place.read()


def test_each_user_has_a_version_and_the_shares_are_as_asked() -> None:
    state = PublishedState("a", split={"b": 0.3, "c": 0.1})
    counts = Counter(state.version_of(f"user {number}") for number in range(10_000))
    assert counts["b"] == pytest.approx(3000, abs=150) and counts["c"] == pytest.approx(1000, abs=100)
    assert all(state.version_of(user) == state.version_of(str(user)) for user in range(100))
    assert state.version_of(None) == "a"
    more = PublishedState("a", split={"b": 0.4})  # a larger share keeps those who had it
    assert all(
        more.version_of(u) == "b" for u in range(1000) if PublishedState("a", split={"b": 0.3}).version_of(u) == "b"
    )


def test_publishers_wait_for_each_other(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    place.publish(bundle())
    threads = [threading.Thread(target=place.publish, args=(one,)) for one in (other_bundle(), bundle())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = place.read()
    assert all(place.path_of(one).is_dir() for one in (state.current, *state.previous))
