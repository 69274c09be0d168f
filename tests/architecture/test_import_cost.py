"""`import tamis` is quick, since nothing heavy loads before it is used."""

import json
import subprocess
import sys

HEAVY = {"torch", "polars", "numpy", "faiss", "pyarrow", "pandas", "safetensors", "typer", "rich", "ray", "onnxruntime"}


def in_a_fresh_process(code: str) -> str:
    command = f"import json, sys, time\n{code}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def loaded_by(code: str) -> set[str]:
    names = json.loads(in_a_fresh_process(f"{code}\nprint(json.dumps(sorted(sys.modules)))"))
    return {name.split(".")[0] for name in names}


def test_importing_takes_less_than_three_tenths_of_a_second() -> None:
    """The best of three: another process may stand in the way of one."""
    code = "start = time.perf_counter(); import tamis; print(time.perf_counter() - start)"
    assert min(float(in_a_fresh_process(code)) for _ in range(3)) < 0.3


def test_importing_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_by("import tamis, tamis.errors, tamis.schema")


def test_features_need_no_torch() -> None:
    assert not {"torch", "faiss", "ray"} & loaded_by("from tamis import Dataset, Workflow, ops; ops.Categorify()")


def test_searching_an_index_needs_no_torch() -> None:
    assert not {"torch", "ray"} & loaded_by("from tamis import build_index; build_index([[1.0]], [1], kind='flat')")


def test_models_load_no_faiss_before_an_index_is_built() -> None:
    assert not {"faiss", "ray", "onnx", "pandas"} & loaded_by(
        "from tamis import TwoTowerModel, MatrixFactorizationModel"
    )


def test_the_command_line_shows_its_help_without_torch() -> None:
    assert not {"torch", "faiss"} & loaded_by("import tamis.cli")
