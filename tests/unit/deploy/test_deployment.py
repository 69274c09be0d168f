"""What lies in deploy/ says what the code says: settings, ports, metrics, packages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving_world import app, bundle
from tamis.recommender.recommender import Recommender
from tamis.serving.serving_settings import ServingSettings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FILES = [file for file in sorted(DEPLOY.rglob("*")) if file.is_file()]
DASHBOARD, RULES = DEPLOY / "grafana/dashboards/tamis.json", DEPLOY / "prometheus/rules.yml"
PORT = ServingSettings().port


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def read(name: str) -> Any:
    return yaml.safe_load(text_of(name))


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix in (".yaml", ".yml", ".json")], ids=str)
def test_files_can_be_read(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    found = [json.loads(text)] if file.suffix == ".json" else list(yaml.safe_load_all(text))
    assert all(isinstance(one, dict) for one in found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_setting_named_is_one(file: Path) -> None:
    named = {name.lower() for name in re.findall(r"\bTAMIS_([A-Z_]+)", file.read_text(encoding="utf-8"))}
    assert named <= set(ServingSettings.model_fields)


def values_of(file: Path) -> dict[str, str]:
    """Settings that a file gives values, by any of the ways these files do."""
    text = file.read_text(encoding="utf-8")
    patterns = (r"\bTAMIS_([A-Z_]+)[=:] ?\"?([^\s\"\\]+)", r"name: TAMIS_([A-Z_]+), value: \"?([^\s\"}]+)")
    return {name.lower(): value for pattern in patterns for name, value in re.findall(pattern, text)}


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "kubernetes.yaml", "tamis.service"])
def test_every_value_can_be_set(name: str) -> None:
    values = {one: value for one, value in values_of(DEPLOY / name).items() if value != "..."}
    assert len(values) >= 3 and ServingSettings(**values)  # type: ignore[arg-type]


def test_ports_agree() -> None:
    container, compose, kubernetes = text_of("Containerfile"), read("compose.yaml"), text_of("kubernetes.yaml")
    assert f"EXPOSE {PORT}\n" in container and f"http://127.0.0.1:{PORT}/readyz" in container
    assert values_of(DEPLOY / "Containerfile")["port"] == values_of(DEPLOY / "tamis.service")["port"] == str(PORT)
    assert compose["services"]["tamis"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    deployment, service, _ = yaml.safe_load_all(kubernetes)
    pod = deployment["spec"]["template"]
    assert pod["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": PORT}]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert read("prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"] == [{"targets": [f"tamis:{PORT}"]}]
    services = compose["services"]
    for name, port in (("redis", 6379), ("qdrant", 6333)):
        assert re.search(rf"{name}://{name}:{port}\b", services["tamis"]["environment"][f"TAMIS_{_PART[name]}"])
        assert any(f"{name}://{name}:{port}" in word for word in services[f"push-{_PUSHED[name]}"]["command"])


_PART, _PUSHED = {"redis": "STORE", "qdrant": "INDEX"}, {"redis": "users", "qdrant": "vectors"}


def test_all_ports_of_the_machine_are_loopback() -> None:
    for service in read("compose.yaml")["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_pod_waits_longer_for_its_end_than_the_server() -> None:
    pod = next(yaml.safe_load_all(text_of("kubernetes.yaml")))["spec"]["template"]["spec"]
    before = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + float(values_of(DEPLOY / "kubernetes.yaml")["grace_s"])
    stop = int(re.search(r"TimeoutStopSec=(\d+)", text_of("tamis.service"))[1])  # type: ignore[index]
    assert stop > ServingSettings().grace_s


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series that a server shows."""
    with app(tmp_path_factory.mktemp("state")) as client:
        client("POST", "/v1/recommend", {"users": ["u1"]})
        page = client("GET", "/metrics").body.decode()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=["dashboard", "rules"])
def test_every_metric_that_is_looked_at_is_exported(file: Path, exported: set[str]) -> None:
    named = set(re.findall(r"\btamis_[a-z_]+", file.read_text(encoding="utf-8")))
    assert len(named) >= 7 and named <= exported


def test_every_metric_is_on_the_dashboard(exported: set[str]) -> None:
    named = set(re.findall(r"\btamis_[a-z_]+", DASHBOARD.read_text(encoding="utf-8")))
    families = {re.sub("_(bucket|sum|count|total)$", "", name) for name in exported if name.startswith("tamis_")}
    assert families == {re.sub("_(bucket|sum|count|total)$", "", name) for name in named}


def test_panels_do_not_overlap_and_have_titles_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["title"] for panel in panels}) == len(panels)


def requirement(line: str) -> str:
    return re.split(r"[<>=;\[ ]", line)[0].lower()


def test_the_image_installs_what_the_package_needs_less_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["serve"], *extras["redis"], *extras["qdrant"]]
    listed = [line for line in text_of("requirements-serve.txt").splitlines() if line and not line.startswith("#")]
    assert sorted(listed) == sorted({requirement(line) for line in needed} - {"torch"})
    locked = {requirement(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert {one.replace("-", "_") for one in listed} <= {one.replace("-", "_") for one in locked}


def test_everything_that_is_copied_into_the_image_is_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text_of("Containerfile"), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == let_through and all((ROOT / name).exists() for name in names)
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


WITHOUT_TORCH = """
import sys, time
sys.modules["torch"] = None  # an import of it fails
from tamis.serving.request_models import PutItemsRequest, RankRequest, RecommendRequest, SimilarItemsRequest
from tamis.serving.app import create_app
from tamis.serving.service import Service
from tamis.serving.serving_settings import ServingSettings
service = Service(sys.argv[1], ServingSettings(runtime="onnx", state=sys.argv[2], timeout_ms=10_000))
create_app(service)
found = service.recommend(RecommendRequest(users=["u1"], k=3, explain=True), received=time.perf_counter())
assert found["degraded"] is None and len(found["results"][0]["items"]) == 3, found
service.rank(RankRequest(user="u1", items=[1, 2]))
service.similar(SimilarItemsRequest(items=[9], k=2))
item = {"item": 1000, "category": "games", "price": 4.0, "title": "new", "in_stock": True}
service.put_items(PutItemsRequest(items=[item]))
assert service.rank(RankRequest(items=[1000]))["unknown_items"] == []
service.close()
print("answered")
"""


def test_a_server_answers_where_there_is_no_torch(tmp_path: Path) -> None:
    Recommender.load(bundle(), runtime="torch").save(tmp_path / "bundle", onnx=True)
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "bundle"), str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "answered\n", done.stderr
