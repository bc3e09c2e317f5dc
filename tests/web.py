"""Real web servers of the tests' own, what they answer over HTTP, and what a browser shows of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import TimeoutError as NotShownError

PATIENCE_S = 420
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Of a Chromium that talks to nobody but the page's own server."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A server with a process group of its own, which is ended with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


class Api:
    """JSON over HTTP; everything that was ever answered, or shown, is kept to be searched."""

    def __init__(self, url: str) -> None:
        self.url, self.token, self.heard = url, "", ""

    def __call__(self, path: str, body: object = None, method: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        self.heard += text
        return json.loads(text)

    def wait(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError, urllib.error.HTTPError, KeyError):
                if found := ask():
                    return found
            time.sleep(1)
        raise TimeoutError(f"no answer within {PATIENCE_S} s")

    def shows(self, page: Any, path: str, *texts: str, shot: Path) -> None:
        """Open a page of the server, wait until it shows some texts, and take its picture."""
        page.goto(self.url + path)
        self.sees(page, *texts, shot=shot)

    def sees(self, page: Any, *texts: str, shot: Path) -> None:
        """Wait until a page shows some texts, and take its picture."""
        for text in texts:
            with contextlib.suppress(NotShownError):  # said below, with what is shown instead
                page.wait_for_function("text => document.body.innerText.includes(text)", arg=text, timeout=60_000)
        page.screenshot(path=shot)
        self.heard += page.content()
        shown = page.inner_text("body")
        assert [text for text in texts if text not in shown] == [], shown


def leaks(canaries: Sequence[str], folder: Path, heard: str) -> list[str]:
    """The canaries that were heard, or stand in a file below a folder."""
    found = [canary for canary in canaries if canary in heard]
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            found += [f"{canary} in {file}" for canary in canaries if canary.encode() in content]
    return found
