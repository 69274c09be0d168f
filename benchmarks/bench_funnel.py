"""What do two stages give to the end, beside the first stage alone, popularity and, where it is known, the truth?

    bench_funnel.py                                all rows of the table
    bench_funnel.py ml-100k                        one data set
    bench_funnel.py planted --rows 10000000        a planted world of this size
    bench_funnel.py ml-1m --validation             on the part that the settings were chosen on

- `ml-100k`: by time. The last fifth of the ratings is the test; nothing is trained on it. Each user who rates in it is
  asked once, after half of these ratings, for the other half. What the user did until then is the history.
- `ml-1m`: by order, over the 5-core: each user's last rating is the test. All films are ranked, the seen ones excluded.
- `planted`: synthetic Ali-CCP; the oracle ranks by the true probability of the next click.

All settings are constants: `ML_100K` and `ML_1M` below, those of `tamis demo` for the planted worlds. They were chosen
on the part before the test, or on the world of another seed. Intervals are of 95 %, by bootstrap over users; a user's
value is the mean over the seeds of the models.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

import tamis
from funnel_movielens import Settings, run
from funnel_planted import planted
from measure import peak_mb, report
from tamis import Dataset, datasets
from tamis.evaluation.bootstrap import Bootstrap, Estimate
from tamis.recommender.funnel import Funnel, value_column

REAL_DATA = Path(os.environ.get("TAMIS_DATA", Path(__file__).parents[2] / "shared" / "data"))
METRICS = ("ndcg_at_10", "recall_at_10")
SYSTEMS = ("popularity", "retrieval", "funnel")
SEEDS = {"ml-100k": (0, 1, 2), "ml-1m": (0,), "planted": (0,)}
WORLD_SEED = 7  # settings were chosen on the world of seed 42
LATE_RATINGS = 60  # of each user, before the held-out one, that the ranker of MovieLens-1M learns from

ML_100K = Settings(
    order="timestamp",
    with_user_id=False,  # most users who are asked were not there before
    dropout=0.2,
    batch_size=1024,
    epochs=10,
    ranker_dropout=0.2,
    ranker_epochs=6,
    retrieval_weight=20.0,
)
ML_1M = Settings(
    order="position", with_user_id=True, ranker_dropout=0.1, ranker_rate=0.001, ranker_epochs=2, retrieval_weight=40.0
)

Parts = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]


def ml_100k(*, validation: bool) -> Parts:
    """What retrieval and the ranker learn from, what is known besides, what is held out, and the films."""
    rows = _joined("100k").sort("timestamp", maintain_order=True)
    fractions = (0.45, 0.15, 0.2, 0.2) if validation else (0.6, 0.2, 0.2)
    early, late, asked = (part.compute() for part in tamis.split_by_time(Dataset(rows), "timestamp", fractions)[:3])
    is_known = pl.int_range(pl.len()).over("user_id") < pl.len().over("user_id") // 2
    return early, late, asked.filter(is_known), asked.filter(~is_known), rows


def ml_1m(*, validation: bool) -> Parts:
    """The same; nothing is known besides."""
    rows = _joined("1m")
    rows = rows.filter(pl.len().over("movie_id") >= 5)
    ratings_later = pl.col("position").max().over("user_id") - pl.col("position")
    last = 1 if validation else 0
    held_out, known = rows.filter(ratings_later == last), rows.filter(ratings_later > last)
    is_late = (pl.col("position").max().over("user_id") - pl.col("position")) < LATE_RATINGS
    return known.filter(~is_late), known.filter(is_late), known.clear(), held_out, rows


def _joined(name: str) -> pl.DataFrame:
    data = datasets.movielens(name, REAL_DATA / f"movielens-{name}")
    rows = data.interactions.scan().drop("rating")
    rows = rows.join(data.users.scan(), on="user_id", how="left", maintain_order="left")
    return rows.join(data.items.scan(), on="movie_id", how="left", maintain_order="left").collect()


def movielens(case: str, parts: Parts, settings: Settings, *, validation: bool) -> None:
    """One row of the table; on validation data one for each weight of the retrieval score."""
    weights = (settings.retrieval_weight,)
    if validation:
        weights = (0.0, 20.0, 30.0, 40.0, 50.0, 70.0)
    runs = []
    for seed in SEEDS[case]:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(*parts, Path(folder), settings=settings, seed=seed, weights=weights))
    for weight in weights:
        funnels = [one["funnels"][weight] for one in runs]
        _report(case, funnels, [one["fit_s"] for one in runs], retrieval_weight=weight, validation=validation)


def planted_world(num_rows: int) -> None:
    """The same of a planted world."""
    runs = []
    for seed in SEEDS["planted"]:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(planted(num_rows, Path(folder), world_seed=WORLD_SEED, seed=seed))
    aucs = {name: statistics.fmean(one[name] for one in runs) for name in runs[0] if name.endswith("auc")}
    more = {"rows": num_rows, "mix": runs[0]["mix"], "world_seed": WORLD_SEED, **aucs}
    _report("planted", [one["funnel"] for one in runs], [one["fit_s"] for one in runs], **more)


def _report(case: str, funnels: Sequence[Funnel], fit_s: Sequence[float], **more: Any) -> None:
    systems = [*SYSTEMS, *(["oracle"] if case == "planted" else [])]
    found: dict[str, Any] = {}
    for metric in METRICS:
        drawn = _drawn(funnels, systems, metric)
        found |= {f"{name}_{metric}": _rounded(drawn.mean(name)) for name in systems}
        for other in SYSTEMS[:2]:
            found[f"better_than_{other}_{metric}"] = _rounded(drawn.difference("funnel", other))
        if "oracle" in systems:
            found |= {f"{name}_share_{metric}": _rounded(drawn.share(name, "oracle")) for name in SYSTEMS[1:]}
    counted = {"num_users": funnels[0].num_users, "num_relevant": funnels[0].num_relevant}
    seconds = round(statistics.fmean(fit_s), 1)
    report(f"funnel-{case}", **found, **counted, **more, seeds=SEEDS[case], fit_s=seconds, peak_mb=peak_mb())


def _drawn(funnels: Sequence[Funnel], systems: Sequence[str], metric: str) -> Bootstrap:
    """Each user's mean over the seeds, drawn by user."""
    users = funnels[0].users.columns[0]
    frames = [funnel.users.sort(users) for funnel in funnels]
    assert all(frame[users].equals(frames[0][users]) for frame in frames)
    names = {system: value_column(system, metric) for system in systems}
    return Bootstrap({one: np.mean([frame[name] for frame in frames], axis=0) for one, name in names.items()})


def _rounded(found: Estimate) -> list[float]:
    return [round(number, 4) for number in (found.value, found.low, found.high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", default=["ml-100k", "ml-1m", "planted"])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000], help="of planted worlds")
    parser.add_argument("--validation", action="store_true", help="on the part that settings are chosen on")
    given = parser.parse_args()
    splits: dict[str, tuple[Callable[..., Parts], Settings]] = {"ml-100k": (ml_100k, ML_100K), "ml-1m": (ml_1m, ML_1M)}
    for case, (split, settings) in splits.items():
        if case in given.case:
            movielens(case, split(validation=given.validation), settings, validation=given.validation)
    for num_rows in given.rows if "planted" in given.case else ():
        planted_world(num_rows)


if __name__ == "__main__":
    main()
