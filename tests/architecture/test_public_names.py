"""The public surface: a name more or less is a decision, and shows here."""

import pytest

import tamis

PUBLIC = {
    "AUC", "Adagrad", "Adam", "AutoIntModel", "AvgPrecisionAt", "Brier", "Callback", "Checkpoint", "ColumnSchema",
    "ConstantSchedule", "CosineSchedule", "DCNModel", "DINModel", "DLRMModel", "Dataset", "DeepFMModel", "ECE",
    "ESMM", "EarlyStopping", "EmbeddingOptions", "Encoder", "ExactIndex", "ExponentialSchedule", "FMModel", "FTRL",
    "FaissIndex", "FinalMLPModel", "GAUC", "History", "HitRateAt", "InBatchSampler", "ItemCoverageAt", "ItemItem",
    "LightGBMModel", "LinearSchedule", "Loader", "LogLoss", "LogisticRegressionModel", "MLPBlock", "MLPModel", "MMoE",
    "MRRAt", "MatrixFactorizationModel", "NDCGAt", "NDCGByGroup", "NormalizedEntropy", "NoveltyAt", "PLE", "PRAUC",
    "Popular", "PopularityBasedSampler", "PopularityBiasAt", "PrecisionAt", "RMSE", "RandomNegatives", "RecallAt",
    "Recent", "Recommender", "Retrieval", "SGD", "Schema", "SharedBottom", "SimilarItems", "Subgraph", "Tags",
    "TamisError", "TopKEncoder", "TwoTowerModel", "UniformSampler", "WeightAverage", "WideAndDeepModel", "Workflow",
    "XGBoostModel", "__version__", "build_index", "check_no_leakage", "choose_mix", "datasets", "errors", "filters",
    "inspect",
    "leave_last_out", "load_index", "load_model", "ops", "ordering", "ranking_rows", "split_by_time", "split_by_user",
    "split_random", "unique_rows_by_features", "write_report",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert set(tamis.__all__) == PUBLIC
    assert len(tamis.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_loads_and_is_listed(name: str) -> None:
    assert getattr(tamis, name) is getattr(tamis, name)
    assert name in dir(tamis)


def test_every_public_thing_says_what_it_is() -> None:
    for name in PUBLIC - {"__version__"}:
        assert (getattr(tamis, name).__doc__ or "").strip(), name


def test_type_checkers_see_the_same_names() -> None:
    """The lazy table and the block for type checkers are written twice."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(tamis.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    home = {name: module if name in tamis._MODULES else f"{module}.{name}" for name, module in tamis._HOME.items()}
    assert seen == home


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"tamis: there is no name 'TwoTowerMode'\. Did you mean 'TwoTowerModel'"):
        tamis.TwoTowerMode  # noqa: B018
    assert not hasattr(tamis, "__wrapped__")
