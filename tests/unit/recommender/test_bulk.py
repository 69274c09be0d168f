"""Lists for everybody, in parts that a kill cannot spoil."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Recommender
from tamis.errors import FormatError, SettingError, UnknownColumnError
from tamis.recommender import bulk, bulk_folder
from tamis.recommender.ordering import SoftmaxSampling
from two_stage_world import NUM_USERS, two_stages


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bulk") / "bundle"
    two_stages().save(folder)
    return folder


@pytest.fixture(scope="module")
def recommender(bundle: Path) -> Recommender:
    return Recommender.load(bundle)


class Killed(Exception):
    """Stands for a kill between two parts."""


def die_after(monkeypatch: pytest.MonkeyPatch, num_parts: int) -> None:
    """Let the next run end when it wants to answer one more part than these; the checks before do not count."""
    answered, real = [], bulk._answered

    def answer(recommender, run, request, *, part):
        if len(request):
            answered.append(part)
        if len(answered) > num_parts:
            raise Killed
        return real(recommender, run, request, part=part)

    monkeypatch.setattr(bulk, "_answered", answer)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the parts that are answered from now on."""
    answered, real = [], bulk._answered

    def answer(recommender, run, request, *, part):
        answered.extend([part] if len(request) else [])
        return real(recommender, run, request, part=part)

    monkeypatch.setattr(bulk, "_answered", answer)
    return answered


@pytest.mark.parametrize("name", ["recs.parquet", "recs"])
def test_all_known_users_get_what_recommend_gives_them(recommender: Recommender, tmp_path: Path, name: str) -> None:
    output = recommender.recommend_all(tmp_path / name, k=5, part_users=7, show=["title"])
    assert output == tmp_path / name
    found = Dataset(output).compute()
    assert_frame_equal(found, recommender.recommend(recommender.audience.ids, k=5, show=["title"]))
    assert_frame_equal(pl.read_parquet(output), found)
    assert found["user"].n_unique() == NUM_USERS
    files = sorted(file.name for file in output.iterdir()) if output.is_dir() else []
    assert files == ([f"part-{i:05d}.parquet" for i in range(9)] if name == "recs" else [])
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_some_users_a_context_and_filters_are_as_in_recommend(recommender: Recommender, tmp_path: Path) -> None:
    asked = {
        "users": ["u3", "nobody", "u1"],
        "k": 4,
        "context": pl.DataFrame({"hour": [1, 20, 3]}),
        "filters": "category != 'books'",
        "exclude_seen": False,
    }
    output = recommender.recommend_all(tmp_path / "recs.parquet", part_users=2, **asked)
    assert_frame_equal(pl.read_parquet(output), recommender.recommend(**asked))


def test_rows_of_features_keep_their_numbers(recommender: Recommender, tmp_path: Path) -> None:
    rows = pl.DataFrame({"user": ["x", "u1", "y"], "age": [20.0, 30.0, 40.0]})
    output = recommender.recommend_all(tmp_path / "recs.parquet", rows, k=2, part_users=1)
    assert pl.read_parquet(output)["query"].to_list() == [0, 0, 1, 1, 2, 2]
    assert_frame_equal(pl.read_parquet(output), recommender.recommend(rows, k=2))


def test_nobody_gets_a_file_without_rows(recommender: Recommender, tmp_path: Path) -> None:
    output = recommender.recommend_all(tmp_path / "recs.parquet", [], k=2)
    assert pl.read_parquet(output).schema == recommender.recommend(["u1"], k=2).schema
    assert len(pl.read_parquet(output)) == 0


@pytest.mark.parametrize("name", ["recs.parquet", "recs"])
def test_finished_parts_are_kept_and_the_rows_are_those_of_one_go(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = pl.read_parquet(recommender.recommend_all(tmp_path / "whole.parquet", k=5, part_users=7))
    die_after(monkeypatch, 3)
    with pytest.raises(Killed):
        recommender.recommend_all(tmp_path / name, k=5, part_users=7)
    monkeypatch.undo()
    assert not (tmp_path / name).exists()
    parts = tmp_path / f"{name}.parts"
    assert sorted(file.name for file in parts.glob("*.parquet")) == [f"part-0000{i}.parquet" for i in range(3)]
    answered = counted(monkeypatch)
    recommender.recommend_all(tmp_path / name, k=5, part_users=7)
    assert answered == [3, 4, 5, 6, 7, 8]
    assert_frame_equal(pl.read_parquet(tmp_path / name), whole)
    assert not parts.exists()


def test_a_part_that_is_not_as_it_was_written_is_made_again(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_after(monkeypatch, 4)
    with pytest.raises(Killed):
        recommender.recommend_all(tmp_path / "recs", k=5, part_users=7)
    monkeypatch.undo()
    parts = tmp_path / "recs.parts"
    (parts / "part-00001.parquet").write_bytes(b"PAR1 half")
    (parts / "part-00002.parquet").unlink()
    (parts / ".part-00004.parquet").write_bytes(b"PAR")  # what a kill leaves
    with (parts / "parts.jsonl").open("a") as notes:
        notes.write('{"part": 4, "num_r')
    answered = counted(monkeypatch)
    recommender.recommend_all(tmp_path / "recs", k=5, part_users=7)
    assert answered == [1, 2, 4, 5, 6, 7, 8]
    assert_frame_equal(pl.read_parquet(tmp_path / "recs"), recommender.recommend(recommender.audience.ids, k=5))


def test_what_is_finished_is_not_done_again_unless_asked_for(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("recs.parquet", "recs"):
        recommender.recommend_all(tmp_path / name, k=5, part_users=30)
        (tmp_path / f"{name}.parts").mkdir()  # of a run that was killed after its last step
        answered = counted(monkeypatch)
        recommender.recommend_all(tmp_path / name, k=5, part_users=30)
        assert answered == []
        assert not (tmp_path / f"{name}.parts").exists()
        recommender.recommend_all(tmp_path / name, k=6, part_users=30, resume=False)
        assert answered == [0, 1]
        assert pl.read_parquet(tmp_path / name)["rank"].max() == 6
        monkeypatch.undo()


def test_a_folder_that_lacks_a_part_is_made_again(recommender: Recommender, tmp_path: Path) -> None:
    recommender.recommend_all(tmp_path / "recs", k=5, part_users=30)
    (tmp_path / "recs" / "part-00000.parquet").unlink()
    recommender.recommend_all(tmp_path / "recs", k=5, part_users=30)
    assert pl.read_parquet(tmp_path / "recs")["user"].n_unique() == NUM_USERS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 6}, "a run with k=5, now k=6"),
        ({"exclude_seen": False}, "a run with exclude_seen=True, now exclude_seen=False"),
        ({"show": ["title"]}, r"a run with show=\[\], now show=\['title'\]"),
        ({"filters": "price < 20"}, r"a run with filters=\[\], now filters=\[\{'kind': 'Where'"),
        ({"context": {"hour": 3}}, "a run with another context"),
        ({"users": ["u1"]}, "a run with other users"),
        ({"part_users": 8}, "a run with part_users=30, now part_users=8"),
    ],
)
@pytest.mark.parametrize("state", ["finished file", "finished folder", "killed"])
def test_runs_with_other_settings_are_not_mixed(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, settings, message: str
) -> None:
    output = tmp_path / ("recs.parquet" if state == "finished file" else "recs")
    if state == "killed":
        die_after(monkeypatch, 1)
        with pytest.raises(Killed):
            recommender.recommend_all(output, k=5, part_users=30)
        monkeypatch.undo()
    else:
        recommender.recommend_all(output, k=5, part_users=30)
    with pytest.raises(FormatError, match=rf"recs\S*: it holds the lists of {message}.*resume=False.*--restart"):
        recommender.recommend_all(output, **({"k": 5, "part_users": 30} | settings))
    recommender.recommend_all(output, **({"k": 5, "part_users": 30} | settings), resume=False)
    assert len(pl.read_parquet(output))


def test_another_recommender_or_state_of_it_is_not_mixed_in(bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / "recs.parquet"
    recommender = Recommender.load(bundle)
    recommender.recommend_all(output, k=5)
    Recommender.load(bundle).recommend_all(output, k=5)  # the same
    recommender.remove_items([1])
    for other in (recommender, two_stages()):
        with pytest.raises(FormatError, match=r"a run with another recommender, or another state of it\. Give"):
            other.recommend_all(output, k=5)


def test_what_is_not_ours_stays_as_it_is(recommender: Recommender, tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_text("mine")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "table.parquet")
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "folder.parquet" / "thesis.doc").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "home").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "home" / "part-00000.parquet")
    for name in ("mine.parquet", "table.parquet", "folder.parquet", "file", "home"):
        for resume in (True, False):
            with pytest.raises(FormatError, match=rf"{name}: it holds no recommendations, and stays as it is. Give"):
                recommender.recommend_all(tmp_path / name, k=5, resume=resume)
    for stranger in ("thesis.doc", "part-00000.parquet"):
        (tmp_path / "new.parts").mkdir(exist_ok=True)
        (tmp_path / "new.parts" / stranger).write_text("mine")
        with pytest.raises(FormatError, match=rf"new.parts: the folder holds '{stranger}', which no run of ours wrote"):
            recommender.recommend_all(tmp_path / "new", k=5, resume=False)
        (tmp_path / "new.parts" / stranger).unlink()
    (tmp_path / "other.parts").write_text("mine")
    with pytest.raises(FormatError, match=r"other.parts: there is a file where a folder should go"):
        recommender.recommend_all(tmp_path / "other", k=5)


def test_what_cannot_be_is_refused_before_anything_is_written(recommender: Recommender, tmp_path: Path) -> None:
    output = tmp_path / "recs.parquet"
    for settings, error, message in [
        ({"part_users": 0}, SettingError, "recommend_all: part_users is 0. Give 1 user or more"),
        ({"k": 0}, SettingError, "k is 0"),
        ({"show": ["titel"]}, UnknownColumnError, "Did you mean 'title'"),
        ({"filters": "prise < 3"}, UnknownColumnError, "Did you mean 'price'"),
        ({"context": {"our": 3}}, UnknownColumnError, "Did you mean 'hour'"),
    ]:
        with pytest.raises(error, match=message):
            recommender.recommend_all(output, **settings)
    assert not list(tmp_path.iterdir())


def test_empty_lists_are_counted_whoever_made_them(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_after(monkeypatch, 1)
    with pytest.raises(Killed):
        recommender.recommend_all(tmp_path / "recs", k=5, part_users=30, filters="price < 0")
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"recommend_all: 60 of 60 lists are empty. Look at the filters"):
        recommender.recommend_all(tmp_path / "recs", k=5, part_users=30, filters="price < 0")


def test_lots_are_the_same_whether_a_run_was_killed_or_not_and_others_in_each_part(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_stages(ordering=[SoftmaxSampling(temperature=0.1, seed=3)]).save(tmp_path / "bundle")
    sampling = Recommender.load(tmp_path / "bundle")
    users = ["u1"] * 4
    whole = sampling.recommend_all(tmp_path / "whole", users, k=5, part_users=1, exclude_seen=False)
    die_after(monkeypatch, 2)
    with pytest.raises(Killed):
        sampling.recommend_all(tmp_path / "recs", users, k=5, part_users=1, exclude_seen=False)
    monkeypatch.undo()
    sampling.recommend_all(tmp_path / "recs", users, k=5, part_users=1, exclude_seen=False)
    assert pl.read_parquet(whole)["item"].to_list() == pl.read_parquet(tmp_path / "recs")["item"].to_list()
    lists = {tuple(pl.read_parquet(file)["item"]) for file in whole.iterdir()}
    assert len(lists) > 1


@pytest.mark.skipif(bulk_folder.fcntl is None, reason="no locks")
def test_two_processes_do_not_write_into_one_folder(recommender: Recommender, tmp_path: Path) -> None:
    with (
        bulk_folder.only_writer(tmp_path / "recs.parts"),
        pytest.raises(SettingError, match=r"recs.parts: another process writes recommendations there. Wait for it"),
    ):
        recommender.recommend_all(tmp_path / "recs", k=5)


SLOW = """
import sys, time
from tamis import Recommender
from tamis.recommender import bulk
real = bulk._answered
def slow(*args, **settings):
    time.sleep(0.05)
    return real(*args, **settings)
bulk._answered = slow
Recommender.load(sys.argv[1], verify=False).recommend_all(sys.argv[2], k=5, part_users=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9")
def test_a_run_killed_with_signal_9_gives_the_same_rows_when_it_is_run_again(
    recommender: Recommender, bundle: Path, tmp_path: Path
) -> None:
    output = tmp_path / "recs.parquet"
    with subprocess.Popen([sys.executable, "-c", SLOW, bundle, output]) as process:
        notes = tmp_path / "recs.parquet.parts" / "parts.jsonl"
        while process.poll() is None and not (notes.is_file() and len(notes.read_text().splitlines()) > 3):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    num_done = len(list((tmp_path / "recs.parquet.parts").glob("part-*.parquet")))
    assert 4 <= num_done < NUM_USERS // 2
    recommender.recommend_all(output, k=5, part_users=2)
    assert_frame_equal(pl.read_parquet(output), recommender.recommend(recommender.audience.ids, k=5))
    assert [file.name for file in tmp_path.iterdir()] == ["recs.parquet"]
