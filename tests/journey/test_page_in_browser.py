"""The page as a real browser shows it, over a real server: by mouse, by keyboard, with markup for a title."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import COMMAND, Chromium
from serving_world import NEW_ITEM, ServerProcess, bundle, light_bundle, server
from tamis.serving.published import PublishedPlace

TITLES = "[...document.querySelectorAll('.list tbody .title')].map(one => one.textContent)"
MARKUP = '<img src=x onerror="document.title=1"><script>document.title = 2</script>'
FOCUSED = "document.activeElement.id"

if COMMAND is None and not os.environ.get("TAMIS_CI"):
    pytest.skip("no chromium is installed", allow_module_level=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two versions, of which a third of the users get the second, and an item that tries to break the page."""
    place = PublishedPlace(tmp_path_factory.mktemp("place"))
    place.publish(bundle())
    place.publish(light_bundle(), share=0.3)
    with server(place.folder, "--set", "queue=64") as process:
        item = {**NEW_ITEM, "title": MARKUP}
        assert process.call("PUT", "/v1/items", {"items": [item]}).status == 200
        yield process


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    assert COMMAND is not None, "chromium is missing"
    with Chromium() as found:
        yield found


@pytest.fixture
def page(served: ServerProcess, chromium: Chromium) -> Iterator[Chromium]:
    """The page, opened anew; at the end nothing has gone wrong in it, and it has asked nobody else."""
    opened(chromium, served)
    yield chromium
    # a browser counts an answer of 422 as an error of its own
    assert [one for one in chromium.complaints() if "status of 422" not in one] == []
    own = f"http://127.0.0.1:{served.port}/"
    assert chromium.requested() and all(url.startswith(own) for url in chromium.requested())


def opened(chromium: Chromium, process: ServerProcess, ready: str = f"{TITLES}.length") -> None:
    chromium.go("about:blank")
    chromium.events.clear()
    chromium.go(f"http://127.0.0.1:{process.port}/")
    chromium.wait_for(f"document.readyState == 'complete' && {ready}")


def ask_for(page: Chromium, field: str, text: str) -> None:
    """Type into a field as a person does, over what stands there, and press Enter."""
    page.run(f"document.getElementById({field!r}).select() ?? document.getElementById({field!r}).focus()")
    page.type(text) if text else page.run(f"document.getElementById({field!r}).value = ''")
    page.press("Enter")


def text_of(page: Chromium, name: str) -> str:
    return str(page.run(f"document.getElementById({name!r}).innerText"))


def says(page: Chromium, name: str, words: str) -> None:
    """Wait until an element holds these words."""
    page.wait_for(f"document.getElementById({name!r}).innerText.includes({json.dumps(words)})")


def test_a_user_gets_a_list_with_titles_scores_and_times_beside_a_history(
    page: Chromium, served: ServerProcess
) -> None:
    ask_for(page, "user", "u2")  # whom the split gives the first version, or the second: the server says
    wanted = served.call("POST", "/v1/recommend", {"users": ["u2"], "show": ["title"]}).json["results"][0]
    titles = [item["columns"]["title"] for item in wanted["items"]]
    page.wait_for(f"JSON.stringify({TITLES}) == JSON.stringify({json.dumps(titles)})")
    for words in (wanted["version"], "retrieval", "features", "ordering", " ms", "SeenItems() takes out"):
        says(page, "lists", words)
    met = served.call("GET", "/v1/history?user=u2&show=title").json
    says(page, "history", f"{met['num_items']} items, latest first")
    says(page, "history-items", met["items"][0]["columns"]["title"])
    assert met["items"][0]["columns"]["title"] in text_of(page, "history-items").splitlines()[0]


def test_somebody_unknown_gets_what_is_popular_and_is_told_so(page: Chromium) -> None:
    ask_for(page, "user", "nobody we know")
    page.wait_for("document.getElementById('lists').innerText.includes('The user is not known')")
    says(page, "lists", "found by popular")  # whichever version it is
    says(page, "history-facts", "not known")


def test_a_filter_changes_the_list_and_a_wrong_one_is_told_in_its_place(page: Chromium) -> None:
    ask_for(page, "filter", 'category == "tools"')
    page.wait_for(f"{TITLES}.length && {TITLES}.every(title => title.startsWith('tools '))")
    ask_for(page, "filter", 'categry == "tools"')
    told = page.wait_for("document.getElementById('filter-error').textContent")
    assert "Did you mean 'category'?" in told
    assert page.run("document.getElementById('filter').getAttribute('aria-invalid')") == "true"
    assert text_of(page, "error") == ""
    ask_for(page, "filter", "price <")
    assert "^" in page.wait_for("document.getElementById('filter-error').textContent.includes('^') && '^'")
    ask_for(page, "filter", "price < 0")
    page.wait_for("document.getElementById('lists').innerText.includes('No items: ')")
    page.wait_for("document.getElementById('filter-error').textContent == ''")


def test_a_filter_to_try_is_switched_on_and_off(page: Chromium) -> None:
    chip = "[...document.querySelectorAll('#tries button')].find(one => one.textContent.startsWith('category'))"
    page.run(f"{chip}.click()")
    category = page.run(f"{chip}.textContent").split('"')[1]
    rests = "[...document.querySelectorAll('.list tbody .title + .rest')].map(one => one.textContent)"
    is_its = f"{rests}.every(rest => rest.includes('category {category}'))"
    page.wait_for(f"{rests}.length && {is_its}")
    assert page.run(f"{chip}.getAttribute('aria-pressed')") == "true"
    page.run(f"{chip}.click()")
    page.wait_for(f"!{is_its}")
    assert page.run(f"{chip}.getAttribute('aria-pressed')") == "false"


def test_a_title_that_is_markup_is_shown_as_it_is_written(page: Chromium) -> None:
    ask_for(page, "filter", "item == 1000")
    page.wait_for(f"{TITLES}.length == 1")
    assert page.run(TITLES) == [MARKUP]
    assert page.run("document.querySelectorAll('main img, main script').length") == 0
    assert page.run("document.title") == "Tamis"


def test_two_versions_stand_side_by_side(page: Chromium, served: ServerProcess) -> None:
    names = [one["name"] for one in served.call("GET", "/v1/versions").json["versions"]]
    for field, name in zip(("version", "other"), names, strict=True):
        page.run(
            f"document.getElementById({field!r}).value = {name!r};"
            f"document.getElementById({field!r}).dispatchEvent(new Event('change'))"
        )
    page.wait_for("document.querySelectorAll('.list').length == 2")
    heads = page.run("[...document.querySelectorAll('.list h2')].map(one => one.firstChild.textContent)")
    assert heads == names
    says(page, "overlap", "items are in both lists")


def test_the_keyboard_alone_is_enough(page: Chromium) -> None:
    page.run("document.activeElement.blur()")
    page.press("Tab")
    assert page.run(FOCUSED) == "tab-recommend"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("ArrowRight")
    assert page.run(FOCUSED) == "tab-metrics"
    assert page.run("document.getElementById('recommend').hidden && !document.getElementById('metrics').hidden")
    page.press("ArrowRight")
    assert page.run(FOCUSED) == "tab-recommend" and not page.run("document.getElementById('recommend').hidden")
    reached = []
    for _ in range(5):
        page.press("Tab")
        reached.append(page.run(FOCUSED))
    assert reached == ["user", "another", "filter", "k", ""] or reached[:4] == ["user", "another", "filter", "k"]
    unnamed = page.run(
        "[...document.querySelectorAll('input, select, button')].filter(one => !one.labels?.length &&"
        " !one.textContent.trim()).map(one => one.outerHTML)"
    )
    assert unnamed == []


def test_the_tab_of_metrics_fills_and_goes_on(page: Chromium, served: ServerProcess) -> None:
    page.run("document.getElementById('tab-metrics').click()")
    tables = "document.getElementById('tables').innerText"
    page.wait_for(f"{tables}.includes('/v1/recommend') && {tables}.includes('retrieval')")
    for version in served.call("GET", "/v1/versions").json["versions"]:
        page.wait_for(f"{tables}.includes({version['name']!r})")
    row = "[...document.querySelectorAll('#tables th[scope=row]')].find(one => one.textContent == '/v1/rank')"
    assert served.call("POST", "/v1/rank", {"user": "u1", "items": [1, 2]}).status == 200
    page.wait_for(f"{row} && Number({row}.nextElementSibling.textContent) >= 1")
    assert "ms" in page.run(f"{row}.parentElement.innerText")
    says(page, "metrics-state", "“Now” is the last")


def test_percentiles_are_read_off_the_buckets_by_straight_lines(page: Chromium) -> None:
    buckets = {"1": 2, "2": 6, "4": 10, "+Inf": 12}
    text = "".join(f't_bucket{{le="{bound}",route="a \\"b"}} {count}\n' for bound, count in buckets.items())
    found = page.run(
        "import('/page/prometheus.js').then(({ parse, percentile }) => {"
        f"  const samples = parse({json.dumps(text)});"
        "   return [0.5, 0.25, 0.99].map(share => percentile(samples, null, 't', {route: 'a \"b'}, share)); })"
    )
    assert found == [2, 1.25, 4]  # 6 of 12 lie below 2; 3 of 12: a quarter of the way from 1 to 2; the last has no end


def test_who_prefers_it_dark_gets_it_dark(served: ServerProcess) -> None:
    with Chromium(scheme="dark") as chromium:
        opened(chromium, served)
        colours = chromium.run(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
    assert colours == ["rgb(16, 21, 28)", "rgb(231, 235, 241)"]


def test_a_server_that_wants_a_key_is_given_it_on_the_page(chromium: Chromium, tmp_path: Path) -> None:
    environment = {"TAMIS_API_KEY": "a key of ours"}
    with server(light_bundle(), "--state", str(tmp_path), environment=environment) as process:
        opened(chromium, process, "!document.getElementById('key-form').hidden")
        says(chromium, "serving", "Give the key of this server")
        chromium.type("a key of ours")
        chromium.press("Enter")
        chromium.wait_for(f"{TITLES}.length")
        assert chromium.run("document.getElementById('key-form').hidden")
