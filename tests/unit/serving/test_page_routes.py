"""The page's files, and what the page asks the server for."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serving_world import AppClient, app, bundle, light_bundle
from tamis.serving.conditions_to_try import conditions_to_try
from tamis.serving.page_files import page_files
from tamis.serving.published import PublishedPlace
from two_stage_world import impressions

LOADED = re.compile(r"""(?:src|href)="(page/[^"]+)"|from "\./([^"]+)\"""")


@pytest.fixture(scope="module")
def plain() -> Any:
    with app() as client:
        yield client


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two versions, of which no user gets the second unless it is asked for by name."""
    place = PublishedPlace(tmp_path_factory.mktemp("place"))
    place.publish(bundle())
    place.publish(light_bundle(), shadow=True)
    with app(path=place.folder, shadow_share=1.0) as client:
        yield client


def test_the_page_loads_all_it_needs_from_the_server_itself(plain: AppClient) -> None:
    page = plain("GET", "/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    files, wanted = page_files(), {"index.html"}
    for file in files.values():
        for linked, imported in LOADED.findall(file.content.decode()):
            wanted.add(linked.removeprefix("page/") or imported)
    assert wanted == set(files)
    for name in files:
        found = plain("GET", f"/page/{name}")
        assert found.status == 200 and found.body == files[name].content
    types = {name.rpartition(".")[2]: files[name].headers["Content-Type"] for name in files}
    assert types["js"] == "text/javascript; charset=utf-8" and types["svg"] == "image/svg+xml"


def test_the_page_is_small() -> None:
    assert sum(len(file.content) for file in page_files().values()) < 60_000


def test_a_browser_may_run_and_load_nothing_else(plain: AppClient) -> None:
    for path in ("/", "/page/page.js"):
        headers = plain("GET", path).headers
        rules = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
        assert rules["default-src"] == "'none'" and rules["script-src"] == rules["connect-src"] == "'self'"
        assert rules["require-trusted-types-for"] == "'script'" and rules["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"


def test_nothing_in_the_files_needs_the_policy_to_give_way() -> None:
    for name, file in page_files().items():
        text = file.content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text), name
        assert not re.search(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|javascript:", text), name


def test_what_a_browser_has_is_not_sent_again(plain: AppClient) -> None:
    tag = plain("GET", "/page/page.css").headers["etag"]
    again = plain("GET", "/page/page.css", if_none_match=tag)
    assert again.status == 304 and again.body == b"" and again.headers["etag"] == tag
    assert plain("GET", "/page/page.css", if_none_match='"other"').status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpage_files.py", "%2Fetc%2Fpasswd"])
def test_there_are_no_other_files(plain: AppClient, name: str) -> None:
    assert plain("GET", f"/page/{name}").status == 404


def test_the_page_needs_no_key_but_what_it_shows_does() -> None:
    with app(path=light_bundle(), api_key="a key of ours") as client:
        assert client("GET", "/").status == client("GET", "/page/page.js").status == 200
        for path in ("/v1/versions", "/v1/history?user=u1", "/metrics", "/pages"):
            assert client("GET", path).status == 401
        assert client("GET", "/v1/versions", authorization="Bearer a key of ours").status == 200


def test_a_server_can_do_without_the_page() -> None:
    with app(path=light_bundle(), page=False) as client:
        for path in ("/", "/page/page.js", "/v1/versions", "/v1/history?user=u1"):
            assert client("GET", path).status == 404
        assert client("GET", "/healthz").status == 200


def test_versions_say_what_they_are_made_of_and_what_to_try(plain: AppClient) -> None:
    told = plain("GET", "/v1/versions").json
    (version,) = told["versions"]
    assert told["current"] == version["name"] and told["previous"] == [] and told["failed"] == {}
    assert version["role"] == "current" and version["share"] == 1
    assert (version["num_items"], version["num_users"]) == (40, 60)
    assert (version["user_id"], version["item_id"], version["targets"]) == ("user", "item", ["click"])
    assert version["sources"] == {"retrieval": 20}
    assert version["item_columns"] == {"title": "text", "category": "text", "price": "number", "in_stock": "boolean"}
    assert version["context"] == {"hour": 12}
    assert len(version["users_to_try"]) == 20 and set(version["users_to_try"]) <= {f"u{n}" for n in range(60)}
    assert version["filters_to_try"] == ['category == "books"', "price < 20", "in_stock"]
    for condition in version["filters_to_try"]:
        assert plain("POST", "/v1/recommend", {"users": ["u1"], "filters": [condition]}).status == 200


def test_conditions_to_try_take_out_some_rows_and_leave_some() -> None:
    columns = pl.DataFrame(
        {
            "all the same": ["a", "a", "a", "a"],
            "all different": ["a", "b", "c", "d"],
            "a kind": ['"x" \\', '"x" \\', "y", "y"],
            "shop": [7, 7, 7, 9],
            "weight": [1.0, 2.0, 3.0, None],
            "tags": [["new", "red"], ["new"], [], None],
            "vector": pl.Series([[1.0, 2.0]] * 4, dtype=pl.Array(pl.Float32, 2)),
            "nothing": pl.Series([None] * 4, dtype=pl.String),
            "year": [1990, 1991, 1992, 1993],
        }
    )
    assert conditions_to_try(columns) == [
        '`a kind` == "\\"x\\" \\\\"',
        "shop == 7",
        "weight < 2",
        'tags contains "new"',
        "year < 1992",
    ]
    assert conditions_to_try(columns.select("nothing", "vector")) == conditions_to_try(pl.DataFrame()) == []


def test_a_history_is_what_the_bundle_knows_and_the_events_since_latest_first(tmp_path: Path) -> None:
    clicked = impressions().filter((pl.col("user") == "u1") & (pl.col("click") == 1))["item"].unique().to_list()
    fresh = [item for item in range(40) if item not in clicked][:2]
    with app(tmp_path) as client:
        before = client("GET", "/v1/history?user=u1").json
        assert before["known"] and before["num_items"] == len(clicked)
        assert {item["id"] for item in before["items"]} == set(clicked)
        client("POST", "/v1/events", {"events": [{"user": "u1", "item": item} for item in fresh]})
        after = client("GET", "/v1/history?user=u1&k=3&show=title&show=price").json
        assert after["num_items"] == len(clicked) + 2 and len(after["items"]) == 3
        assert [item["id"] for item in after["items"]] == [*reversed(fresh), before["items"][0]["id"]]
        assert after["items"][0]["columns"].keys() == {"title", "price"}
        somebody = client("GET", "/v1/history?user=nobody").json
        assert (somebody["known"], somebody["num_items"], somebody["items"]) == (False, 0, [])


@pytest.mark.parametrize(
    ("query", "where", "words"),
    [
        ("", "query.user", "Field required"),
        ("user=u1&k=0", "query.k", "greater than or equal to 1"),
        ("user=u1&show=titel", "show", "Did you mean 'title'?"),
        ("user=u1&version=none", "version", "there is no loaded version 'none'"),
        (f"user={'x' * 501}", "query.user", "at most 500"),
    ],
)
def test_a_bad_question_for_a_history_is_told(plain: AppClient, query: str, where: str, words: str) -> None:
    found = plain("GET", f"/v1/history?{query}")
    assert found.status == 422 and found.error["where"] == where and words in found.error["message"]


def test_a_loaded_version_can_be_asked_by_its_name(two: AppClient) -> None:
    told = two("GET", "/v1/versions").json
    first, second = told["versions"]
    assert (first["role"], second["role"]) == ("current", "shadow") and second["share"] is None
    asked = {"users": ["u1", "nobody"], "k": 3}
    for version, source in ((first["name"], "retrieval"), (second["name"], "popular")):
        found = two("POST", "/v1/recommend", {**asked, "version": version}).json["results"]
        assert {one["version"] for one in found} == {version}
        assert found[0]["items"][0]["sources"] == [source]
        assert two("GET", f"/v1/history?user=u1&version={version}").json["version"] == version
    assert {one["version"] for one in two("POST", "/v1/recommend", asked).json["results"]} == {first["name"]}


def test_a_question_to_a_named_version_is_not_compared_with_the_shadow(
    two: AppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Any] = []
    monkeypatch.setattr(two.service.shadow, "compare", lambda *asked: compared.append(asked))
    name = two.service.live.served.state.current
    assert two("POST", "/v1/recommend", {"users": ["u1"], "version": name}).status == 200
    assert not compared
    assert two("POST", "/v1/recommend", {"users": ["u1"]}).status == 200
    assert len(compared) == 1


def test_a_version_that_is_not_loaded_is_refused(two: AppClient) -> None:
    for version, words in (("nothing of ours", "There are '"), ("", "at least 1"), ("x" * 201, "at most 200")):
        found = two("POST", "/v1/recommend", {"users": ["u1"], "version": version})
        assert found.status == 422 and found.error["where"] in ("version", "body.version")
        assert words in found.error["message"]
