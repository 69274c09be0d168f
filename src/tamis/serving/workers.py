"""The processes of a server: one, or several that share a port and are replaced when they die."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from tamis.errors import SettingError, TamisError
from tamis.folders import MANIFEST, read_manifest
from tamis.recommender.recommender_folder import KIND, VERSION
from tamis.serving.door import DOOR, Door
from tamis.serving.logs import set_up_logs
from tamis.serving.published import PublishedPlace
from tamis.serving.service import state_folder
from tamis.serving.serving_metrics import FOLDER, forget_dead_processes, share_between_processes
from tamis.serving.serving_settings import ServingSettings
from tamis.serving.turns import TURNS
from tamis.serving.update_log import UpdateLog

_LOG = logging.getLogger("tamis.serving")
# from the parent to its workers
_PATH, _SETTINGS, _PARENT = "TAMIS_INTERNAL_PATH", "TAMIS_INTERNAL_SETTINGS", "TAMIS_INTERNAL_PARENT"
_WAITING = 2048  # connections that the system keeps until they are let in
_PARENT_S = 0.5  # how often a worker looks whether its parent lives
_SWITCH_S = 0.0001  # how long a thread keeps the interpreter: a request asks for it six times, a loading thread has it


def serve(path: str | Path, settings: ServingSettings) -> None:
    """Answer until a signal ends it: requests that are at work are answered first.

    Raises:
        FormatError: nothing that can be served.
        SettingError: the port is taken, or the folder for updates cannot be written.
    """
    set_up_logs(settings.log_level)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn, once it has ended in order, raises the signal again
        signal.signal(number, lambda *_: sys.exit(0))
    folder = Path(path).expanduser().absolute()
    _check(folder, settings)
    _LOG.info("settings", extra={"path": str(folder), "settings": settings.shown()})
    if settings.host not in ("127.0.0.1", "::1", "localhost") and settings.api_key is None:
        _LOG.warning("this server can be reached from elsewhere and asks for no key; set TAMIS_API_KEY to ask for one")
    listening = _listening(settings)
    _LOG.info("listening", extra={"url": f"http://{settings.host}:{listening.getsockname()[1]}"})
    with listening:
        if settings.workers == 1:
            _serve_here(folder, settings, listening)
        else:
            _serve_in_workers(folder, settings, listening)


def _check(folder: Path, settings: ServingSettings) -> None:
    """What would make every worker fail shall fail once, and before the port is taken."""
    if settings.workers > 1 and not hasattr(socket, "send_fds"):
        raise SettingError(
            f"serve: workers is {settings.workers}, but this system cannot hand open connections from process to "
            "process, as Linux and macOS do. Give 1."
        )
    is_place, is_bundle = PublishedPlace(folder).exists, (folder / MANIFEST).is_file()
    if not is_place and (settings.workers > 1 or not is_bundle):  # of a bundle, a single process finds out itself
        read_manifest(folder, kind=KIND, version=VERSION)
    state = state_folder(folder, settings)
    if state is not None:
        log = UpdateLog(state)
        log.forget_events(older_than_days=settings.event_days)
        log.close()


def _listening(settings: ServingSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
        if settings.workers > 1:  # else uvicorn does, when all is loaded
            found.listen(_WAITING)
    except OSError as error:
        found.close()
        raise SettingError(
            f"serve: {settings.host}:{settings.port} cannot be listened on ({error}). Give another --port."
        ) from error
    found.set_inheritable(True)
    return found


def _config(app: Any, settings: ServingSettings, *, loop: str = "auto", factory: bool = False) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        loop=loop,
        ws="none",
        proxy_headers=False,  # nobody asks who the client is
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(settings.grace_s),
        timeout_keep_alive=75,
        timeout_worker_healthcheck=30,
    )


def _serve_here(folder: Path, settings: ServingSettings, listening: socket.socket) -> None:
    app = _loaded_app(folder, settings)
    uvicorn.Server(_config(app, settings)).run([listening])


def _serve_in_workers(folder: Path, settings: ServingSettings, listening: socket.socket) -> None:
    with tempfile.TemporaryDirectory(prefix="tamis-") as shared:
        share_between_processes(Path(shared))
        told = {_PATH: str(folder), _SETTINGS: settings.model_dump_json(), _PARENT: str(os.getpid())}
        told |= {DOOR: str(Path(shared) / "door"), TURNS: str(Path(shared) / "turns")}
        config = _config(
            "tamis.serving.workers:worker_app", settings, loop="tamis.serving.entrance:DoorLoop", factory=True
        )
        os.environ |= told
        try:
            _Workers(config, _door(listening, Path(told[DOOR]))).run()
        finally:
            for name in (*told, FOLDER):
                os.environ.pop(name, None)


def _door(listening: socket.socket, path: Path) -> Door:
    try:
        return Door(listening, path)
    except OSError as error:
        raise SettingError(
            f"serve: workers cannot be reached over {path} ({error}). Set TMPDIR to a folder with a shorter name."
        ) from error


class _Workers(Multiprocess):
    """Workers behind a door, which is closed at the end: whoever comes then is refused at once, and does not wait."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        # uvicorn wants something to listen on, which the workers' loop leaves alone
        super().__init__(config, [socket.socket()])
        self._door = door

    def terminate_all(self) -> None:
        """End them in order, and take no more."""
        self._door.close()
        for one in self.sockets:
            one.close()
        super().terminate_all()


def worker_app() -> Any:
    """The app of a worker, by what its parent put into the environment.

    Raises:
        SystemExit: it cannot be made; the parent then ends too, as another worker would fail alike.
    """
    settings = ServingSettings(**json.loads(os.environ[_SETTINGS]))
    set_up_logs(settings.log_level)
    threading.Thread(target=_end_with, args=(int(os.environ[_PARENT]),), daemon=True).start()
    forget_dead_processes()
    try:
        return _loaded_app(Path(os.environ[_PATH]), settings)
    except TamisError as error:
        _LOG.error("%s", error)
        sys.exit(3)


def _end_with(parent: int) -> None:
    """End this worker when its parent has died, which would else go on alone, with nobody to stop or replace it."""
    while os.getppid() == parent:
        time.sleep(_PARENT_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _loaded_app(folder: Path, settings: ServingSettings) -> Any:
    from tamis.serving.app import create_app
    from tamis.serving.service import Service

    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()  # collections need not walk through what was imported, nor those after a version went
    service = Service(folder, settings)
    _LOG.info("ready", extra={"version": service.live.served.state.current, "pid": os.getpid()})
    gc.collect()
    if not PublishedPlace(folder).exists:
        gc.freeze()  # what was loaded stays: no collection has to walk through it
    return create_app(service)
