import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify, Filter, TargetEncoding
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

CLICKS = pl.DataFrame({"a": [1, 1, 1, 2, 2, None], "b": ["x", "x", "y", "x", "x", None], "y": [1, 1, 0, 0, 1, 0]})


def splitmix(key):
    """The mixing of 64 bits, written down apart from the library."""
    mask = 2**64 - 1
    key = (key + 0x9E3779B97F4A7C15) & mask
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & mask
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & mask
    return key ^ (key >> 31)


def fold_of(row, kfold=3, seed=42):
    """The seed moves the rows' numbers by its own hash."""
    start = (splitmix(seed) % (2**31 - 1)) << 32
    return splitmix((row + start) & (2**64 - 1)) % kfold


def encoded(frame, op, columns=("a",), **given):
    return Workflow([list(columns)] >> op).fit(frame).transform(frame, **given).to_series().to_list()


def by_hand(keys, targets, at, used, p_smooth, mean=None):
    """The encoding of `at` out of the rows of `used`, in plain Python."""
    known = [(k, t) for k, t, one in zip(keys, targets, used, strict=True) if one and t is not None and t == t]
    if mean is None:
        if not known:
            return None
        mean = math.fsum(t for _, t in known) / len(known)
    mine = [t for k, t in known if k == at]
    if not mine and not p_smooth:
        return mean
    return (math.fsum(mine) + p_smooth * mean) / (len(mine) + p_smooth)


def test_a_group_gets_its_mean_drawn_towards_the_overall_one() -> None:
    found = encoded(CLICKS, TargetEncoding("y", p_smooth=2, kfold=1))
    one, two, null = (2 + 2 * 0.5) / 5, (1 + 2 * 0.5) / 4, (0 + 2 * 0.5) / 3
    assert found == pytest.approx([one, one, one, two, two, null])


def test_a_value_that_was_not_learned_gets_the_mean_and_null_is_a_value() -> None:
    workflow = Workflow(["a"] >> TargetEncoding("y", p_smooth=0)).fit(CLICKS)
    other = workflow.transform(pl.DataFrame({"a": [9, None, 1]}))
    assert other["TE_a_y"].to_list() == pytest.approx([0.5, 0.0, 2 / 3])


def test_several_columns_jointly_are_one_key() -> None:
    found = encoded(CLICKS, TargetEncoding("y", p_smooth=0, kfold=1), ["a", "b"])
    assert found == [1, 1, 0, 0.5, 0.5, 0]


def test_targets_keep_their_own_values_and_names() -> None:
    frame = CLICKS.with_columns(z=pl.col("y") * 10.0)
    workflow = Workflow([["a", "b"]] >> TargetEncoding(["z", "y"], p_smooth=0, kfold=1)).fit(frame)
    out = workflow.transform(frame)
    assert out.columns == ["TE_a_b_z", "TE_a_b_y"]
    assert out["TE_a_b_z"].to_list() == [10, 10, 0, 5, 5, 0]
    assert out["TE_a_b_y"].to_list() == [1, 1, 0, 0.5, 0.5, 0]


def test_names_and_dtypes_can_be_given() -> None:
    op = TargetEncoding(["y"], out_col=["rate"], out_dtype="float64", kfold=1)
    workflow = Workflow(["a"] >> op).fit(CLICKS)
    assert workflow.transform(CLICKS).schema == {"rate": pl.Float64}
    assert workflow.output_schema["rate"].dtype == "float64"


def test_the_result_is_continuous_and_of_the_item_where_the_column_is() -> None:
    schema = Schema([ColumnSchema("a", "int64", Tags.ITEM_ID), ColumnSchema("b", "string", Tags.USER)])
    data = Dataset(CLICKS, schema + ColumnSchema("y"))
    out = Workflow(["a", "b"] >> TargetEncoding("y")).fit(data).output_schema
    assert out["TE_a_y"].tags == {Tags.ITEM, Tags.CONTINUOUS}
    joint = Workflow([["a", "b"]] >> TargetEncoding("y")).fit(data).output_schema
    assert joint["TE_a_b_y"].tags == {Tags.CONTINUOUS}


def test_targets_that_are_missing_do_not_count() -> None:
    frame = pl.DataFrame({"a": [1, 1, 1, 1], "y": [1.0, None, float("nan"), 0.0]})
    assert encoded(frame, TargetEncoding("y", p_smooth=0, kfold=1)) == [0.5] * 4


def test_booleans_are_targets() -> None:
    frame = pl.DataFrame({"a": [1, 1, 2], "y": [True, False, True]})
    assert encoded(frame, TargetEncoding("y", p_smooth=0, kfold=1)) == [0.5, 0.5, 1]


def test_the_mean_can_be_given_as_a_number_or_by_target() -> None:
    for mean in (0.25, {"y": 0.25}):
        workflow = Workflow(["a"] >> TargetEncoding("y", target_mean=mean, p_smooth=1)).fit(CLICKS)
        found = workflow.transform(pl.DataFrame({"a": [9, 1]}))["TE_a_y"].to_list()
        assert found == pytest.approx([0.25, 2.25 / 4])
    both = TargetEncoding(["y", "z"], target_mean={"z": 7}, p_smooth=1)
    workflow = Workflow(["a"] >> both).fit(CLICKS.with_columns(z="y"))
    assert workflow.transform(pl.DataFrame({"a": [9]})).row(0) == pytest.approx((0.5, 7))


def test_training_rows_get_the_other_folds_and_all_others_everything() -> None:
    keys, targets = CLICKS["a"].to_list(), CLICKS["y"].to_list()
    folds = [fold_of(i) for i in range(6)]
    assert len(set(folds)) > 1
    out_of_fold = [by_hand(keys, targets, k, [f != g for g in folds], 20) for k, f in zip(keys, folds, strict=True)]
    full = [by_hand(keys, targets, k, [True] * 6, 20) for k in keys]
    workflow = Workflow(["a"] >> TargetEncoding("y")).fit(CLICKS)
    assert workflow.transform(CLICKS)["TE_a_y"].to_list() == pytest.approx(out_of_fold)
    assert workflow.fit_transform(CLICKS)["TE_a_y"].to_list() == pytest.approx(out_of_fold)
    assert workflow.transform(CLICKS, training=False)["TE_a_y"].to_list() == pytest.approx(full)
    assert workflow.transform(CLICKS.drop("y"))["TE_a_y"].to_list() == pytest.approx(full)
    assert workflow.transform(CLICKS.head(5))["TE_a_y"].to_list() == pytest.approx(full[:5])
    assert workflow.online().transform({"a": 2})["TE_a_y"] == pytest.approx(full[3])


def test_shuffled_targets_give_training_rows_no_signal() -> None:
    """Each value comes twice, so a leaking encoding nearly tells the target; an honest one cannot know it."""
    generator = np.random.default_rng(1)
    frame = pl.DataFrame({"a": generator.integers(0, 3000, 6000), "y": generator.integers(0, 2, 6000)})

    def signal(kfold):
        return abs(np.corrcoef(encoded(frame, TargetEncoding("y", p_smooth=1, kfold=kfold)), frame["y"])[0, 1])

    assert signal(1) > 0.5
    assert signal(3) < 0.04 and signal(5) < 0.04  # three standard errors of a correlation over 6000 rows


def test_a_target_that_depends_on_the_value_is_still_told_to_training_rows() -> None:
    frame = pl.DataFrame({"a": [i % 10 for i in range(2000)]}).with_columns(y=(pl.col("a") < 5).cast(pl.Int8))
    assert np.corrcoef(encoded(frame, TargetEncoding("y")), frame["y"])[0, 1] > 0.99


def test_folds_do_not_change_with_the_cutting_of_files(tmp_path) -> None:
    frame = pl.DataFrame({"a": [i * 7 % 11 for i in range(300)], "y": [i % 3 for i in range(300)]})
    whole = Workflow(["a"] >> TargetEncoding("y")).fit(frame).transform(frame)
    for name, size in (("one", 300), ("many", 37)):
        (tmp_path / name).mkdir()
        for i, part in enumerate(frame.iter_slices(size)):
            part.write_parquet(tmp_path / name / f"{i:03}.parquet", row_group_size=20)
        data = Dataset(tmp_path / name)
        out = Workflow(["a"] >> TargetEncoding("y")).fit_transform(data).compute()
        assert_frame_equal(out, whole, check_exact=True)


def test_another_seed_deals_other_folds() -> None:
    frame = pl.DataFrame({"a": [i % 5 for i in range(50)], "y": [i % 7 for i in range(50)]})
    first, again, other = (encoded(frame, TargetEncoding("y", fold_seed=seed)) for seed in (1, 1, -2))
    assert first == again != other


def test_folds_are_of_the_rows_that_a_filter_left() -> None:
    frame = pl.DataFrame({"a": [1, 2] * 20, "y": [i % 3 for i in range(40)]})
    graph = ["a", "y"] >> Filter(pl.col("y") > 0) >> TargetEncoding("y", p_smooth=1)
    out = Workflow(graph).fit_transform(frame)
    kept = [(i, a, y) for i, (a, y) in enumerate(frame.rows()) if y > 0]
    keys, targets, folds = [a for _, a, _ in kept], [y for _, _, y in kept], [fold_of(i) for i, _, _ in kept]
    expected = [by_hand(keys, targets, k, [f != g for g in folds], 1) for k, f in zip(keys, folds, strict=True)]
    assert out["TE_a_y"].to_list() == pytest.approx(expected)
    assert out["y"].to_list() == targets


def test_codes_can_be_encoded_and_a_saved_workflow_knows_its_training_rows(tmp_path) -> None:
    workflow = Workflow(["b"] >> Categorify() >> TargetEncoding("y")).fit(CLICKS)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert_frame_equal(loaded.transform(CLICKS), workflow.fit_transform(CLICKS), check_exact=True)
    assert loaded.transform(CLICKS)["TE_b_y"].to_list() != loaded.transform(CLICKS.drop("y"))["TE_b_y"].to_list()


def test_one_training_row_has_no_others_to_learn_from() -> None:
    frame = pl.DataFrame({"a": [1], "y": [1]})
    assert encoded(frame, TargetEncoding("y")) == [None]
    assert encoded(frame, TargetEncoding("y", target_mean=0.5)) == [0.5]
    assert encoded(frame, TargetEncoding("y"), training=False) == [1.0]


VALUES = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    pl.UInt64: st.integers(2**64 - 3, 2**64 - 1) | st.integers(0, 3),
    pl.Float64: st.floats() | st.sampled_from([0.0, -0.0, 1.0]),
    pl.String: st.text(max_size=2),
    pl.Boolean: st.booleans(),
}


@pytest.mark.parametrize("dtype", VALUES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_values_agree_with_plain_python(dtype, data) -> None:
    row = st.tuples(st.none() | VALUES[dtype], st.none() | st.integers(0, 2), st.none() | st.floats(-1e3, 1e3))
    rows = data.draw(st.lists(row, min_size=1, max_size=30).filter(lambda rows: any(y is not None for *_, y in rows)))
    p_smooth, kfold = data.draw(st.sampled_from([0, 0.5, 20])), data.draw(st.integers(2, 4))
    frame = pl.DataFrame(rows, schema={"a": dtype, "b": pl.Int8, "y": pl.Float64}, orient="row")
    op = TargetEncoding("y", kfold=kfold, p_smooth=p_smooth, out_dtype="float64")
    workflow = Workflow([["a", "b"]] >> op).fit(frame)
    keys = [(None if a != a else a, b) for a, b, _ in rows]
    targets, folds = [y for *_, y in rows], [fold_of(i, kfold) for i in range(len(rows))]
    full = [by_hand(keys, targets, k, [True] * len(rows), p_smooth) for k in keys]
    own = [by_hand(keys, targets, k, [f != g for g in folds], p_smooth) for k, f in zip(keys, folds, strict=True)]
    for training, expected in ((False, full), (True, own)):
        found = workflow.transform(frame, training=training)["TE_a_b_y"].to_list()
        for one, want in zip(found, expected, strict=True):
            assert one == (None if want is None else pytest.approx(want, rel=1e-9, abs=1e-9))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": []}, r"target=\(\) is not a name, or several\. Name each once\."),
        ({"target": ["y", "y"]}, r"target=\('y', 'y'\) is not a name, or several\. Name each once\."),
        ({"kfold": 0}, r"kfold=0 is not a whole number of at least 1\."),
        ({"kfold": True}, r"kfold=True is not a whole number"),
        ({"fold_seed": 1.5}, r"fold_seed=1\.5 is not a whole number\. Give one\."),
        ({"p_smooth": -1}, r"p_smooth=-1 is not a number of at least 0\."),
        ({"p_smooth": float("nan")}, r"p_smooth=nan is not a number of at least 0\."),
        ({"out_col": ["p", "q"]}, r"out_col=\('p', 'q'\) does not fit 1 targets\. Give a name for each\."),
        ({"out_dtype": "int8"}, r"dtype 'int8' does not fit\. Choose one of float32, float64\."),
        ({"target_mean": {"z": 1}}, r"target_mean has 'z', which is no target\. Leave it out\."),
        ({"target_mean": math.inf}, r"target_mean=inf of 'y' is not a finite number\."),
    ],
)
def test_settings_out_of_range_are_refused(given, message) -> None:
    with pytest.raises(SettingError, match=f"TargetEncoding: {message}"):
        TargetEncoding(**{"target": "y", **given})


def test_columns_that_do_not_fit_are_refused() -> None:
    frame = CLICKS.with_columns(l=[[1]] * 6, d=pl.lit(1).cast(pl.Decimal(10, 2)), n=pl.lit(None, pl.Float64))
    for columns, target, error, message in [
        (["l"], "y", DataError, "the column 'l' holds lists of int64, by which rows cannot be grouped. Give numbers"),
        (["d"], "y", DataError, r"the column 'd' holds decimal.*, by which rows cannot be grouped"),
        (["a"], "b", SettingError, "the column 'b' holds string, not single numbers. Cast it to numbers."),
        (["a"], "l", SettingError, "the column 'l' holds lists of int64, not single numbers."),
        ([["a", "y"]], "y", SettingError, "'y' is a target and would be encoded by itself. Take it out."),
        (["a"], "n", DataError, "the target 'n' has no value but null and NaN. Check the column."),
        (["a"], "click", UnknownColumnError, "the data has no column 'click'"),
    ]:
        with pytest.raises(error, match=f"TargetEncoding: {message}"):
            Workflow(columns >> TargetEncoding(target)).fit(frame)


def timed(frame, columns=("a",), **settings):
    op = TargetEncoding("y", time="ts", out_dtype="float64", **settings)
    return Workflow([list(columns)] >> op).fit(frame)


def test_in_time_a_row_sees_strictly_earlier_rows_alone() -> None:
    frame = pl.DataFrame({"a": [1, 1, 1, 2, 1], "ts": [10, 30, 20, 20, 20], "y": [1.0, 0.0, 0.0, 1.0, 0.5]})
    workflow = timed(frame, p_smooth=1)
    mean = (1.0 + 0.0 + 1.0 + 0.5) / 4  # of the rows before 30; before 20 it is 1
    expected = [None, (1.5 + mean) / 4, (1 + 1) / 2, (0 + 1) / 1, (1 + 1) / 2]
    assert workflow.transform(frame)["TE_a_y"].to_list() == pytest.approx(expected)
    later = pl.DataFrame({"a": [1, 9, None], "ts": [99, 99, 99]})
    assert workflow.transform(later)["TE_a_y"].to_list() == pytest.approx([(1.5 + 0.5) / 5, 0.5, 0.5])


def test_in_time_what_a_given_mean_says_holds_where_nothing_is_known() -> None:
    frame = pl.DataFrame({"a": [1, 1], "ts": [1, 2], "y": [1, 0]})
    workflow = timed(frame, p_smooth=1, target_mean=0.25)
    rows = pl.DataFrame({"a": [1, 1, 7], "ts": [1, None, 9]})
    assert workflow.transform(rows)["TE_a_y"].to_list() == [0.25, 0.25, 0.25]
    assert [workflow.online().transform(row)["TE_a_y"] for row in rows.to_dicts()] == [0.25, 0.25, 0.25]


def test_in_time_later_rows_come_by_update(tmp_path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "ts": [1, 2], "y": [1, 0]})
    workflow = timed(frame, p_smooth=0)
    workflow.save(tmp_path / "w")
    workflow = Workflow.load(tmp_path / "w")
    workflow.update(pl.DataFrame({"a": [1, 1], "ts": [5, 3], "y": [0, 0]}))
    rows = pl.DataFrame({"a": [1, 1, 1], "ts": [2, 4, 6]})
    assert workflow.transform(rows)["TE_a_y"].to_list() == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_timed_encoding_of_shuffled_targets_tells_nothing() -> None:
    generator = np.random.default_rng(3)
    frame = pl.DataFrame(
        {"a": generator.integers(0, 3000, 6000), "ts": generator.integers(0, 99, 6000), "y": generator.random(6000)}
    )
    found = timed(frame, p_smooth=1).transform(frame).with_columns(frame["y"]).drop_nulls()
    assert abs(np.corrcoef(found["TE_a_y"], found["y"])[0, 1]) < 0.04


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_timed_values_agree_with_plain_python(data) -> None:
    row = st.tuples(
        st.none() | st.sampled_from(["", "é"]), st.none() | st.integers(0, 5), st.none() | st.integers(-3, 3)
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=25).filter(lambda rows: any(None not in r[1:] for r in rows)))
    p_smooth = data.draw(st.sampled_from([0, 2]))
    frame = pl.DataFrame(rows, schema={"a": pl.String, "ts": pl.Int64, "y": pl.Int64}, orient="row")
    keys, targets = [a for a, _, _ in rows], [y for *_, y in rows]
    workflow = timed(frame, p_smooth=p_smooth)
    found, online = workflow.transform(frame)["TE_a_y"].to_list(), workflow.online()
    for (a, ts, _), one in zip(rows, found, strict=True):
        earlier = [ts is not None and other is not None and other < ts for _, other, _ in rows]
        want = by_hand(keys, targets, a, earlier, p_smooth)
        assert one == (None if want is None else pytest.approx(want))
        assert online.transform({"a": a, "ts": ts})["TE_a_y"] == one


def test_a_time_that_does_not_tell_moments_is_refused() -> None:
    with pytest.raises(SettingError, match="TargetEncoding: the time column 'ts' holds string"):
        timed(pl.DataFrame({"a": [1], "ts": ["x"], "y": [1]}))
    with pytest.raises(DataError, match="TargetEncoding: the target 'y' has no value but null and NaN"):
        timed(pl.DataFrame({"a": [1], "ts": [None], "y": [1]}, schema={"a": pl.Int8, "ts": pl.Int8, "y": pl.Int8}))


def test_a_part_of_the_graph_still_knows_the_training_rows() -> None:
    """Else `transform` would give each of them a mean with its own target in it."""
    from tamis.features.subgraph import Subgraph

    rows = pl.DataFrame({"user": ["a", "b"] * 20, "x": list(range(40)), "click": [i % 3 == 0 for i in range(40)]})
    own = ["user"] >> TargetEncoding("click")
    whole = Workflow(Subgraph("s", own) + (["x"] >> TargetEncoding("click", out_col="other"))).fit(rows)
    expected = whole.transform(rows, training=True)["TE_user_click"]
    assert not expected.equals(whole.transform(rows, training=False)["TE_user_click"])
    for part in (whole.remove_inputs("x"), whole.get_subworkflow("s")):
        assert part.transform(rows)["TE_user_click"].equals(expected)


def test_training_rows_are_known_in_another_dtype_of_their_kind() -> None:
    rows = pl.DataFrame({"user": ["a", "b"] * 20, "y": [float(i % 3) for i in range(40)]})
    workflow = Workflow(["user"] >> TargetEncoding("y")).fit(rows)
    same = rows.with_columns(pl.col("y").cast(pl.Int64), pl.col("user").cast(pl.Categorical))
    assert workflow.transform(same).equals(workflow.transform(rows, training=True))


def test_a_dict_of_means_outlives_the_removal_of_its_target() -> None:
    rows = pl.DataFrame({"user": ["a", "b", "c"], "click": [1, 0, 1]})
    workflow = Workflow(["user", "click"] >> TargetEncoding("click", target_mean={"click": 0.9})).fit(rows)
    new = pl.DataFrame({"user": ["a", "z"]})
    removed = workflow.remove_inputs("click").transform(new)["TE_user_click"]
    assert removed.equals(workflow.transform(new.with_columns(click=0))["TE_user_click"])
