"""What README and docs/serving.md tell people to type does what they say."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving_world import ServerProcess, light_bundle, server
from tamis.cli import cli
from tamis.serving.request_models import RecommendRequest
from tamis.serving.routes_answers import router as answers
from tamis.serving.routes_page import router as page
from tamis.serving.routes_state import router as state
from tamis.serving.routes_updates import router as updates

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from refresh_settings import refreshed  # noqa: E402 - found through the line above

PAGES = [ROOT / "README.md", ROOT / "docs" / "serving.md"]


def commands(file: Path) -> list[list[str]]:
    """The lines of its shell blocks, as a shell splits them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removesuffix("&"), comments=True))]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the one that `tamis demo` writes."""
    shutil.copytree(light_bundle(), tmp_path / "tamis-demo" / "recommender")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tamis-demo"


def asked_by(curl: list[str], process: ServerProcess) -> Any:
    """The answer to what a curl command asks for."""
    (url,) = [word for word in curl if word.startswith("http://127.0.0.1:8000")]
    (body,) = [curl[at + 1] for at, word in enumerate(curl) if word == "-d"]
    (header,) = [curl[at + 1] for at, word in enumerate(curl) if word == "-H"]
    assert header == "Content-Type: application/json"
    return process.call("POST", url.removeprefix("http://127.0.0.1:8000"), json.loads(body))


def test_every_curl_gets_lists_from_the_server_of_the_demo(demo: Path) -> None:
    asked = [words for file in PAGES for words in commands(file) if words[0] == "curl"]
    assert len(asked) == 2
    with server(demo, "--state", "none") as process:
        for words in asked:
            found = asked_by(words, process)
            assert found.status == 200 and len(found.json["results"][0]["items"]) == 3


def test_the_commands_about_versions_follow_each_other_as_written(demo: Path) -> None:
    told = []
    for words in commands(PAGES[1]):
        if words[:2] in (["tamis", "publish"], ["tamis", "rollback"]):
            result = CliRunner().invoke(cli, words[1:])
            assert result.exit_code == 0, result.output
            told.append(json.loads(result.stdout))
    assert [bool(one["split"]) for one in told] == [False, True, True, False]
    assert [one["shadow"] is not None for one in told] == [False, False, True, False]
    assert (demo.parent / "place" / "state.json").is_file()


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_every_command_of_tamis_in_a_block_is_there(file: Path) -> None:
    known = {command.name or command.callback.__name__ for command in cli.registered_commands}  # type: ignore[union-attr]
    told = {words[1] for words in commands(file) if words[0] == "tamis"}
    assert told and told <= known


def test_the_table_of_requests_names_them_all_and_the_fields_that_there_are() -> None:
    text = PAGES[1].read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`?]*)", text))
    routes = [route for router in (answers, page, state, updates) for route in router.routes]
    there = {f"{method} {route.path}" for route in routes for method in route.methods}  # type: ignore[attr-defined]
    assert {one for one in there if "/page/" not in one and one != "GET /"} <= named
    assert named - {"GET /openapi.json"} <= there
    row = next(line for line in text.splitlines() if line.startswith("| `POST /v1/recommend`"))
    fields = set(re.findall(r"`(\w+)`", row))
    assert fields == set(RecommendRequest.model_fields)


def test_the_table_of_settings_is_as_the_code_is() -> None:
    text = PAGES[1].read_text(encoding="utf-8")
    assert refreshed(text) == text, "Run `make docs`."


def test_a_server_without_its_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tamis.serving.workers", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(cli, ["serve", str(tmp_path)])
    assert result.exit_code == 1
    assert "needs 'uvicorn', which is not installed. Run: pip install 'tamis[serve]'." in result.stderr
