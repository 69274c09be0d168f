"""Rows that the benchmarks print become tables; with `MERLIN_PYTHON`, Merlin's figures stand beside."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import run_all  # noqa: E402 - found through the line above
import tables  # noqa: E402

MACHINE = {"machine": "2 cores, made up", "commit": "abc1234", "versions": {"tamis": "0.1.0"}}
ROWS: list[dict[str, Any]] = [
    {"benchmark": "generate", "kind": "planted", "rows": 1_000_000, "rows_per_s": 900_000, "peak_mb": 1234.5},
    {"benchmark": "workflow", "rows": 1_000_000, "total_p50_s": 1.234, "peak_mb": 800},
    {
        "benchmark": "online", "columns": 15, "values": 1_000_000, "p50_us": 21.1, "p99_us": 45.0,
        "transform_p50_us": 1985.9, "transform_p99_us": 5744.0, "tables_rss_mb": 402.4,
    },
    {
        "benchmark": "loader",
        "tamis_first_epoch_rows_per_s": 2_000_000,
        "tamis_later_epochs_rows_per_s": 3_000_000,
        "polars_read_and_sample_rows_per_s": 4_000_000,
        "torch_dataloader_rows_per_s": 50_000,
        "peak_mb": 700,
    },
    {
        "benchmark": "training", "case": "seed", "rows_per_s": 170_000, "peak_mb": 900,
        "recall_at_10": 0.0485, "recall_at_10_range": [0.048, 0.05], "popularity_recall_at_10": 0.05, **MACHINE,
    },
    {"benchmark": "training", "case": "1M users, 100,000 items, adam", "rows_per_s": 120_000, "peak_mb": 1500},
    {"benchmark": "training", "case": "1M users, 1,000,000 items, adam", "rows_per_s": 90_000, "peak_mb": 2500},
    {
        "benchmark": "evaluation", "items": 50_000, "peak_mb": 600,
        "users_per_s": {"plain matmul + topk": {"p50": 3_000}, "judge, seen excluded": {"p50": 6_000}},
    },
    {
        "benchmark": "quality-planted", "case": "tuned", "recall_at_10": 0.3, "recall_at_10_range": [0.29, 0.31],
        "ndcg_at_10": 0.2, "popularity_recall_at_10": 0.1, "popularity_ndcg_at_10": 0.05, "oracle_recall_at_10": 0.4,
    },
    {
        "benchmark": "quality-gowalla", "case": "matrix factorization", "recall_at_20": 0.176,
        "recall_at_20_range": [0.175, 0.177], "ndcg_at_20": 0.141, "popularity_recall_at_20": 0.04,
        "popularity_ndcg_at_20": 0.03,
    },
    {
        "benchmark": "features", "rows": 10_000_000,
        "tamis": {"fit_s": 4.04, "transform_s": 6.0, "total_s": 10.0, "peak_mb": 1000, "fit_passes": 1},
        "polars": {"fit_s": 4.0, "transform_s": 5.0, "total_s": 9.0, "peak_mb": 2000},
        "nvtabular": {"fit_s": 80.0, "transform_s": 120.0, "total_s": 200.0, "peak_mb": 1400},
    },
    {
        "benchmark": "out_of_core", "rows": 140_000_000, "columns": 18, "frame_mb": 20_400, "limit_mb": 2048,
        "limited_by": "control group v1", "ended": "finished", "fit_s": 200.4, "transform_s": 300.0, "save_s": 9.0,
        "largest_vocabulary": 100_000_000, "peak_mb": 1900, "spilled_mb": 12_345,
    },
    {
        "benchmark": "out_of_core", "rows": 1000, "columns": 18, "frame_mb": 1000, "limit_mb": None,
        "limited_by": "RLIMIT_AS", "ended": "killed for memory",
    },
    {
        "benchmark": "ranking", "model": "dlrm", "batch_size": 4096, "dim": 16,
        "tamis_adam": {"rows_per_s": 90_000, "peak_mb": 900, "precision": "bfloat16", "share_of_peak": 0.123},
        "tamis_adagrad": {"rows_per_s": 95_000, "peak_mb": 880, "precision": "bfloat16", "share_of_peak": 0.13},
        "torch_adam": {"rows_per_s": 9_000}, "torch_fused_adam": {"rows_per_s": 20_000},
        "merlin_adagrad": {"rows_per_s": 51_900},
    },
    {
        "benchmark": "ranking-tables", "model": "dcn", "batch_size": 4096,
        "by_size": {
            "10000": {"rows_per_s": 70_000, "peak_mb": 500}, "4000000": {"rows_per_s": 69_000, "peak_mb": 1500},
        },
    },
    {
        "benchmark": "scoring", "model": "deepfm", "candidates": 1000, "item_numbers": 6, "p50_ms": 1.634,
        "p99_ms": 2.2, "floor_ms": 2.04, "times_floor": 0.8, "whole_p50_ms": 4.4, "whole_p99_ms": 6.0,
        "mflop": 388.2, "peak_gflops": 190,
    },
    {
        "benchmark": "funnel-ml-1m", "num_users": 6_040, "popularity_ndcg_at_10": [0.02, 0.0181, 0.0222],
        "retrieval_ndcg_at_10": [0.18, 0.17, 0.19], "funnel_ndcg_at_10": [0.19, 0.18, 0.2],
        "better_than_retrieval_ndcg_at_10": [0.01, 0.004, 0.016],
    },
    {
        "benchmark": "funnel-planted", "rows": 1_000_000, "num_users": 20_000,
        "popularity_ndcg_at_10": [0.1, 0.09, 0.11], "retrieval_ndcg_at_10": [0.2, 0.19, 0.21],
        "funnel_ndcg_at_10": [0.21, 0.2, 0.22], "better_than_retrieval_ndcg_at_10": [-0.01, -0.02, 0.0],
        "oracle_ndcg_at_10": [0.25, 0.24, 0.26], "retrieval_share_ndcg_at_10": [0.8, 0.79, 0.81],
        "funnel_share_ndcg_at_10": [0.841, 0.83, 0.85], "ranker_gauc": 0.75, "oracle_gauc": 0.85,
        "ranker_auc": 0.66, "oracle_auc": 0.8,
    },
]  # fmt: skip


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def line_of(table: str, words: str) -> list[str]:
    found = [line for line in cells(table) if words in line[0]]
    assert len(found) == 1, (words, table)
    return found[0]


def test_both_stages_stand_beside_the_first_alone_and_the_truth() -> None:
    table = tables.funnel_table(ROWS)
    assert line_of(table, "MovieLens-1M by order, 6,040 users")[1:] == [
        "0.0200 [0.0181, 0.0222]", "0.1800 [0.1700, 0.1900]", "0.1900 [0.1800, 0.2000]",
        "+0.0100 [+0.0040, +0.0160]", "",
    ]  # fmt: skip
    line = line_of(table, "planted truth, 1,000,000 rows, 20,000 users")
    assert line[4] == "-0.0100 [-0.0200, +0.0000]"
    assert line[5] == ("84.1% (retrieval 80.0%); the ranker's AUC 0.6600 of 0.8000, within users 0.7500 of 0.8500")
    assert tables.funnel_table([]) == ""


def test_a_ranker_s_step_stands_beside_those_of_others() -> None:
    table = tables.ranking_table(ROWS)
    line = line_of(table, "DLRM, batch 4,096, embeddings of 16, adam")
    assert line[1:4] == ["90,000 rows/s", "900 MB", "12.3% (bfloat16)"]
    assert line[4] == "plain torch, Adam 9,000, fused Adam 20,000, Merlin, Adagrad 51,900 rows/s"
    line = line_of(table, "DCN-v2, batch 4,096, three tables of 10,000 / 4,000,000 rows")
    assert line[1:3] == ["70,000 / 69,000 rows/s", "500 / 1,500 MB"]
    assert tables.ranking_table([]) == ""


def test_scoring_candidates_stands_beside_its_floor() -> None:
    line = line_of(tables.scoring_table(ROWS), "DeepFM, 1,000 candidates, 6 numbers the item's")
    assert line[1:] == [
        "1.63 / 2.20 ms", "2.04 ms (388 MFLOP at 190 GFLOP/s)", "0.80", "4.40 / 6.00 ms"
    ]  # fmt: skip


def test_speed_stands_with_its_memory_and_what_is_beside_it() -> None:
    table = tables.speed_table(ROWS)
    assert all(len(line) == 4 for line in cells(table))
    assert line_of(table, "generate")[1:] == ["900,000 rows/s", "1,234 MB", ""]
    assert line_of(table, "workflow of the seed")[1:] == ["1.23 s", "800 MB", ""]
    assert line_of(table, "one request's row, 15 columns of 1,000,000 values each")[1:] == [
        "21 / 45 µs", "402 MB of tables, once for all processes",
        "one-row frame through `transform` 1,986 / 5,744 µs",
    ]  # fmt: skip
    assert line_of(table, "loader alone")[1] == "2,000,000 / 3,000,000 rows/s"
    assert "torch DataLoader 50,000 rows/s" in line_of(table, "loader alone")[3]
    assert line_of(table, "the seed's rows")[1:] == ["170,000 rows/s", "900 MB", ""]
    assert line_of(table, "1,000,000 items, adam")[1] == "90,000 rows/s"
    assert line_of(table, "over 50,000 items, seen excluded")[1] == "6,000 users/s"


def test_features_stand_three_ways() -> None:
    table = tables.features_table(ROWS)
    assert line_of(table, "Tamis, fit in one pass")[1:] == ["4.0 + 6.0 = 10.0 s", "1,000 MB", ""]
    assert line_of(table, "Polars by hand")[1:] == ["4.0 + 5.0 = 9.0 s", "2,000 MB", "0.90 times the time of Tamis"]
    assert line_of(table, "NVTabular")[3] == "20.00 times the time of Tamis"


def test_data_beyond_the_memory_stands_with_what_it_was_allowed_and_how_it_ended() -> None:
    table = tables.out_of_core_table(ROWS)
    assert line_of(table, "140,000,000 rows, 18 columns, 20 GB as a frame, a vocabulary of 100,000,000")[1:] == [
        "2,048 MB, control group v1", "200 + 300 + 9 s", "1,900 MB", "12,345 MB",
    ]  # fmt: skip
    assert line_of(table, "1,000 rows")[1:] == ["no limit", "killed for memory", "", ""]


def test_quality_stands_beside_popularity_oracle_and_literature() -> None:
    table = tables.quality_table(ROWS)
    independent = line_of(table, "independent draws")
    beside = "97% of popularity (96% to 100%)"
    assert independent[1:] == ["0.0485 (0.0480 to 0.0500)", "0.0500", beside]
    assert line_of(table, "planted truth, tuned, @10")[1:] == [
        "0.3000 (0.2900 to 0.3100) / 0.2000", "0.1000 / 0.0500", "oracle 0.4000: 75% of it",
    ]  # fmt: skip
    assert ".1627 / .1378" in line_of(table, "Gowalla")[3]


def test_no_rows_make_no_table() -> None:
    assert tables.speed_table([]) == tables.quality_table([]) == ""
    assert tables.features_table([]) == tables.out_of_core_table([]) == ""


FAKE = """#!{python}
import json, os, sys
from pathlib import Path
script = Path(sys.argv[1]).name
assert Path(sys.argv[1]).is_file() and Path(os.environ["BENCH_DATA"]).is_dir()
rows = []
if script == "seed_notebook.py":
    rows = [("seed_notebook", "workflow build+fit+transform to parquet (train and valid)", 4.6),
            ("seed_notebook", "train rows after filter", 170000), ("seed_notebook", "model.fit total", 30.0)]
if script == "train_throughput.py":
    speed = {{"adam": 6500, "lazyadam": 22000}}[sys.argv[sys.argv.index("--optimizer") + 1]]
    bench = "train_twotower items=1000000 batch=4096 %s fit" % sys.argv[sys.argv.index("--optimizer") + 1]
    rows = [(bench, "throughput (whole steady window)", speed)]
with open(os.environ["BENCH_OUT"], "a") as out:
    for bench, metric, value in rows:
        out.write(json.dumps(dict(bench=bench, metric=metric, value=value)) + "\\n")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up project with older results, and a made-up Merlin environment."""
    for folder in ("project/benchmarks", "project/docs", "merlin"):
        (tmp_path / folder).mkdir(parents=True)
    text = f"# Title\n\nBefore.\n{tables.BEGIN}\nold\n{tables.END}\nAfter.\n"
    (tmp_path / "project" / "README.md").write_text(text)
    (tmp_path / "project" / "docs" / "benchmarks.md").write_text(text)
    for script in ("seed_notebook.py", "train_throughput.py", "topk_eval.py"):
        (tmp_path / "merlin" / script).write_text("")
    python = tmp_path / "merlin" / "python"
    python.write_text(FAKE.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setenv("MERLIN_PYTHON", str(python))
    monkeypatch.setenv("MERLIN_BASELINE", str(tmp_path / "merlin"))
    monkeypatch.setattr(run_all, "HERE", tmp_path / "project" / "benchmarks")
    monkeypatch.setattr(run_all, "RESULTS", tmp_path / "project" / "benchmarks" / "results.jsonl")
    run_all.RESULTS.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path / "project"


def test_merlins_figures_fill_their_column(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run_all.py", "merlin"])
    run_all.main()
    readme = (project / "README.md").read_text()
    assert line_of(readme, "workflow of the seed")[3] == "Merlin 4.6 s"
    assert line_of(readme, "the seed's rows")[3] == "Merlin 17,000 rows/s"  # 3 epochs of 170,000 rows in 30 s
    assert line_of(readme, "1,000,000 items, adam")[3] == "Merlin adam 6,500 rows/s, Merlin lazyadam 22,000 rows/s"
    assert line_of(readme, "100,000 items, adam")[3] == ""  # Merlin was not measured there
    assert line_of(readme, "loader alone")[1] == "2,000,000 / 3,000,000 rows/s"  # the older figures stay
    kept = [json.loads(line) for line in run_all.RESULTS.read_text().splitlines()]
    assert sum(row["benchmark"] == "merlin" for row in kept) == 5
    run_all.main()  # again: the new figures replace the old
    assert len(run_all.RESULTS.read_text().splitlines()) == len(kept)


def test_what_stands_around_the_tables_stays_and_the_old_tables_go(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_all.py", "merlin"])
    run_all.main()
    for file in (project / "README.md", project / "docs" / "benchmarks.md"):
        text = file.read_text()
        assert text.startswith(f"# Title\n\nBefore.\n{tables.BEGIN}\n")
        assert text.endswith(f"{tables.END}\nAfter.\n")
        assert "old" not in text
    assert "- 2 cores, made up; commit abc1234" in (project / "docs" / "benchmarks.md").read_text()


def test_a_lost_marker_costs_no_text(project: Path) -> None:
    file = project / "README.md"
    file.write_text(file.read_text().replace(tables.END, ""))
    before = file.read_text()
    with pytest.raises(ValueError, match=r"README.md: the markers .* are not both in it"):
        tables.write(ROWS, project)
    assert file.read_text() == before


def test_a_misspelt_benchmark_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run_all.py", "trainig"])
    with pytest.raises(SystemExit, match=r"There is no benchmark 'trainig'\. There are generate, workflow"):
        run_all.main()
    assert (project / "README.md").read_text().count("old") == 1


@pytest.mark.parametrize("file", ["README.md", "docs/benchmarks.md"])
def test_the_projects_own_files_have_the_markers_once_and_in_order(file: str) -> None:
    found = re.findall("|".join(map(re.escape, (tables.BEGIN, tables.END))), (ROOT / file).read_text())
    assert found == [tables.BEGIN, tables.END]


def test_the_real_baseline_records_what_the_tables_look_for() -> None:
    baseline = ROOT.parent / "shared" / "merlin-baseline"
    if not baseline.is_dir():
        pytest.skip(f"Merlin's scripts are not at {baseline}")
    seed, training = (
        (baseline / name).read_text(encoding="utf-8") for name in ("seed_notebook.py", "train_throughput.py")
    )
    for name in ("workflow build+fit+transform", '"train rows after filter"', '"model.fit total"'):
        assert name in seed
    assert '"throughput (whole steady window)"' in training
