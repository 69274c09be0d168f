"""Who may import whom: the table of STYLE.md as data."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tamis"

OPEN_TO_ALL = {"disk_full", "errors", "schema", "folders", "progress"}
# "data.batch" opens one module, "data" a whole folder
LAYERS: dict[str, set[str]] = {
    "disk_full": set(),
    "errors": set(),
    "folders": set(),
    "progress": set(),
    "schema": set(),
    "data": set(),
    "features": {"data"},
    "ops": {"features"},
    "nn": {"data.batch"},
    "training": {"data", "nn"},
    "evaluation": {"data"},
    "index": set(),
    "models": {"data", "nn", "training", "evaluation", "index"},
    "store": {"data"},
    "recommender": {"data", "features", "models", "index", "evaluation", "store"},
    "serving": {"recommender", "store", "index"},
    "datasets": {"data"},
}
EVERYTHING = {"cli", "journey", "scale"}  # inside each command, where they run; and what wraps all the rest
# one file that reaches further, only inside its functions, and why
LAZILY = {("datasets/aliccp.py", "features.workflow")}  # it fits the workflow that a user hands over or leaves out

LIBRARIES: dict[str, set[str]] = {  # the heavy ones, and the folders or files that may hold them
    # judging is the evaluating half of a recommender; the loading half, which a server imports, goes without
    "torch": {
        "data",
        "nn",
        "training",
        "evaluation",
        "models",
        "recommender/judging.py",
        "recommender/stage_mix.py",
        "journey",
    },
    "faiss": {"index/faiss.py", "index/faiss_structure.py"},
    "onnx": {"models/onnx_export.py"},
    "onnxscript": {"models/onnx_export.py"},
    "onnxruntime": {"serving", "models/onnx_export.py", "recommender/onnx_session.py"},
    "xgboost": {"models/xgboost_model.py", "recommender/tree_runtime.py"},
    "lightgbm": {"models/lightgbm_model.py", "recommender/tree_runtime.py"},
    "optuna": {"journey/trials.py"},
    "ray": {"scale"},
    "redis": {"store/redis_store.py"},
    "feast": {"store/feast_store.py"},
    "qdrant_client": {"index/qdrant.py"},
    "starlette": {"serving"},
    "fastapi": {"serving"},
    "uvicorn": {"serving"},
    "prometheus_client": {"serving"},
    "orjson": {"serving"},
    "typer": {"cli"},
    "rich": {"journey", "progress"},
    "pickle": set(),
    "pandas": set(),
}

FILES = sorted(PACKAGE.rglob("*.py"))


def folder_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Each imported module, and whether it is imported inside a function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    within = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in within
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides its layer"
            module = node.module or ""
            # `from tamis.data import batch` is `tamis.data.batch`
            for alias in node.names:
                inner = ROOT / "src" / Path(*f"{module}.{alias.name}".split("."))
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{module}.{alias.name}" if is_module else module, id(node) in within


def is_allowed(file: Path, module: str, *, is_lazy: bool) -> bool:
    here = folder_of(file)
    there = module.removeprefix("tamis").removeprefix(".")
    if here in EVERYTHING or there.split(".")[0] in {here, *OPEN_TO_ALL}:
        return True
    if is_lazy and (file.relative_to(PACKAGE).as_posix(), there) in LAZILY:
        return True
    return any(there == allowed or there.startswith(allowed + ".") for allowed in LAYERS[here])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_go_down_the_table_only(file: Path) -> None:
    if file == PACKAGE / "__init__.py":
        pytest.skip("the front door holds names of all layers; test_import_cost shows that it loads none")
    for module, is_lazy in imports(file):
        if module.split(".")[0] == "tamis":
            assert is_allowed(file, module, is_lazy=is_lazy), f"{file.name} must not import {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_stay_in_their_place(file: Path) -> None:
    name = file.relative_to(PACKAGE).as_posix()
    for module, _ in imports(file):
        places = LIBRARIES.get(module.split(".")[0])
        if places is not None:
            assert {name, folder_of(file)} & places, f"{name} must not import {module}"


def test_every_folder_has_its_row_in_the_table() -> None:
    present = {folder_of(file) for file in FILES} - {"__init__"}
    assert present <= {*LAYERS, *EVERYTHING}


def test_no_layer_imports_one_that_imports_it() -> None:
    """The table itself goes down: following it never comes back."""

    def reaches(folder: str) -> set[str]:
        below = {allowed.split(".")[0] for allowed in LAYERS[folder]}
        return below.union(*(reaches(one) for one in below))

    assert all(folder not in reaches(folder) for folder in LAYERS)


def test_file_names_are_unique_in_the_tree() -> None:
    names = Counter(file.name for file in FILES if file.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1] == []
    tests = Counter(file.name for file in (ROOT / "tests").rglob("*.py"))
    assert [name for name, times in tests.items() if times > 1] == []


def test_nothing_is_pickled() -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "torch.save(" not in text and "torch.load(" not in text and "allow_pickle=True" not in text, file
