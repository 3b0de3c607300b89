"""A run while it goes on: a page on this machine alone, that asks for what is new.

The server listens on the loopback address only, answers only requests whose Host header names it (so that no web site
can reach it under a name of its own), and knows four paths: the page, and three files of its run, opened without
following links.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from wengert.errors import WengertError
from wengert.web.page import page

_CHUNK = 4 << 20  # bytes of records in one answer
_FILES = {"/run.json": "application/json", "/report.json": "application/json", "/records.jsonl": "application/x-ndjson"}


class RunFolderError(WengertError, ValueError):
    """A folder that holds no run."""


class Server:
    """Serves the page of one run folder on `http://127.0.0.1:port/`; port 0 takes a free one.

    Raises RunFolderError for a folder without a run, OSError for a port that is taken.

    >>> server = Server("runs/first")  # doctest: +SKIP
    >>> server.start()                 # doctest: +SKIP
    >>> server.url                     # doctest: +SKIP
    'http://127.0.0.1:43817/'
    """

    def __init__(self, folder: str | os.PathLike[str], port: int = 0) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise RunFolderError(
                f"{os.fspath(folder)!r} is not a folder; expected the folder that flow.Monitor writes a run to."
            )
        if not (self.folder / "run.json").is_file():
            raise RunFolderError(
                f"{os.fspath(folder)!r} holds no run.json; expected the folder that flow.Monitor writes a run to."
            )
        self._server = _Listener(("127.0.0.1", port), _Handler)
        self._server.folder = self.folder
        self.port = self._server.server_address[1]
        self._server.hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), daemon=True, name="wengert-watch"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and give the port back."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def serve(folder: str | os.PathLike[str], port: int = 0, open_browser: bool = False) -> None:
    """Serve a run folder until Ctrl-C, and say where."""
    with Server(folder, port) as server:
        print(f"Watching {server.folder} at {server.url} (Ctrl-C ends)", flush=True)
        if open_browser:
            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    folder: Path
    hosts: set[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    timeout = 20
    server_version = "wengert"
    sys_version = ""

    def do_GET(self) -> None:
        if self.headers.get("Host", "") not in self.server.hosts:
            return self._answer(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"This page is served to this machine only.\n"
            )
        origin = self.headers.get("Origin")
        foreign = origin is not None and origin.removeprefix("http://") not in self.server.hosts
        if foreign or self.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            return self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"Other sites may not read this page.\n")
        address = urlsplit(self.path)
        if address.path == "/":
            data = {"format": "wengert-flow", "title": self._title()}
            return self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page(data, live=True).encode())
        if address.path not in _FILES:
            return self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing here.\n")
        try:
            with _opened(self.server.folder, address.path[1:]) as file:
                if address.path == "/records.jsonl":
                    return self._records(file, parse_qs(address.query))
                return self._answer(HTTPStatus.OK, _FILES[address.path], file.read())
        except FileNotFoundError:
            if address.path == "/records.jsonl":  # a run that has written nothing yet
                return self._answer(HTTPStatus.OK, _FILES[address.path], b"", {"X-Next": "0"})
            return self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"The run has no such file.\n")
        except OSError:
            return self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"That file can't be read.\n")

    do_HEAD = do_GET

    def _title(self) -> str:
        try:
            with _opened(self.server.folder, "run.json") as file:
                title = json.load(file).get("title")
        except (OSError, ValueError, AttributeError):
            title = None
        return str(title or self.server.folder.name)

    def _records(self, file: BinaryIO, query: dict[str, list[str]]) -> None:
        """Whole lines from a byte on; a file that has become shorter is a new run and is read from its start."""
        text = query.get("from", ["0"])[0]
        start = int(text) if text.isdecimal() and len(text) < 19 else 0
        if start > os.fstat(file.fileno()).st_size:
            start = 0
        file.seek(start)
        body = file.read(_CHUNK)
        while body and b"\n" not in body and (more := file.read(_CHUNK)):
            body += more
        body = body[: body.rfind(b"\n") + 1]
        report = self.server.folder / "report.json"
        stamp = f"{report.stat().st_mtime_ns}" if report.is_file() else ""
        self._answer(
            HTTPStatus.OK, _FILES["/records.jsonl"], body, {"X-Next": str(start + len(body)), "X-Report": stamp}
        )

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**headers, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a page asks once a second."""


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A plain file of this folder itself: a link could lead out of the run, a pipe could block."""
    handle = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        yield file
