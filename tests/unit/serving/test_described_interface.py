"""The server is asked what its own OpenAPI description allows, and some of what it does not: no 500, no other body."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error, response_schema_conformance

from serving_world import bundle
from tamis.serving.app import create_app
from tamis.serving.service import Service
from tamis.serving.serving_settings import ServingSettings

EXAMPLES = 20  # of each operation
IGNORED = list(HealthCheck)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, so that what its HTTP reader makes of strange requests counts too."""
    state: Path = tmp_path_factory.mktemp("state")
    service = Service(bundle(), ServingSettings(state=str(state), timeout_ms=10_000.0, log_requests=False))
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=20)


def checked(response: Any, case: Any) -> None:
    """No 500, and whatever comes is what the description says, or an error that says what and where."""
    assert response.status_code < 500 or response.status_code in (503, 507), response.text
    case.validate_response(response, checks=[not_a_server_error, response_schema_conformance])
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error["code"] and error["where"] and error["message"]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
def test_answers_are_as_described(url: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        try:
            cases = operation.as_strategy(generation_mode=mode)
        except Unsatisfiable:  # nothing can be wrong with what takes nothing
            continue

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=IGNORED)
        @given(case=cases)
        def ask(case: Any) -> None:
            checked(case.call(timeout=10), case)

        with contextlib.suppress(Unsatisfiable):
            ask()
            asked += 1
    assert asked >= 8
