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
    degraded: str | None
    stage_ms: dict[str, float]
    request_id: str


class RankAnswer(BaseModel):
    """The candidates in order, and those that the catalogue does not have."""

    user: int | str | None
    known: bool
    version: str
    items: list[RecommendedItem]
    unknown_items: list[int | str]
    degraded: str | None
    explanation: dict[str, Any] | None = None
    stage_ms: dict[str, float]
    request_id: str


class VersionTold(BaseModel):
    """A version that is loaded, and what can be tried with it."""

    name: str
    role: str
    share: float | None
    loaded_at: float
    num_items: int
    num_users: int
    sources: dict[str, int]
    targets: list[str]
    user_id: str
    item_id: str
    item_columns: dict[str, str]
    context: dict[str, Any]
    users_to_try: list[int | str]
    filters_to_try: list[str]


class VersionsAnswer(BaseModel):
    """What is loaded, the current version first."""

    current: str
    versions: list[VersionTold]
    previous: list[str]
    failed: dict[str, str]
    request_id: str


class HistoryItem(BaseModel):
    """An item that a user has met."""

    id: int | str
    columns: dict[str, Any] = {}


class HistoryAnswer(BaseModel):
    """What a user has met, latest first."""

    user: int | str
    known: bool
    version: str
    num_items: int
    items: list[HistoryItem]
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
