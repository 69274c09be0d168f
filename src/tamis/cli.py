"""The commands. Thin: they translate, the library works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis import __version__
from tamis.errors import MissingExtraError, TamisError

cli = typer.Typer(
    name="tamis",
    help="A two-stage recommender system: from interaction logs to recommended items.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
export = typer.Typer(help="Write a bundle's models in the formats of other servers.", no_args_is_help=True)
cli.add_typer(export, name="export")
_debug = False


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tamis {__version__}")
        raise typer.Exit


@cli.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the whole traceback of an error.")] = False,
) -> None:
    """A two-stage recommender system: from interaction logs to recommended items."""
    global _debug  # one switch for the whole process, as typer gives no context to the error handler
    _debug = debug


def say(line: str) -> None:
    """Words for people go to stderr, so that stdout holds results only."""
    typer.echo(line, err=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """An error of ours or of the disk is one line and exit code 1, unless `--debug` asks for its traceback."""
    try:
        yield
    except (TamisError, OSError) as error:
        if _debug:
            raise
        say(f"Error: {error}")
        raise typer.Exit(1) from error


@cli.command()
def demo(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of synthetic Ali-CCP to generate.")] = 300_000,
    data: Annotated[Path | None, typer.Option(help="A MovieLens-1M folder to use instead.")] = None,
    output: Annotated[Path, typer.Option(help="Folder to write; replaced when it is there.")] = Path("tamis-demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training rows.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 42,
) -> None:
    """The whole journey on synthetic data, or on MovieLens-1M: both stages, their funnel, ten items per user."""
    with plain_errors():
        if data is None:
            from tamis.journey.demo import synthetic_demo

            synthetic_demo(rows, output, epochs=epochs, seed=seed, say=say)
        else:
            from tamis.journey.movielens_demo import movielens_demo

            movielens_demo(data, output, epochs=epochs, seed=seed, say=say)


@cli.command()
def train(
    config: Annotated[Path, typer.Argument(help="TOML file; see examples/movielens.toml.")],
) -> None:
    """Train a recommender from a TOML file and print its test metrics as JSON.

    The file has a table `data` with at least interactions, user_id and item_id, and may have `model`, `training`,
    `index`, `sources`, `ranking` and the folder `output`.
    """
    with plain_errors():
        from tamis.journey.config import TrainConfig
        from tamis.journey.pipeline import train as run

        trained = run(TrainConfig.read(config), say=say)
        say(f"Wrote {trained.folder}. Next: tamis recommend {trained.folder} --user ID, or open its report.html.")
        typer.echo(json.dumps(trained.metrics, indent=2))


@cli.command()
def tune(
    config: Annotated[Path, typer.Argument(help="TOML file of `tamis train`; its table `tune` says what to search.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, those of before included.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no trial begins.")] = None,
    study: Annotated[Path | None, typer.Option(help="Folder of the search; by default OUTPUT-tune.")] = None,
) -> None:
    """Search for better settings and print the best as JSON; what was interrupted goes on where it was.

    The same command again continues the study in its folder. `best.toml` in it is what `tamis train` takes, and
    `trials.csv` the table of trials. Needs the extra `tune`.
    """
    with plain_errors():
        from tamis.journey.config import TrainConfig
        from tamis.journey.settings_search import tune as run
        from tamis.journey.trial_tables import print_best

        tuned = run(TrainConfig.read(config), study=study, trials=trials, timeout_s=timeout, say=say)
        print_best(tuned.outcomes, tuned.metric, is_more_better=tuned.is_more_better)
        if tuned.best is not None:
            say(f"Next: tamis train {tuned.folder / 'best.toml'}")
        typer.echo(json.dumps(tuned.to_dict(), indent=2))
        if tuned.is_interrupted:
            say("Interrupted. The same command goes on from here.")
            raise typer.Exit(130)


@cli.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `tamis demo` wrote.")],
    held_out: Annotated[str, typer.Argument(help="Parquet of later interactions: a path, glob or folder.")],
    k: Annotated[int, typer.Option(min=1, help="Length of the lists to judge.")] = 10,
    include_seen: Annotated[bool, typer.Option(help="Let lists hold what a user has seen.")] = False,
) -> None:
    """Print a recommender's metrics on held-out interactions as JSON, the popularity list's beside them."""
    with plain_errors():
        from tamis.data.dataset import Dataset
        from tamis.evaluation.metrics import HitRateAt, MRRAt, NDCGAt, RecallAt

        metrics = [RecallAt(k), NDCGAt(k), MRRAt(k), HitRateAt(k)]
        found = _load(folder).evaluate(Dataset(held_out), metrics=metrics, exclude_seen=not include_seen)
        typer.echo(json.dumps(found, indent=2))


@cli.command()
def funnel(
    folder: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `tamis demo` wrote.")],
    held_out: Annotated[str, typer.Argument(help="Parquet of later interactions: a path, glob or folder.")],
    k: Annotated[int, typer.Option(min=1, help="Length of the lists to judge.")] = 10,
    by: Annotated[list[str] | None, typer.Option(help="A column to slice by; may be given several times.")] = None,
    include_seen: Annotated[bool, typer.Option(help="Let lists hold what a user has seen.")] = False,
    html: Annotated[Path | None, typer.Option(help="A page to write, with a picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print what each stage of a recommender keeps and loses of held-out interactions, with intervals."""
    with plain_errors():
        from tamis.data.dataset import Dataset

        found = _load(folder).funnel(Dataset(held_out), k, slices=by or (), exclude_seen=not include_seen)
        if html is not None:
            say(f"Wrote {found.to_html(html)}.")
        typer.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else repr(found))


@cli.command()
def recommend(
    folder: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `tamis demo` wrote.")],
    user: Annotated[list[str] | None, typer.Option(help="A raw user id; may be given several times.")] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="All known users, into --output.")] = False,
    output: Annotated[Path | None, typer.Option(help="A .parquet file, or a folder of them, to write.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Items per user.")] = 10,
    where: Annotated[list[str] | None, typer.Option(help="A condition on item columns: 'price < 20'.")] = None,
    context: Annotated[list[str] | None, typer.Option(help="What holds at the time: hour=20.")] = None,
    include_seen: Annotated[bool, typer.Option(help="Let lists hold what the user has seen.")] = False,
    show: Annotated[list[str] | None, typer.Option(help="An item column to show; may be given several times.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    restart: Annotated[bool, typer.Option(help="Drop what an earlier run wrote into --output.")] = False,
) -> None:
    """Print the best items of some users, or write those of all users; a run that was killed goes on where it stood."""
    with plain_errors():
        from tamis.journey.request_arguments import check_users, counted, read_context

        check_users(user, output, all_users=all_users)
        recommender = _load(folder)
        asked = {
            "context": read_context(context or (), recommender.workflow.input_schema),
            "filters": where or (),
            "exclude_seen": not include_seen,
            "show": show or (),
        }
        if output is not None:
            written = recommender.recommend_all(output, user, k, resume=not restart, **asked)
            say(f"Wrote {written}: {counted(written, recommender.user_id)}.")
            return
        found = recommender.recommend(user, k, **asked)
        unknown = recommender.unknown_users(user)
        if unknown:
            say(f"Not known, so answered with the most popular items: {', '.join(map(str, unknown))}")
        if as_json:
            rows = found.fill_nan(None).to_dicts()  # JSON has no NaN
            typer.echo(json.dumps(rows, indent=2, default=str))
        else:
            from tamis.journey.console import print_recommended

            print_recommended(found, "Recommended items")


@cli.command()
def inspect(
    data: Annotated[
        str, typer.Argument(help="File, glob, folder or URL of parquet, csv, arrow, jsonl, delta, iceberg.")
    ],
    write_schema: Annotated[bool, typer.Option(help="Write schema.json beside the data, to be corrected.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a schema.json that is there; its tags stay.")] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Look at the first rows only.")] = None,
    format: Annotated[str | None, typer.Option(help="What the files hold, where their names do not tell.")] = None,
    split: Annotated[str | None, typer.Option(help="The part of a folder to read, such as train.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Look through a table: what its columns hold, which tags fit, and what looks wrong."""
    with plain_errors():
        from tamis.data.dataset import Dataset
        from tamis.data.inspection import inspect as look
        from tamis.data.schema_file import write_schema_beside

        dataset = Dataset(data, format=format, split=split)
        found = look(dataset, num_rows=rows)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        else:
            from tamis.journey.inspection_view import print_inspection

            print_inspection(found)
        if write_schema:
            file = write_schema_beside(dataset, found.schema, overwrite=overwrite)
            say(f"Wrote {file}. Next: correct the tags in it; every Dataset of this data reads it from there.")
        else:
            say("Next: tamis inspect --write-schema writes these tags to schema.json beside the data, to be corrected.")


@cli.command()
def serve(
    path: Annotated[Path, typer.Argument(help="What `tamis train` wrote, or a folder that `tamis publish` filled.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on; by default only for this machine.")] = None,
    port: Annotated[int | None, typer.Option(help="8000 by default; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    threads: Annotated[int | None, typer.Option(help="Requests at work at once in each process.")] = None,
    timeout_ms: Annotated[float | None, typer.Option(help="Time for an answer, where a request says nothing.")] = None,
    state: Annotated[str | None, typer.Option(help="Folder for updates; 'none' takes no updates.")] = None,
    store: Annotated[str | None, typer.Option(help="Users' features: redis://HOST:PORT/0, feast:FOLDER.")] = None,
    index: Annotated[str | None, typer.Option(help="Search items' vectors in qdrant://HOST:PORT.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Any other setting, as name=value.")] = None,
) -> None:
    """Answer requests over HTTP. Settings come from here, from TAMIS_<NAME>, or from a file, in this order."""
    with plain_errors():
        import os

        for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):  # before these load: requests have threads of their own
            os.environ.setdefault(name, "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            from tamis.serving.serving_settings import pairs, read_settings
            from tamis.serving.workers import serve as run
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "uvicorn", "serve", where="tamis serve") from error

        given: dict[str, Any] = {"host": host, "port": port, "workers": workers, "threads": threads}
        given |= {"timeout_ms": timeout_ms, "state": state, "store": store, "index": index}
        settings = read_settings({**pairs(setting or []), **given}, file=config)
        run(_bundle_in(path), settings)


@cli.command()
def loadtest(
    url: Annotated[str, typer.Argument(help="http://HOST:PORT, and a path if it is not /v1/recommend.")],
    rate: Annotated[float, typer.Option(help="Requests a second, up to 20,000.")] = 100.0,
    duration: Annotated[float, typer.Option(help="Seconds, up to 7,200; 5,000,000 requests at most.")] = 10.0,
    bundle: Annotated[Path | None, typer.Option(help="Ask for users that this bundle knows.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="Ask for this user; may be given several times.")] = None,
    bodies: Annotated[Path | None, typer.Option(help="Ask what a file holds: a request as JSON in each line.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Length of the lists.")] = 10,
    fields: Annotated[str | None, typer.Option(help="Further fields of each request, as a JSON object.")] = None,
    arrivals: Annotated[str, typer.Option(help="poisson, as independent users come, or even.")] = "poisson",
    connections: Annotated[int, typer.Option(help="Kept open at most, up to 500.")] = 64,
    timeout: Annotated[float, typer.Option(help="Seconds until a request is given up.")] = 10.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of requests that are not counted.")] = 1.0,
    api_key: Annotated[str | None, typer.Option(envvar="TAMIS_API_KEY", help="Of the server.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the schedule and the order of users.")] = 0,
) -> None:
    """Ask a server at a fixed rate and print how long its answers took, as JSON. Exit code 1 if any was an error.

    When each request is sent is fixed before, and its time counts from then: what a slow server lets wait is measured.
    """
    with plain_errors():
        from tamis.serving.load_questions import questions
        from tamis.serving.load_report import table
        from tamis.serving.load_test import load_test

        asked = questions(bundle=bundle, users=user or [], bodies=bodies, k=k, fields=fields, seed=seed)
        if bundle is None and not user and bodies is None:
            say("All requests are of a user who is not known: give --bundle to ask for those who are.")
        found = load_test(
            url,
            asked,
            rate=rate,
            duration_s=duration,
            arrivals=arrivals,
            connections=connections,
            timeout_s=timeout,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            warm_up_s=warm_up,
            seed=seed,
        )
        say(table(found))
        typer.echo(json.dumps(found, indent=2))
    if found["errors"]:
        raise typer.Exit(1)


@cli.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `Recommender.save` wrote.")],
    to: Annotated[str, typer.Option(help="redis://HOST:PORT/0 or feast:FOLDER: users; qdrant://HOST:PORT: vectors.")],
    keep: Annotated[int, typer.Option(min=1, help="Bundles that stay in Redis or Feast, this one included.")] = 2,
    api_key: Annotated[str | None, typer.Option(envvar="TAMIS_INDEX_API_KEY", help="Of Qdrant.")] = None,
) -> None:
    """Write a bundle's users' features to Redis or Feast, or its items' vectors to Qdrant; print how many, as JSON.

    Servers ask there for the bundle that they serve: `tamis serve --store redis://... --index qdrant://...`.
    """
    with plain_errors():
        from tamis.serving.pushing import push as run

        typer.echo(json.dumps(run(_bundle_in(bundle), to, keep=keep, api_key=api_key), indent=2))


@cli.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `Recommender.save` wrote.")],
    to: Annotated[Path, typer.Option(help="Published place; made where it is missing.")],
    share: Annotated[float | None, typer.Option(help="Of the users, who get it beside the current version.")] = None,
    shadow: Annotated[bool, typer.Option(help="Only compare it with the current version.")] = False,
    keep: Annotated[int, typer.Option(min=0, help="Versions that stay, besides those in use.")] = 5,
) -> None:
    """Check a bundle and hand it to the servers that watch a place; print what is served from now on, as JSON."""
    with plain_errors():
        from tamis.serving.published import PublishedPlace, as_dict

        state = PublishedPlace(to).publish(_bundle_in(bundle), share=share, shadow=shadow, keep=keep)
        typer.echo(json.dumps(as_dict(state), indent=2))


@cli.command()
def rollback(
    place: Annotated[Path, typer.Argument(help="Published place.")],
) -> None:
    """Undo what was published last; print what is served from now on, as JSON."""
    with plain_errors():
        from tamis.serving.published import PublishedPlace, as_dict

        typer.echo(json.dumps(as_dict(PublishedPlace(place).rollback()), indent=2))


@export.command("onnx")
def export_onnx(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `Recommender.save` wrote.")],
) -> None:
    """Add towers and ranker as ONNX files to a bundle, so that a server needs no torch."""
    with plain_errors():
        from tamis.recommender.recommender import Recommender

        folder = _bundle_in(bundle)
        Recommender.load(folder, runtime="torch").save(folder, onnx=True)
        Recommender.load(folder, runtime="onnx")  # answers the bundle's own requests
        say(f"Added ONNX files to {folder}; its own requests are answered as before.")


@export.command("triton")
def export_to_triton(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tamis train` or `Recommender.save` wrote.")],
    repository: Annotated[Path, typer.Argument(help="Folder to write; replaced when it holds an older one.")],
) -> None:
    """Write a bundle as a model repository of Triton Inference Server, and print its models as JSON."""
    with plain_errors():
        from tamis.serving.triton_repository import export_triton

        found = export_triton(_bundle_in(bundle), repository)
        for name, why in found.left_out.items():
            say(f"There is no {name}: {why}.")
        say(f"Wrote {repository}. Next: tritonserver --model-repository={repository}")
        typer.echo(json.dumps({"models": found.models, "left_out": found.left_out}, indent=2))


def _bundle_in(folder: Path) -> Path:
    """The bundle itself, where a folder of `tamis train` is given."""
    inner = folder / "recommender"
    return inner if inner.is_dir() else folder


def _load(folder: Path) -> Any:
    from tamis.recommender.recommender import Recommender

    inner = folder / "recommender"
    return Recommender.load(inner if inner.is_dir() else folder)
