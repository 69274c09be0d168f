"""A headless Chromium, driven by its DevTools protocol over two pipes: no driver, no port, no package."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

COMMAND = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
]
# the browser wants its pipes as files 3 and 4
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "ArrowRight": (39, ""), "ArrowLeft": (37, ""), "Home": (36, "")}


class Chromium:
    """A browser with one tab.

    Args:
        scheme: `light` or `dark`, what people prefer.
        size: of the window.
    """

    def __init__(self, *, scheme: str = "light", size: tuple[int, int] = (1280, 900)) -> None:
        assert COMMAND is not None
        self._profile = tempfile.TemporaryDirectory(prefix="tamis-chromium-", ignore_cleanup_errors=True)
        (theirs_in, self._out), (self._in, theirs_out) = _pipe(), _pipe()
        flags = [*_FLAGS, f"--user-data-dir={self._profile.name}", f"--window-size={size[0]},{size[1]}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), COMMAND, *flags, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers, self._answers, self._news = itertools.count(1), {}, threading.Condition()
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._session: str | None = None
        self._open(scheme)

    def _open(self, scheme: str) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._out)
        self._reader.join(timeout=30)
        self._profile.cleanup()

    def _read(self) -> None:
        with open(self._in, "rb") as stream:  # noqa: PTH123 - a file number, no path
            rest = b""
            while part := stream.read1(1 << 20):
                *whole, rest = (rest + part).split(b"\0")
                with self._news:
                    for message in map(json.loads, whole):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self.events.append(message)
                    self._news.notify_all()

    def send(self, method: str, *, timeout_s: float = 60, **parameters: Any) -> Any:
        """A command of the protocol, and its result."""
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters}
        asked |= {} if self._session is None else {"sessionId": self._session}
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        with self._news:
            assert self._news.wait_for(lambda: number in self._answers, timeout_s), f"{method} was not answered"
            found = self._answers.pop(number)
        assert "error" not in found, f"{method}: {found['error']}"
        return found["result"]

    def go(self, url: str) -> None:
        """Open a page."""
        self.send("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = 30) -> Any:
        """The value of an expression as soon as it counts as true."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            if found["result"].get("value"):
                return found["result"]["value"]
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}; the page says: {self.run('document.body.innerText')}")

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key goes down and up."""
        code, text = _KEYS[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.send("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """The window as a PNG."""
        file.write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"])
        )

    def complaints(self) -> list[str]:
        """What the console holds of errors and warnings, and exceptions that nobody caught."""
        found = []
        for event in list(self.events):
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(told["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                found.append(json.dumps(told["args"]))
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        return found

    def requested(self) -> list[str]:
        """All addresses that the page asked for."""
        sent = [event["params"] for event in list(self.events) if event["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]


def _pipe() -> tuple[int, int]:
    """Both ends, with numbers that are out of the way of 3 and 4."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in ends)
    for one in ends:
        os.close(one)
    return moved  # type: ignore[return-value]
