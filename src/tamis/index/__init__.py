"""Candidate vectors -> nearest k: exact, or FAISS tuned to a measured recall. Never imports torch."""

from tamis.index.build import build_index, load_index
from tamis.index.exact import ExactIndex
from tamis.index.protocol import Index, SearchResult

__all__ = ["ExactIndex", "FaissIndex", "Index", "SearchResult", "build_index", "load_index"]


def __getattr__(name: str) -> object:
    if name == "FaissIndex":  # FAISS loads where it is first used
        from tamis.index.faiss import FaissIndex

        return FaissIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
