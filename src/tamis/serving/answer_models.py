"""What answers hold, for the documentation of the interface; the answers themselves are plain dicts."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class RecommendedItem(BaseModel):
    """One item of a list."""

    id: int | str
    rank: int
    score: float | None
    retrieval_score: float | None
    sources: list[str]
    ranking: dict[str, float | None] = {}
    columns: dict[str, Any] = {}
    features: dict[str, Any] = {}


class RecommendedList(BaseModel):
    """One user's list."""

    user: int | str | None
    known: bool
    version: str
    items: list[RecommendedItem]
    reason: str | None = None
    explanation: dict[str, Any] | None = None


class RecommendAnswer(BaseModel):
    """Lists, best items first."""

    results: list[RecommendedList]
    degraded: str | None
    stage_ms: dict[str, float]
    request_id: str


class SimilarList(BaseModel):
    """Items that resemble one."""

    item: int | str
    known: bool
    items: list[RecommendedItem]


class SimilarItemsAnswer(BaseModel):
    """Lists, most similar items first."""

    results: list[SimilarList]
    source: str
    version: str
    stage_ms: dict[str, float]
    request_id: str


class RankAnswer(BaseModel):
    """The candidates in order, and those that the catalogue does not have."""

    user: int | str | None
    known: bool
    version: str
    items: list[RecommendedItem]
    unknown_items: list[int | str]
    explanation: dict[str, Any] | None = None
    stage_ms: dict[str, float]
    request_id: str


class UpdateAnswer(BaseModel):
    """An update that is on the disk."""

    accepted: int
    request_id: str


class ErrorDetail(BaseModel):
    """What is wrong, and where."""

    code: str
    where: str
    message: str
    details: list[dict[str, Any]] = []


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: ErrorDetail
    request_id: str
