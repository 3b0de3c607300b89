"""The page as text, and the live server: what they hold, what they refuse."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.flow_pages import deep, repair, training
from wengert.web import Server, page
from wengert.web.server import RunFolderError

NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u2028@SCRIPT@ @DATA@ & \' "'


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def text() -> str:
    return page(deep() | {"training": training(), "repair": repair()})


def test_the_page_is_one_file_that_names_no_other(text: str) -> None:
    outside = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", text))
    assert outside == {"http://www.w3.org/2000/svg"}  # a name, not an address that is asked
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")|@import|url\(|<iframe|<img|\ssrc=", text)


def test_nothing_but_the_known_script_and_style_may_run(text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]  # type: ignore[index]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, element in (("script-src", "script"), ("style-src", "style")):
        body = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)[1]  # type: ignore[index]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "eval(" not in text and "innerHTML" not in text and "new Function" not in text
    assert "connect-src 'self'" in page({}, live=True)


def test_names_cannot_become_markup() -> None:
    made = page(
        {"title": NASTY, "findings": [{"kind": NASTY, "cause": NASTY}], "modules": [{"path": NASTY, "class": NASTY}]}
    )
    assert made.count("<script") == 2 and "<img" not in made
    assert data_of(made)["findings"][0]["cause"] == NASTY
    assert made.count("&lt;/script&gt;") >= 1  # the title


def test_numbers_that_are_no_json() -> None:
    given = {
        "loss": math.nan,
        "norms": [math.inf, 1.0],
        "x": np.float32(2.5),
        "y": np.array([1.0, -math.inf]),
        3: Path("a"),
    }
    assert data_of(page(given)) == {"loss": None, "norms": [None, 1.0], "x": 2.5, "y": [1.0, None], "3": "a"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    found = training(3, 4)
    (tmp_path / "run" / "run.json").write_text(json.dumps(found["run"]))
    (tmp_path / "run" / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in found["records"]))
    return tmp_path / "run"


@pytest.fixture
def server(run: Path) -> Iterator[Server]:
    with Server(run) as server:
        yield server


def get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{server.port}", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.msg
    finally:
        connection.close()


def test_the_server_shows_its_run(server: Server) -> None:
    status, body, headers = get(server, "/")
    assert status == 200 and b"data-live" in body and data_of(body.decode())["title"] == "digits"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert json.loads(get(server, "/run.json")[1])["format"] == "wengert-run"
    status, body, headers = get(server, "/records.jsonl")
    assert [json.loads(line)["step"] for line in body.splitlines()] == [0, 10, 20, 30]
    assert headers["X-Next"] == str(len(body))
    assert get(server, "/report.json")[0] == 404
    assert get(server, "/", "HEAD")[:2] == (200, b"")


def test_records_come_from_where_the_last_answer_ended(server: Server, run: Path) -> None:
    at = get(server, "/records.jsonl")[2]["X-Next"]
    with (run / "records.jsonl").open("a") as file:
        file.write('{"kind":"step","step":40}\n{"kind":"st')  # the last line is still being written
    _, body, headers = get(server, f"/records.jsonl?from={at}")
    assert body == b'{"kind":"step","step":40}\n'
    assert get(server, f"/records.jsonl?from={headers['X-Next']}")[1] == b""
    for start in ("-1", "x", "9" * 30, "999999"):  # nonsense, or a file that was begun anew
        assert get(server, f"/records.jsonl?from={start}")[1].startswith(b'{"kind": "step", "step": 0')
    (run / "records.jsonl").unlink()
    assert get(server, "/records.jsonl")[:2] == (200, b"")


def test_only_this_machine_is_answered(server: Server) -> None:
    assert server._server.server_address[0] == "127.0.0.1"
    for host in (
        "evil.example",
        f"evil.example:{server.port}",
        "127.0.0.1",
        f"127.0.0.1:{server.port}.evil.example",
        "",
    ):
        status, body, _ = get(server, "/run.json", Host=host)
        assert status == 421 and b"wengert-run" not in body, host
    assert get(server, "/run.json", Host=f"localhost:{server.port}")[0] == 200
    assert get(server, "/run.json", Sec_Fetch_Site="cross-site")[0] == 403
    assert get(server, "/run.json", Sec_Fetch_Site="same-site")[0] == 403
    assert get(server, "/run.json", Sec_Fetch_Site="same-origin")[0] == 200
    for origin in (
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{server.port}",
        f"http://127.0.0.1:{server.port}0",
    ):
        assert get(server, "/run.json", Origin=origin)[0] == 403, origin
    assert get(server, "/run.json", Origin=f"http://127.0.0.1:{server.port}")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(server, "/run.json", method)[0] == 501


def test_nothing_outside_the_run_is_served(server: Server, run: Path) -> None:
    paths = ["/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/run.json/../../secret.txt",
             "/secret.txt", "/.", "/run.json%00", "/records.jsonl/", f"{run}/run.json",
             "http://evil.example/secret.txt"]  # fmt: skip
    for path in paths:
        status, body, _ = get(server, path)
        assert status == 404 and b"secret" not in body, path
    os.symlink(run.parent / "secret.txt", run / "report.json")
    assert get(server, "/report.json")[0] == 403
    (run / "records.jsonl").unlink()
    os.mkfifo(run / "records.jsonl")
    assert get(server, "/records.jsonl")[0] == 403


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds no run\.json; expected the folder that flow\.Monitor writes"):
        Server(tmp_path)
    with pytest.raises(RunFolderError, match="is not a folder"):
        Server(tmp_path / "none")


def test_a_damaged_run_is_still_shown(run: Path) -> None:
    (run / "run.json").write_text("{damaged")
    with Server(run) as server:
        assert data_of(get(server, "/")[1].decode())["title"] == "run"
