"""The bundle: all of a recommender in one folder, whatever it is made of, and for good."""

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file, save_file

from sealing import seal
from tamis import ItemItem, Popular, Recent, Recommender, SimilarItems
from tamis.errors import FormatError, NotSavableError, SettingError
from tamis.features.workflow import Workflow
from tamis.folders import MANIFEST, read_json, write_json
from tamis.recommender.ordering import SoftmaxSampling
from tamis.recommender.query_columns import sources_of
from tamis.recommender.sources.retrieval_source import Retrieval
from two_stage_world import NUM_ITEMS, fitted, two_stages

EXAMPLES = [Path(__file__).parents[2] / "data" / f"bundle-v{version}" for version in (1, 2)]
ASKED = ["u1", "u7", "nobody"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    two_stages().save(folder, metrics={"ndcg_at_10": 0.25})
    return folder


@pytest.fixture
def bundle(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_example_of_each_format_version_is_loadable_and_answers_as_it_did(example: Path) -> None:
    """Whoever changes a format reads the old one on; the examples stay as they are."""
    loaded = Recommender.load(example)
    assert read_json(example / MANIFEST)["version"] == int(example.name.removeprefix("bundle-v"))
    assert read_json(example / MANIFEST)["num_golden"] == 12
    assert set(loaded.metrics) == {"ndcg_at_5", "popularity_ndcg_at_5", "num_users", "num_unknown_rows"}
    found = loaded.recommend(["u1"], k=10, filters="price < 20", show=["category", "in_stock", "price"])
    assert found["in_stock"].all()
    assert found["price"].max() < 20
    assert sum(file.stat().st_size for file in example.rglob("*") if file.is_file()) < 300_000


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_example_takes_new_items_and_can_be_saved_again(example: Path, tmp_path: Path) -> None:
    loaded = Recommender.load(example)
    new = pl.DataFrame({"item": [100], "category": ["games"], "price": [5.0], "in_stock": [True]})
    assert loaded.upsert_items(new) == 1
    loaded.save(tmp_path / "again")
    again = Recommender.load(tmp_path / "again")
    assert again.num_items == NUM_ITEMS + 1
    assert_frame_equal(again.recommend(ASKED, k=10), loaded.recommend(ASKED, k=10))
    assert again.metrics == loaded.metrics


def test_a_bundle_holds_metrics_and_versions(saved: Path) -> None:
    assert Recommender.load(saved).metrics == {"ndcg_at_10": 0.25}
    found = read_json(saved / MANIFEST)["versions"]
    assert {"tamis", "python", "torch", "polars", "numpy"} <= found.keys()
    assert (read_json(saved / MANIFEST)["num_users"], read_json(saved / MANIFEST)["num_items"]) == (60, 40)


def test_a_bundle_tells_what_its_columns_are_made_of_so_that_nobody_works_it_out(saved: Path, monkeypatch) -> None:
    expected = {name: sorted(raw) for name, raw in sources_of(fitted()[0]).items()}
    assert read_json(saved / "recommender.json")["made_of"] == expected
    asked: list[object] = []
    remove = Workflow.remove_inputs
    monkeypatch.setattr(Workflow, "remove_inputs", lambda one, names: asked.append(names) or remove(one, names))
    loaded = Recommender.load(saved)
    assert len(asked) <= 2  # the parts that encode users and contexts
    assert sources_of(loaded.workflow) == sources_of(fitted()[0])


def test_metrics_that_are_not_finite_come_back_and_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    recommender = two_stages()
    recommender.save(tmp_path / "r", metrics={"loss": float("inf"), "slices": {"new": [0.5, 1.0]}})
    assert Recommender.load(tmp_path / "r").metrics == {"loss": float("inf"), "slices": {"new": (0.5, 1.0)}}
    with pytest.raises(NotSavableError, match=r"Recommender\.save: metrics is"):
        recommender.save(tmp_path / "r", metrics={"model": object()})
    assert Recommender.load(tmp_path / "r").metrics["loss"] == float("inf")


def test_what_became_of_items_since_the_fit_survives(tmp_path: Path) -> None:
    recommender = two_stages()
    recommender.upsert_items(pl.DataFrame({"item": [100], "category": ["games"], "price": [5.0], "title": ["new"]}))
    recommender.upsert_items(pl.DataFrame({"item": [5], "title": ["other"]}))
    recommender.remove_items([1, 9])
    recommender.save(tmp_path / "r")
    loaded = Recommender.load(tmp_path / "r")
    lists = [one.recommend(["u1"], k=20, exclude_seen=False, show=["title"]) for one in (loaded, recommender)]
    assert_frame_equal(*lists)
    assert {100, 5} <= {*lists[0]["item"]}
    assert not {1, 9} & {*lists[0]["item"]}
    assert lists[0].filter(pl.col("item") == 5)["title"].to_list() == ["other"]
    assert loaded.num_items == recommender.num_items == NUM_ITEMS - 1
    assert loaded.upsert_items(pl.DataFrame({"item": [1], "category": ["games"], "price": [5.0]})) == 0


@pytest.mark.parametrize(
    "source",
    [
        lambda: ItemItem("ease", half_life=3.0),
        lambda: ItemItem("knn", latest=5, shrinkage=1.0),
        lambda: ItemItem("graph", name="walks"),
        lambda: Popular(),
        lambda: Popular(by="age", half_life=1000.0, name="popular-by_age"),
        lambda: Recent(),
        lambda: SimilarItems(fitted()[2], latest=2),
        lambda: SimilarItems(vectors=pl.DataFrame({"item": [1, 2, 3, 4], "v": [[1.0, 0.0], [0.5, 1.0]] * 2})),
        lambda: Retrieval(fitted()[2], quota=15, index="exact"),
        lambda: Retrieval(fitted()[2], index="hnsw"),
    ],
)
def test_every_source_comes_back(source, tmp_path: Path) -> None:
    one = source()
    recommender = two_stages([one])
    recommender.save(tmp_path / "r")
    loaded = Recommender.load(tmp_path / "r")
    assert_frame_equal(loaded.recommend(ASKED, k=10), recommender.recommend(ASKED, k=10))
    assert loaded.source_names == [one.name, "popularity"]
    assert loaded.sources[0].settings() == one.settings()


@pytest.mark.parametrize(("package", "model"), [("xgboost", "XGBoostModel"), ("lightgbm", "LightGBMModel")])
def test_trees_rank_in_a_bundle_too(package: str, model: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    import tamis

    workflow, rows, _, _ = fitted()
    ranker = getattr(tamis, model)(rows.schema)
    ranker.fit(rows, num_trees=5, verbose=False, num_threads=1)
    recommender = two_stages(ranker=ranker)
    recommender.save(tmp_path / "r")
    loaded = Recommender.load(tmp_path / "r")
    assert_frame_equal(loaded.recommend(ASKED, k=10), recommender.recommend(ASKED, k=10))
    assert type(loaded.ranker.model).__name__ == model
    assert workflow.is_fitted


def test_a_process_that_knows_nothing_but_the_folder_can_load_it(saved: Path) -> None:
    """Names of classes are found whether or not somebody imported them."""
    code = f"from tamis import Recommender; print(Recommender.load({str(saved)!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "Recommender(60 users, 40 items, sources=['retrieval'], ranker=DCNModel)"


def test_what_is_loaded_answers_on_whatever_becomes_of_its_folder_and_of_others_over_it(bundle: Path) -> None:
    """Tables and indexes are mapped into memory: the files may go, and a change is nobody else's."""
    steady, changing = Recommender.load(bundle), Recommender.load(bundle)
    lists = steady.recommend(ASKED, k=10)
    shutil.rmtree(bundle)
    for step in range(3):
        new = pl.DataFrame({"item": [100 + step, 5], "category": ["games", "books"], "price": [5.0, 1.0 + step]})
        assert changing.upsert_items(new) == 1
        assert changing.remove_items([step + 1]) == 1
        assert_frame_equal(steady.recommend(ASKED, k=10), lists)
    assert changing.num_items == steady.num_items == NUM_ITEMS
    assert not {1, 2, 3} & {*changing.recommend(["u1"], k=20, exclude_seen=False)["item"]}


def test_every_file_is_checked(bundle: Path) -> None:
    files = [file for file in bundle.rglob("*") if file.is_file() and file != bundle / MANIFEST]
    assert len(files) > 25
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(FormatError, match=rf"{file.name}: its content changed since it was saved"):
            Recommender.load(bundle)
        file.unlink()
        with pytest.raises(FormatError, match=rf"{file.name}: the file is missing from the saved recommender"):
            Recommender.load(bundle)
        file.write_bytes(whole)
    Recommender.load(bundle)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".", "a.b", "a b", "", "a" * 101, "ü"])
def test_a_source_is_named_by_plain_letters_since_its_name_is_a_folder(name: str) -> None:
    if name:
        with pytest.raises(SettingError, match=r"Source: the name is .*Use up to 100 letters, digits, '-' and '_'"):
            Popular(name=name)
    assert Popular(name="a-B_1").name == "a-B_1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": "../../elsewhere"},
            r"the settings of the source '../../elsewhere' do not fit a Retrieval \(Source: ",
        ),
        ({"kind": "os.system"}, r"it holds a source 'os.system', which this Tamis does not know"),
        ({"settings": {"command": "ls"}}, r"do not fit a Retrieval \(.*'command'.*Restore the file, or save"),
        ({"settings": {"quota": 0}}, r"do not fit a Retrieval \(Retrieval: the quota is 0"),
    ],
)
def test_a_source_of_a_forged_folder_neither_leaves_it_nor_runs_anything(bundle: Path, change, message: str) -> None:
    settings = read_json(bundle / "recommender.json")
    settings["sources"][0] |= change
    write_json(bundle / "recommender.json", settings)
    seal(bundle)
    with pytest.raises(FormatError, match=message):
        Recommender.load(bundle)


def test_a_ranker_of_a_forged_folder_is_no_class_of_somebody_else(bundle: Path) -> None:
    manifest = bundle / "ranker" / MANIFEST
    write_json(manifest, {**read_json(manifest), "model": "subprocess.Popen"})
    seal(bundle)
    with pytest.raises(FormatError, match=r"it holds a 'subprocess.Popen', which this Tamis does not know"):
        Recommender.load(bundle)
    fitted()[2].save(bundle / "ranker")
    seal(bundle)
    with pytest.raises(FormatError, match=r"ranker: it holds a TwoTowerModel, which ranks nothing. Restore the folder"):
        Recommender.load(bundle)


def test_a_bundle_that_computes_something_else_is_refused_with_what_differs(bundle: Path) -> None:
    file = bundle / "ranker" / "weights.safetensors"
    weights = load_file(file)
    save_file({name: one * 1.1 if one.dtype.kind == "f" else one for name, one in weights.items()}, file)
    seal(bundle)
    message = (
        r"bundle: the recommender does not answer as it did when it was saved. golden request 1 of 12 \(a known user, "
        r"k=10\): .*The versions are those of then, so the bundle is broken. Restore the folder"
    )
    with pytest.raises(FormatError, match=message):
        Recommender.load(bundle)
    assert Recommender.load(bundle, verify=False).num_items == NUM_ITEMS


def test_a_mismatch_names_the_versions_that_changed(bundle: Path) -> None:
    answers = pl.read_parquet(bundle / "golden_answers.parquet")
    answers.with_columns(pl.col("item") + 1).write_parquet(bundle / "golden_answers.parquet")
    manifest = read_json(bundle / MANIFEST)
    manifest["versions"] |= {"torch": "0.1", "abacus": "3"}
    write_json(bundle / MANIFEST, manifest)
    seal(bundle)
    with pytest.raises(FormatError, match=r"The versions changed: torch 0.1 then and \S+ now, abacus 3 then and none"):
        Recommender.load(bundle)


def test_lots_are_drawn_anew_in_every_list_and_yet_the_bundle_answers_as_it_did(tmp_path: Path) -> None:
    recommender = two_stages(ordering=[SoftmaxSampling(temperature=1.0)])
    recommender.save(tmp_path / "r")
    loaded = Recommender.load(tmp_path / "r")
    lists = {tuple(loaded.recommend(["u1"], k=5, exclude_seen=False)["item"]) for _ in range(5)}
    assert len(lists) > 1


def test_a_saved_recommender_is_known_by_its_files_and_one_that_changed_is_another(saved: Path, tmp_path: Path) -> None:
    first, second = Recommender.load(saved), Recommender.load(saved)
    assert first.identity == second.identity
    first.upsert_items(pl.DataFrame({"item": [5], "title": ["other"]}))
    assert first.identity != second.identity
    assert first.identity == first.identity
    first.save(tmp_path / "r")
    assert Recommender.load(tmp_path / "r").identity == first.identity
    assert two_stages().identity != two_stages().identity
