import json
import os
from pathlib import Path

import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.datasets import aliccp, aliccp_format, prepare_aliccp, transform_aliccp
from tamis.datasets.aliccp_format import FIELDS, MULTI_VALUED
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.schema import Tags


def features(*triples: tuple[str, int, float]) -> str:
    return "\x01".join(f"{field}\x02{value}\x03{weight}" for field, value, weight in triples)


def sample(number: int, click: int, conversion: int, common: str, *triples: tuple[str, int, float]) -> str:
    return f"{number},{click},{conversion},{common},{len(triples)},{features(*triples)}"


def common(name: str, *triples: tuple[str, int, float]) -> str:
    return f"{name},{len(triples)},{features(*triples)}"


ANNA = common("anna", ("101", 7, 1.0), ("121", 3, 1.0), ("110_14", 50, 0.5), ("110_14", 51, 1.5), ("110_14", 52, 2.5))
BERT = common("bert", ("101", 8, 1.0))
ROWS = [
    sample(1, 1, 0, "anna", ("205", 900, 1.0), ("508", 11, 2.5), ("210", 5, 1.0), ("210", 6, 1.0)),
    sample(2, 0, 1, "anna", ("205", 901, 1.0)),
    sample(3, 0, 0, "bert", ("205", 902, 1.0), ("301", 2, 1.0)),
    sample(4, 1, 1, "anna", ("205", 903, 1.0)),
]


def write_raw(folder: Path, rows: list[str], commons: list[str], *, name: str = "train", end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"sample_skeleton_{name}.csv").write_text("\n".join(rows) + end)
    (folder / f"common_features_{name}.csv").write_text("\n".join(commons) + end)
    return folder


@pytest.mark.parametrize("end", ["\n", ""], ids=["with a last line break", "without one"])
def test_every_row_is_kept_but_conversions_without_a_click(tmp_path: Path, end: str) -> None:
    done = prepare_aliccp(write_raw(tmp_path / "raw", ROWS, [ANNA, BERT], end=end), tmp_path / "out")
    assert done.train is not None and done.test is None and done.num_dropped == {"train": 1}
    rows = done.train.compute()
    assert rows["sample_id"].to_list() == [1, 3, 4]
    assert rows["user_id"].to_list() == [7, 8, 7]
    assert rows["item_id"].to_list() == [900, 902, 903]
    assert rows["user_profile"].to_list() == [3, None, 3]
    assert rows["position"].to_list() == [None, 2, None]
    assert rows["click"].to_list() == [1, 0, 1] and rows["conversion"].to_list() == [0, 0, 1]
    assert json.loads((tmp_path / "out/train/counts.json").read_text()) == {"rows": 3, "dropped": 1}


def test_fields_with_several_values_keep_them_all_with_their_weights(tmp_path: Path) -> None:
    done = prepare_aliccp(write_raw(tmp_path / "raw", ROWS, [ANNA, BERT]), tmp_path / "out")
    assert done.train is not None
    first, second = done.train.compute().head(2).to_dicts()
    assert first["user_shops"] == [50, 51, 52] and first["user_shops_weights"] == [0.5, 1.5, 2.5]
    assert first["item_intention"] == [5, 6] and first["item_intention_weights"] == [1.0, 1.0]
    assert first["user_item_categories"] == 11 and first["user_item_categories_weight"] == 2.5
    assert second["user_shops"] is None and second["user_shops_weights"] is None


def test_the_written_folder_says_what_the_columns_are(tmp_path: Path) -> None:
    prepare_aliccp(write_raw(tmp_path / "raw", ROWS, [ANNA, BERT]), tmp_path / "out")
    schema = Dataset(tmp_path / "out/train").schema
    assert schema.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    assert schema.select_by_tag(Tags.TARGET).column_names == ["click", "conversion"]
    assert schema["user_shops"].is_list and schema["user_shops"].has_tag(Tags.USER)
    assert "user_shops_weights" not in schema.select_by_tag([Tags.USER, Tags.CONTINUOUS])


def test_a_list_split_over_both_files_comes_together_and_a_row_s_own_number_counts(tmp_path: Path) -> None:
    rows = [
        sample(1, 0, 0, "anna", ("110_14", 49, 9.0), ("121", 4, 1.0), ("205", 1, 1.0)),
        sample(2, 0, 0, "anna", ("205", 1, 1.0)),
    ]
    done = prepare_aliccp(write_raw(tmp_path / "raw", rows, [ANNA]), tmp_path / "out")
    assert done.train is not None
    found = done.train.compute()
    assert found["user_shops"].to_list() == [[49, 50, 51, 52], [50, 51, 52]]
    assert found["user_shops_weights"].to_list() == [[9.0, 0.5, 1.5, 2.5], [0.5, 1.5, 2.5]]
    assert found["user_profile"].to_list() == [4, 3]


def test_reading_piece_by_piece_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commons = [common(f"user{u}", ("101", u, 1.0), *(("110_14", v, 1.0) for v in range(u % 4))) for u in range(40)]
    rows = [sample(n, n % 2, 0, f"user{n * 7 % 40}", ("205", n, 1.0)) for n in range(1000)]
    raw = write_raw(tmp_path / "raw", rows, commons)
    whole = prepare_aliccp(raw, tmp_path / "whole").train
    monkeypatch.setattr(aliccp_format, "_BYTES_PER_READ", 700)
    monkeypatch.setattr(aliccp, "_ROWS_PER_GROUP", 9)
    monkeypatch.setattr(aliccp, "_GROUPS_PER_FILE", 3)
    pieces = prepare_aliccp(raw, tmp_path / "pieces").train
    assert whole is not None and pieces is not None and len(pieces.files) > 20
    assert pieces.compute().equals(whole.compute())
    assert pieces.compute()["item_id"].to_list() == list(range(1000))
    assert pieces.compute()["user_id"].to_list() == [n * 7 % 40 for n in range(1000)]


def test_both_sets_are_found_below_the_folder_and_columns_can_be_chosen(tmp_path: Path) -> None:
    write_raw(tmp_path / "train", ROWS, [ANNA, BERT])
    write_raw(tmp_path / "test", ROWS[:1], [ANNA], name="test")
    done = prepare_aliccp(tmp_path, tmp_path / "out", columns=["user_id", "item_id", "user_shops"])
    assert done.test is not None and done.test.num_rows == 1
    assert done.test.column_names == [
        "sample_id", "user_id", "user_shops", "user_shops_weights", "item_id", "click", "conversion"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (sample(1, 0, 0, "anna", ("999", 1, 1.0)), r"line 2: the field '999' is unknown\. Name a column for it"),
        (sample(1, 0, 0, "anna", ("205", 1, 1.0), ("205", 2, 1.0)), r"line 2: 'item_id' has several values"),
        (sample(1, 0, 0, "carl", ("205", 1, 1.0)), r"line 2: common_features_train.csv has no common features 'carl'"),
        (sample(1, 2, 0, "anna", ("205", 1, 1.0)), r"line 2: sample '1' has click '2' and conversion '0'"),
        ("1,0,0,anna,1,205\x0212", r"line 2: the feature '205\\x0212' is damaged"),
        ("1,0,0,anna,1,205\x02x\x031.0", r"line 2: the feature '205\\x02x\\x031.0' is damaged"),
        ("1,0,0,anna", r"line 2: the feature '' is damaged"),
        ("1,0,0,anna,1,205\x0212\x031.0,7,7", r"after line 0: these are not lines of 6 parts between commas"),
    ],
    ids=["unknown field", "two values", "no common", "click 2", "cut off", "not a number", "short", "long"],
)
def test_a_line_that_cannot_be_read_is_named_and_nothing_is_written(tmp_path: Path, row: str, message: str) -> None:
    raw = write_raw(tmp_path / "raw", [ROWS[0], row], [ANNA])
    with pytest.raises(DataError, match=message):
        prepare_aliccp(raw, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_unknown_field_can_be_given_a_column_and_a_number_a_list(tmp_path: Path) -> None:
    row = sample(1, 0, 0, "anna", ("205", 1, 1.0), ("999", 4, 1.0), ("999", 5, 2.0))
    raw = write_raw(tmp_path / "raw", [row], [ANNA])
    done = prepare_aliccp(
        raw, tmp_path / "out", fields={**FIELDS, "999": "extra"}, multi_valued=[*MULTI_VALUED, "extra"]
    )
    assert done.train is not None
    found = done.train.compute()
    assert found["extra"].to_list() == [[4, 5]] and found["extra_weights"].to_list() == [[1.0, 2.0]]


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither sample_skeleton_train\.csv nor sample_skeleton_test\.csv"):
        prepare_aliccp(tmp_path, tmp_path / "out")
    write_raw(tmp_path, ROWS, [ANNA])
    with pytest.raises(UnknownColumnError, match=r"Did you mean 'user_shops'\?"):
        prepare_aliccp(tmp_path, tmp_path / "out", columns=["user_shop"])
    (tmp_path / "common_features_train.csv").unlink()
    with pytest.raises(DataError, match=r"there is no common_features_train\.csv for it"):
        prepare_aliccp(tmp_path, tmp_path / "out")
    for file in ("common_features_train.csv", "sample_skeleton_train.csv"):
        (tmp_path / file).write_text("")
        with pytest.raises(DataError, match="has no lines"):
            prepare_aliccp(tmp_path, tmp_path / "out")
        (tmp_path / file).write_text(ANNA if file.startswith("common") else "")


@pytest.mark.real_data
def test_real_rows_of_ali_ccp_survive_the_way_through_the_raw_format(tmp_path: Path) -> None:
    file = real_data() / "ali-ccp-sample" / "paddlerec_esmm_train.parquet"
    real = pl.read_parquet(file)
    rows, commons = [], []
    for number, row in enumerate(real.iter_rows(named=True)):
        pairs = list(zip(row["field"], row["feature_id"], strict=True))
        shared = [(f, v, 1.0) for f, v in pairs if f.startswith("1") and FIELDS[f].startswith("user")]
        own = [(f, v, 1.0) for f, v in pairs if (f, v, 1.0) not in shared]
        rows.append(sample(row["sample_id"], row["click"], row["purchase"], f"c{number}", *own))
        commons.append(common(f"c{number}", *shared))
    done = prepare_aliccp(write_raw(tmp_path / "raw", rows, commons), tmp_path / "out")
    assert done.train is not None
    found = done.train.compute()
    assert len(found) == len(real)
    for name, field in (("user_shops", "110_14"), ("item_intention", "210")):
        expected = [
            [v for f, v in zip(fields, values, strict=True) if f == field]
            for fields, values in zip(real["field"], real["feature_id"], strict=True)
        ]
        assert found[name].to_list() == expected
    assert found["user_id"].null_count() == 0 and found["item_id"].null_count() == 0


def real_data() -> Path:
    folder = Path(os.environ.get("TAMIS_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder}")
    return folder


class Doubling:
    """Stands in for a Workflow: learns the largest number, doubles all."""

    def fit(self, dataset: Dataset) -> "Doubling":
        self.learned = dataset.compute()["n"].max()
        return self

    def transform(self, dataset: Dataset) -> Dataset:
        return dataset.map(lambda rows: rows.with_columns(pl.col("n") * 2), dataset.schema)

    def save(self, path: Path) -> None:
        path.mkdir()
        (path / "learned.json").write_text(str(self.learned))


def test_a_workflow_learns_from_the_training_rows_and_changes_both_sets(tmp_path: Path) -> None:
    sets = Dataset(pl.DataFrame({"n": [1, 2]})), Dataset(pl.DataFrame({"n": [9]}))
    train, valid = transform_aliccp(sets, tmp_path / "processed", nvt_workflow=Doubling())
    assert train.compute()["n"].to_list() == [2, 4] and valid.compute()["n"].to_list() == [18]
    assert Dataset(tmp_path / "processed/train").num_rows == 2
    assert Dataset(f"{tmp_path}/processed/valid/*.parquet").num_rows == 1
    assert (tmp_path / "processed/workflow/learned.json").read_text() == "2"


def test_a_missing_workflow_is_asked_for(tmp_path: Path) -> None:
    dataset = Dataset(pl.DataFrame({"n": [1]}))
    with pytest.raises(SettingError, match="Give nvt_workflow= a Workflow or its nodes"):
        transform_aliccp((dataset, dataset), tmp_path)
