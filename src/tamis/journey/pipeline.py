"""From raw interaction logs to a saved recommender: what `tamis train` and `tamis demo` do, stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tamis.data.dataset import Dataset
from tamis.evaluation.report import report_page, write_page
from tamis.features.workflow import Workflow
from tamis.folders import saving, write_json
from tamis.journey.config import TrainConfig
from tamis.journey.console import Say, stage
from tamis.journey.demo_report import FUNNEL_TITLE, funnel_picture
from tamis.journey.stages import build_model, build_sources, fit, graph, train_ranker
from tamis.journey.tables import item_columns, split_rows
from tamis.recommender.funnel import Funnel
from tamis.recommender.ordering import Ordering
from tamis.recommender.recommender import Recommender
from tamis.recommender.stage_mix import Mix, choose_mix
from tamis.training.history import History

KIND, VERSION = "training", 1


@dataclass(frozen=True)
class Trained:
    """What a training left behind: its folder, the recommender in it, metrics on the test rows, the history."""

    folder: Path
    recommender: Recommender
    metrics: dict[str, float]
    history: History


def train(config: TrainConfig, *, say: Say, verbose: bool = True) -> Trained:
    """Run the whole way and write `config.output`: `recommender/`, `model/`, `metrics.json`, `report.html`.

    The folder appears as a whole at the end; when anything fails, an older one stays as it was.

    Args:
        config: what to train on, and how.
        say: called with one line per stage.
        verbose: progress bars on stderr.

    Raises:
        TamisError: whatever is wrong with data or settings, with place, value and way out.
    """
    with saving(config.output, kind=KIND, version=VERSION) as folder, TemporaryDirectory() as work:
        with stage(say, "data") as told:
            shown = item_columns(config.data)
            parts = split_rows(config.data, Path(work) / "raw")
            sizes = {name: part.num_rows for name, part in parts.items()}
            count = sizes["train"] + sizes["valid"] + sizes["test"]
            told(f"{sizes['fit']:,} rows to train, {sizes['valid']:,} to validate, {sizes['test']:,} to test", count)
        with stage(say, "features") as told:
            workflow = Workflow(graph(parts["train"].schema, config.data)).fit(parts["train"])
            coded = {
                name: workflow.transform(part).to_parquet(Path(work) / "coded" / name) for name, part in parts.items()
            }
            told(f"{len(workflow.output_schema)} columns encoded", count)
        ranker = None
        if config.ranking.kind != "none":
            ranker = train_ranker(config, workflow, parts, coded, Path(work), say=say, verbose=verbose)
        with stage(say, "model") as told:
            model = build_model(workflow.output_schema, config.model, seed=config.training.seed)
            history = fit(model, config.training, coded, verbose=verbose)
            rate = history.last()["rows_per_s"]
            told(f"{type(model).__name__}, {history.num_epochs} epochs, {rate:,.0f} rows/s")
        ordering: tuple[Ordering, ...] = ()
        if ranker is not None:
            with stage(say, "mix") as told:
                known = Recommender(build_sources(model, config), ranker=ranker).fit(workflow, coded["train"])
                mix = choose_mix(known, parts["valid"])
                ordering = mix.ordering
                told(mix_in_words(mix))
        with stage(say, "index", unit="items") as told:
            seen = Dataset([*coded["train"].files, *coded["valid"].files], schema=coded["train"].schema)
            sources = build_sources(model, config)
            built = Recommender(sources, ranker=ranker, ordering=ordering).fit(workflow, seen, items=shown)
            index = sources[0].index
            told(f"{built.num_items:,} items in {type(index).__name__}, recall {index.recall:.3f}", built.num_items)
        with stage(say, "evaluate", unit="users") as told:
            metrics = built.evaluate(parts["test"])
            told(f"{metrics['num_users']:,.0f} users x {built.num_items:,} items", metrics["num_users"])
        say(f"  {compared(metrics)}")
        pictures = {}
        if ranker is not None:
            with stage(say, "funnel", unit="users") as told:
                funnel = built.funnel(parts["test"], verbose=verbose)
                told(f"{funnel.num_users:,} users x {built.num_items:,} items", funnel.num_users)
            for line in in_words(funnel):
                say(f"  {line}")
            funnel.to_html(folder / "funnel.html")
            funnel.to_json(folder / "funnel.json")
            ranker.save(folder / "ranker")
            pictures[FUNNEL_TITLE] = funnel_picture(funnel)
        built.save(folder / "recommender", metrics=metrics)
        model.save(folder / "model")
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "config.json", asdict(config))
        facts = [
            ("model", type(model).__name__),
            ("items", f"{built.num_items:,}"),
            ("users", f"{len(built.audience):,}"),
        ]
        page = report_page(
            "Training report", history=curves(history), bars=bars(metrics), facts=facts, pictures=pictures
        )
        write_page(folder / "report.html", page)
    return Trained(Path(config.output), built, metrics, history)


def compared(metrics: dict[str, float]) -> str:
    """The metrics in words, each beside the popularity list's."""
    names = [name for name in metrics if f"popularity_{name}" in metrics]
    told = [f"{name} {metrics[name]:.4f} (popularity {metrics['popularity_' + name]:.4f})" for name in names]
    return ", ".join(told)


def in_words(funnel: Funnel) -> list[str]:
    """What is served with its interval, what stands beside it, and what the second stage adds to the first."""
    metric = funnel.metrics[0]
    found, gain = funnel.value("funnel", metric), funnel.difference("funnel", "retrieval", metric)
    first, popular = (funnel.value(name, metric).value for name in ("retrieval", "popularity"))
    lines = [
        f"{metric} {found.value:.4f} ({found.low:.4f} to {found.high:.4f}); first stage alone {first:.4f}, "
        f"popularity {popular:.4f}",
        f"the second stage adds {gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        + ("" if gain.low > 0 or gain.high < 0 else ", which may be chance"),
    ]
    if "oracle" in funnel.ceilings["ceiling"]:
        best = funnel.value("oracle", metric).value
        lines.append(
            f"{found.value / best:.0%} of the best possible {metric} ({best:.4f}), first stage {first / best:.0%}"
        )
    return lines


def mix_in_words(mix: Mix) -> str:
    """Which order was best on validation rows, beside each stage's own."""
    metric = mix.table.columns[1]
    values = dict(mix.table.rows())
    return (
        f"{mix.name}: {metric} {values[mix.name]:.4f} on validation rows (retrieval {values['retrieval']:.4f}, "
        f"ranker {values['ranker']:.4f})"
    )


def curves(history: History) -> dict[str, list[float]]:
    """What is worth a curve; the popularity list's metrics are the same in every epoch."""
    return {name: values for name, values in history.history.items() if "popularity_" not in name}


def bars(metrics: dict[str, float], oracle: dict[str, float] | None = None) -> dict[str, dict[str, float]]:
    """The metrics as groups of bars: model, popularity and, where known, oracle."""
    groups = {}
    for name in metrics:
        if f"popularity_{name}" in metrics:
            groups[name] = {"model": metrics[name], "popularity": metrics[f"popularity_{name}"]}
            if oracle and name in oracle:
                groups[name]["oracle"] = oracle[name]
    return groups
