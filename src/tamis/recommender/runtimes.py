"""What runs a bundle's models: ONNX Runtime without torch, or the torch models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tamis.errors import FormatError, UnknownNameError
from tamis.models.runtime_files import RUNTIME
from tamis.recommender.onnx_session import has_onnxruntime

if TYPE_CHECKING:
    from tamis.models.encoder import Encoder
    from tamis.models.scoring import ScoringModel
    from tamis.recommender.onnx_runtime import ExportedRanker, OnnxEncoder
    from tamis.recommender.recommender import Recommender

AUTO, ONNX, TORCH = "auto", "onnx", "torch"
RUNTIMES = (AUTO, ONNX, TORCH)
_ENCODER = "encoder.json"  # what tells the folder of a tower


def chosen_runtime(asked: str, folder: Path, files: Mapping[str, Any], ranker: str | None) -> str:
    """`"onnx"` or `"torch"`: for `"auto"` the first where all models of the bundle were exported and it is installed.

    Args:
        asked: of `RUNTIMES`.
        folder: the bundle, for messages.
        files: what the manifest lists.
        ranker: the ranker's folder, if there is one.

    Raises:
        UnknownNameError: no such runtime.
        FormatError: `"onnx"`, and a model was not exported.
    """
    if asked not in RUNTIMES:
        raise UnknownNameError(asked, RUNTIMES, where="Recommender.load", what="runtime")
    parts = [PurePosixPath(name).parent for name in files if PurePosixPath(name).name == _ENCODER]
    parts += [] if ranker is None else [PurePosixPath(ranker)]
    missing = [str(part) for part in parts if str(part / RUNTIME) not in files]
    if asked == ONNX and missing:
        raise FormatError(
            f"{folder}: {missing} have no ONNX files, so the bundle needs torch. Run: tamis export onnx {folder}, or "
            "save it with onnx=True."
        )
    return TORCH if asked == TORCH or missing or (asked == AUTO and not has_onnxruntime()) else ONNX


def load_encoder(folder: Path, runtime: str) -> Encoder | OnnxEncoder:
    """A tower, in this runtime."""
    if runtime == ONNX:
        from tamis.recommender.onnx_runtime import OnnxEncoder

        return OnnxEncoder(folder)
    from tamis.models.encoder import Encoder

    return Encoder.load(folder)


def load_ranker(folder: Path, runtime: str) -> ScoringModel | ExportedRanker:
    """A ranking model, in this runtime.

    Raises:
        FormatError: it holds a model that ranks nothing.
    """
    if runtime == ONNX:
        from tamis.recommender.onnx_runtime import ExportedRanker

        return ExportedRanker(folder)
    from tamis.models import load_model
    from tamis.models.scoring import ScoringModel

    model = load_model(folder)
    if not isinstance(model, ScoringModel):
        raise FormatError(f"{folder}: it holds a {type(model).__name__}, which ranks nothing. Restore the folder.")
    return model


def add_onnx(recommender: Recommender, sources: Path, ranker: Path) -> None:
    """Export all models of a recommender into the folders that they were saved in; exported ones are there already.

    Raises:
        MissingExtraError: the packages of `tamis[onnx]` are not installed.
        SchemaError: a ranker of a kind that cannot be exported.
        SettingError: a file that answers otherwise than its model.
    """
    from tamis.models.encoder import Encoder
    from tamis.models.runtime_export import export_encoder_folder, export_ranker_folder
    from tamis.models.scoring import ScoringModel

    for source in recommender.sources:
        for name, encoder in source.encoders.items():
            if isinstance(encoder, Encoder):
                export_encoder_folder(encoder, sources / source.name / name)
    if recommender.ranker is not None and isinstance(recommender.ranker.model, ScoringModel):
        export_ranker_folder(recommender.ranker.model, recommender.ranker.query_columns, ranker)
