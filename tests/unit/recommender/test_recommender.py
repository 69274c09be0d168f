"""Raw ids in, raw ids out, on a world small enough to count by hand."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import tamis
from tamis import Dataset, MatrixFactorizationModel, Recommender, Workflow, ops
from tamis.errors import DataError, FormatError, SettingError, UnknownColumnError
from tamis.folders import read_json, write_json
from tamis.recommender import recommender as module

# Item counts: 30 -> 4, 10 -> 3, 20 -> 2, 40 -> 2, 50 -> 1; of 20 and 40 the smaller value gets the smaller code.
ROWS = pl.DataFrame(
    {
        "user": [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4],
        "item": [30, 10, 20, 30, 10, 40, 30, 10, 50, 30, 20, 40],
        "click": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    }
)
NO_CLICK = pl.DataFrame({"user": [1, 9], "item": [60, 30], "click": [0, 0]})


def build(rows: pl.DataFrame = ROWS, *, items: pl.DataFrame | None = None) -> Recommender:
    graph = (["user"] >> ops.Categorify() >> ops.TagAsUserID()) + (["item"] >> ops.Categorify() >> ops.TagAsItemID())
    workflow = Workflow(graph + "click" >> ops.Filter(lambda df: df["click"] == 1)).fit(Dataset(rows))
    train = workflow.transform(Dataset(rows))
    model = MatrixFactorizationModel(train.schema, dim=4)
    model.fit(train, epochs=2, batch_size=8, verbose=False)
    return Recommender(model).fit(workflow, train, items=items)


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    titles = pl.DataFrame({"item": [10, 20, 30, 40, 50], "title": ["a", "b", "c", "d", "e"]})
    return build(pl.concat([ROWS, NO_CLICK]), items=titles)


def test_lists_hold_raw_ids_best_first_without_what_was_seen(recommender: Recommender) -> None:
    found = recommender.recommend([2, 1], k=5)
    assert found.columns == ["user", "rank", "item", "score", "retrieval_score", "sources"]
    assert found.schema["user"] == found.schema["item"] == pl.Int64
    assert found["user"].to_list() == [2, 2, 1, 1]  # two items are unseen by each, so two rows and not five
    assert found["rank"].to_list() == [1, 2, 1, 2]
    assert set(found.filter(pl.col("user") == 1)["item"]) == {40, 50}
    assert set(found.filter(pl.col("user") == 2)["item"]) == {20, 50}
    scores = found["score"].to_list()
    assert scores[0] >= scores[1]
    assert scores[2] >= scores[3]
    assert found["sources"].to_list() == [["retrieval"]] * 4


def test_seen_items_come_back_when_asked_for(recommender: Recommender) -> None:
    assert sorted(recommender.recommend([1], k=5, exclude_seen=False)["item"]) == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("unknown", [99, "hello", None, 1.5, 9], ids=str)
def test_unknown_users_get_the_popular_items_marked_as_such(recommender: Recommender, unknown: object) -> None:
    found = recommender.recommend([unknown], k=4)  # user 9 never clicked, so the training data does not know them
    assert found["item"].to_list() == [30, 10, 20, 40]
    assert found["score"].to_list() == pytest.approx([4 / 12, 3 / 12, 2 / 12, 2 / 12])
    assert found["sources"].to_list() == [["popularity"]] * 4
    assert recommender.unknown_users([1, unknown, 2]) == [unknown]


@pytest.mark.parametrize("no_list", ["12", 12, b"1", None])
def test_one_id_alone_is_no_list_of_ids(recommender: Recommender, no_list: object) -> None:
    """Text would be taken letter by letter."""
    with pytest.raises(SettingError, match=r"is not a list of user ids. Give a list"):
        recommender.recommend(no_list, k=1)


def test_items_without_a_click_and_codes_without_an_id_never_come(recommender: Recommender) -> None:
    everything = recommender.recommend([1, 2, 3, 4, 99], k=5, exclude_seen=False)
    assert set(everything["item"]) == {10, 20, 30, 40, 50}
    rare = ROWS.with_columns(item=pl.when(pl.col("item") != 50).then("item"))  # a null item: code 1
    graph = (["user"] >> ops.Categorify() >> ops.TagAsUserID()) + (
        ["item"] >> ops.Categorify(freq_threshold=3) >> ops.TagAsItemID()  # 20 and 40 become unknown: code 2
    )
    workflow = Workflow(graph).fit(Dataset(rare))
    train = workflow.transform(Dataset(rare))
    model = MatrixFactorizationModel(train.schema, dim=4)
    model.fit(train, epochs=1, batch_size=8, verbose=False)
    built = Recommender(model).fit(workflow, train)
    assert set(built.recommend([1, 99], k=2, exclude_seen=False)["item"]) == {10, 30}


def test_a_user_asked_for_twice_is_answered_twice_and_nobody_with_nothing(recommender: Recommender) -> None:
    twice = recommender.recommend([1, 99, 1], k=2)
    assert twice["user"].to_list() == [1, 1, 99, 99, 1, 1]
    assert twice[:2].equals(twice[4:])
    nothing = recommender.recommend([], k=2)
    assert nothing.schema == twice.schema
    assert len(nothing) == 0


def test_blocks_change_nothing(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [1, 99, 2, 3, None, 4, 1]
    whole = recommender.recommend(asked, k=3)
    monkeypatch.setattr(module, "_BLOCK", 2)
    assert_frame_equal(recommender.recommend(asked, k=3), whole)  # equal but for the last bits of a score


def test_item_columns_are_shown_beside(recommender: Recommender) -> None:
    found = recommender.recommend([99], k=3, show=["title"])
    assert found["title"].to_list() == ["c", "a", "b"]
    with pytest.raises(UnknownColumnError, match=r"no column 'titel'. Did you mean 'title'\?"):
        recommender.recommend([99], k=3, show=["titel"])
    with pytest.raises(SettingError, match="there are no item columns to show"):
        build().recommend([1], k=1, show=["title"])


@pytest.mark.parametrize("k", [0, 6])
def test_a_k_that_cannot_be_names_both_numbers(recommender: Recommender, k: int) -> None:
    with pytest.raises(SettingError, match=rf"k is {k}, but the catalogue has 5 items. Choose 1 to 5"):
        recommender.recommend([1], k=k)


def test_metrics_are_those_of_the_lists_that_are_served(recommender: Recommender) -> None:
    # Held out: user 1 -> 40 and 50 (unseen), 10 (seen: not asked for); user 3 -> 20; user 99 is unknown, twice.
    held_out = pl.DataFrame({"user": [1, 1, 1, 3, 99, 99], "item": [40, 50, 10, 20, 10, 30], "click": [1] * 6})
    found = recommender.evaluate(Dataset(held_out), metrics=["recall_at_1", "recall_at_2"])
    lists = recommender.recommend([1, 3], k=2)
    firsts = {user: lists.filter(pl.col("user") == user)["item"].to_list() for user in (1, 3)}
    first = (1 / 2 + (firsts[3][0] == 20)) / 2  # either unseen item of user 1 is right
    assert found["recall_at_1"] == pytest.approx(first)
    assert found["recall_at_2"] == pytest.approx((1 + (20 in firsts[3])) / 2)
    # popularity without the seen: user 1 -> 40, 50; user 3 (saw 30, 10, 50) -> 20, 40
    assert found["popularity_recall_at_1"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["popularity_recall_at_2"] == pytest.approx(1.0)
    assert (found["num_users"], found["num_unknown_rows"]) == (2, 2)


def test_rows_that_the_workflow_filters_out_are_no_positives(recommender: Recommender) -> None:
    held_out = pl.DataFrame({"user": [1, 1], "item": [40, 50], "click": [1, 0]})
    found = recommender.evaluate(Dataset(held_out), metrics=["recall_at_2"], exclude_seen=True)
    assert found["recall_at_2"] == 1.0  # of one relevant item, not of two
    with pytest.raises(DataError, match=r"of 0 positive held-out rows none .* It has no click, so a filter"):
        recommender.evaluate(Dataset(held_out.drop("click")), metrics=["recall_at_2"])


def test_held_out_rows_must_have_the_ids(recommender: Recommender) -> None:
    with pytest.raises(UnknownColumnError, match=r"evaluate: the data has no column 'item'. Did you mean 'itm'\?"):
        recommender.evaluate(Dataset(pl.DataFrame({"user": [1], "itm": [10], "click": [1]})), metrics=["recall_at_2"])
    with pytest.raises(DataError, match="none is a known user's unseen item"):
        stranger = Dataset(pl.DataFrame({"user": [99], "item": [10], "click": [1]}))
        recommender.evaluate(stranger, metrics=["recall_at_2"])


def test_a_saved_recommender_answers_the_same(recommender: Recommender, tmp_path: Path) -> None:
    recommender.save(tmp_path / "r")
    loaded = Recommender.load(tmp_path / "r")
    asked = [1, 2, 3, 4, 99]
    assert loaded.recommend(asked, k=3, show=["title"]).equals(recommender.recommend(asked, k=3, show=["title"]))
    assert not list((tmp_path / "r").rglob("*.pkl"))


def test_a_changed_missing_newer_or_foreign_folder_is_refused(recommender: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with pytest.raises(FormatError, match="there is no such folder, so it is not a saved recommender"):
        Recommender.load(folder)
    recommender.save(folder)
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**manifest, "version": 99})
    with pytest.raises(FormatError, match=r"format version 99 is newer than the 2 that this Tamis reads. Upgrade"):
        Recommender.load(folder)
    write_json(folder / "manifest.json", {**manifest, "kind": "model"})
    with pytest.raises(FormatError, match="it holds 'model', not 'recommender'"):
        Recommender.load(folder)
    write_json(folder / "manifest.json", manifest)
    (folder / "users.arrow").write_bytes(b"other")
    with pytest.raises(FormatError, match=r"users.arrow: its content changed since it was saved"):
        Recommender.load(folder)
    (folder / "users.arrow").unlink()
    with pytest.raises(FormatError, match=r"users.arrow: the file is missing from the saved recommender"):
        Recommender.load(folder)


def test_it_says_what_it_holds(recommender: Recommender) -> None:
    assert repr(recommender) == "Recommender(4 users, 5 items, sources=['retrieval'], ranker=none)"
    assert isinstance(recommender, tamis.Recommender)


def test_loading_runs_no_code_of_the_folder(recommender: Recommender, tmp_path: Path) -> None:
    """Whoever hands over a folder could also write its checksums, so these do not protect."""
    folder = tmp_path / "r"
    recommender.save(folder)
    graph = next(folder.rglob("workflow.json"))
    content = graph.read_text()
    assert '"Categorify"' in content
    graph.write_text(content.replace('"Categorify"', '"os.system"'))
    for inner in (graph.parent, folder):
        manifest = read_json(inner / "manifest.json")
        files = {name: hashlib.sha256((inner / name).read_bytes()).hexdigest() for name in manifest["files"]}
        write_json(inner / "manifest.json", {**manifest, "files": files})
    with pytest.raises(FormatError, match=r"os\.system"):
        Recommender.load(folder)
    endings = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert endings <= {".json", ".parquet", ".arrow", ".safetensors", ".npy"}
