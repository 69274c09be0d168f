"""How well do ranking models rank, beside the models of the same name in torch-rechub and deepctr-torch, on Frappe?

    bench_frappe.py                                                    all rows of the table, three seeds each
    bench_frappe.py --library tamis --model DeepFM --seed 1            one row, one seed
    bench_frappe.py --library tamis --model DeepFM --search            choose its settings, by the held-out rows

All sides have the same files, the same tenth of `train` held out, early stopping on its AUC with the same patience, and
the same number of settings tried (`frappe/space.toml`, `frappe_search.py`); `frappe/tried.jsonl` has each try and
`frappe/<library>.json` what was chosen. The test rows are judged with the chosen settings only, once per seed. The
other libraries run where `RECHUB_PYTHON` and `DEEPCTR_PYTHON` name the Pythons of their environments
(`frappe-requirements-*.txt`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import frappe_search
from measure import report

Settings = dict[str, Any]
Trial = Callable[..., dict[str, Any]]

SEEDS = (1, 2, 3)
MODELS = {
    "tamis": ("LR", "FM", "DeepFM", "DCN-v2", "AutoInt", "FinalMLP"),
    "torch-rechub": ("LR", "FM", "DeepFM", "DCN-v2", "AutoInt"),
    "deepctr-torch": ("LR", "FM", "DeepFM", "DCN-v2", "AutoInt"),
}
PYTHONS = {"torch-rechub": "RECHUB_PYTHON", "deepctr-torch": "DEEPCTR_PYTHON"}


@contextmanager
def side(library: str) -> Iterator[Trial]:
    """A function that trains one of the library's models and tells its AUC: here, or in the library's own Python."""
    if library == "tamis":
        from frappe_tamis import trial

        yield trial
        return
    command = [os.environ[PYTHONS[library]], str(Path(__file__).parent / "frappe_others.py"), library]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield lambda model, settings, seed, *, test: _asked(
            process, {"model": model, "settings": settings, "seed": seed, "test": test}
        )
        assert process.stdin is not None
        process.stdin.close()


def _asked(process: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    line = next((line for line in process.stdout if line.startswith("{")), None)
    if line is None:
        sys.exit(f"{process.args!r}: it ended without an answer; what it says is above.")
    found: dict[str, Any] = json.loads(line)
    return found


def search(library: str, models: list[str]) -> None:
    """Try settings until each model has had its number, and write what was chosen.

    A search that was stopped goes on; to search anew, take the model's lines out of `frappe/tried.jsonl`.
    """
    spaces = frappe_search.spaces(library)
    with side(library) as trial:
        for model in models:

            def judged(settings: Settings, model: str = model) -> dict[str, Any]:
                found = trial(model, settings, SEEDS[0], test=False)
                frappe_search.write_tried({"library": library, "model": model, "settings": settings, **found})
                print(library, model, settings, found, file=sys.stderr, flush=True)
                return found

            carried = [frappe_search.chosen(library, other) for other in frappe_search.CARRIED.get(model, ())]
            frappe_search.search(spaces[model], judged, frappe_search.read_tried(library, model), model, carried)
    frappe_search.choose(library, list(MODELS[library]))


def judge(library: str, models: list[str], seeds: list[int]) -> None:
    """Test AUC with the chosen settings, one line of JSON per model."""
    with side(library) as trial:
        for model in models:
            settings = frappe_search.chosen(library, model)
            runs = [trial(model, settings, seed, test=True) for seed in seeds]
            report(
                "frappe",
                library=library,
                model=model,
                seeds=seeds,
                test_auc=round(statistics.fmean(run["test_auc"] for run in runs), 5),
                test_auc_each=[run["test_auc"] for run in runs],
                valid_auc=round(statistics.fmean(run["valid_auc"] for run in runs), 5),
                tries=len(frappe_search.read_tried(library, model)),
                settings=settings,
                fit_s=round(statistics.fmean(run["fit_s"] for run in runs), 1),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--model", nargs="*", choices=MODELS["tamis"], default=list(MODELS["tamis"]))
    parser.add_argument("--seed", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--search", action="store_true", help="choose settings")
    given = parser.parse_args()
    for library in given.library:
        models = [model for model in given.model if model in MODELS[library]]
        if library in PYTHONS and PYTHONS[library] not in os.environ:
            print(f"{library} is left out: {PYTHONS[library]} names no Python that has it.", file=sys.stderr)
        elif given.search:
            search(library, models)
        else:
            judge(library, models, given.seed)


if __name__ == "__main__":
    main()
