"""The command: what it prints and writes, its exit codes, and what it says to bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wengert.cli import main
from wengert.demo import cells
from wengert.flow.finding import KINDS

ROOT = Path(__file__).parent.parent

BROKEN = """
import numpy as np
from wengert import nn

nn.manual_seed(0)
model = nn.Sequential(*[part for _ in range(11) for part in (nn.Linear(16, 16), nn.Sigmoid())], nn.Linear(16, 3))
rng = np.random.default_rng(0)
x = rng.normal(size=(48, 16)).astype(np.float32)
y = np.argmax(x[:, :3], axis=1)


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def made():
    return model, loss_fn, x, y


def with_arguments(a, b):
    return model


if __name__ == "__main__":
    raise SystemExit("this is not to run")
"""
HEALTHY = BROKEN.replace("range(11)", "range(1)").replace("Sigmoid", "ReLU")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to stand in, with a broken and a healthy model."""
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "healthy.py").write_text(HEALTHY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and error output of a command that is run here."""
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's own
        assert isinstance(end.code, int)
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "wengert", *arguments],
        cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=200, check=False,
    )  # fmt: skip


def test_a_broken_model_is_diagnosed(folder: Path) -> None:
    done = command("diagnose", "broken.py", "--html", "flow.html", "--json", "flow.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VANISHING") and "Sigmoid" in done.stdout
    assert "wrote flow.html" in done.stderr
    data = json.loads((folder / "flow.json").read_text(encoding="utf-8"))
    assert data["format"] == "wengert-flow" and data["verdict"] == "vanishing"
    page = (folder / "flow.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>") and "vanishing" in page


@pytest.mark.parametrize(("kinds", "code"), [("vanishing", 1), ("frozen,vanishing", 1), ("any", 1), ("exploding", 0)])
def test_exit_code_for_a_fault(folder: Path, capsys: pytest.CaptureFixture[str], kinds: str, code: int) -> None:
    assert said(capsys, "diagnose", "broken.py", "--fail-on", kinds)[0] == code


def test_a_healthy_model_never_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "diagnose", "healthy.py", "--fail-on", "any")
    assert code == 0 and out.startswith("HEALTHY")


def test_json_on_the_output_is_json_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "diagnose", "broken.py", "--json", "-")
    assert code == 0 and json.loads(out)["verdict"] == "vanishing"


@pytest.mark.parametrize("name", ["model", "made"])
def test_a_name_is_a_model_or_makes_one(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = said(capsys, "diagnose", f"broken.py:{name}")
    assert code == 0 and out.startswith("VANISHING")


def test_repair_says_what_helped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "diagnose", "broken.py", "--repair", "--steps", "40", "--json", "r.json")
    assert code == 0 and "repaired: vanishing → healthy" in out and "ReLU" in out
    repair = json.loads((folder / "r.json").read_text(encoding="utf-8"))["repair"]
    assert repair["repaired"] is True and any(a["kept"] for a in repair["attempts"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("missing.py",), "'missing.py': there is no such file"),
        (("no_such_module",), "no such file and no such module"),
        (("no-module!",), "it is no module's name"),
        ((".",), "is a folder"),
        (("broken.py:nothing",), "broken.py holds no 'nothing'; it defines"),
        (("broken.py:with_arguments",), "needs arguments: a, b"),
        (("broken.py:x.shape",), "the tuple has no parameters"),
        (("broken.py:loss_fn.__name__",), "is a str; expected an nn.Module"),
        (("broken.py", "--html", "no/such/flow.html"), "there is no folder"),
        (("broken.py", "--html", "flow.pdf"), "ends in .pdf; expected .html"),
        (("broken.py", "--json", "broken.py"), "ends in .py; expected .json"),
        (("broken.py", "--fail-on", "sadness"), "'sadness' is no kind of finding; use any, vanishing"),
        (("broken.py", "--steps", "1"), "expected a number of steps"),
    ],
)
def test_bad_arguments(folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    code, out, err = said(capsys, "diagnose", *arguments)
    assert code == 2 and not out and "Traceback" not in err
    assert text in err and "test_cli" not in err


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("def f(:\n", "bad.py:1: "),
        ("x = 1\n", "bad.py holds no model; expected `model = …`"),
        ("model = 3\n", "is a int; expected an nn.Module"),
        ("from wengert import nn\nmodel = nn.Linear(2, 2)\n", "defines no loss_fn"),
        ("from wengert import nn\nmodel = nn.Linear(2, 2)\ndef loss_fn(m, x, y): ...\n", "x, y missing"),
        (
            "from wengert import nn\na = nn.Linear(2, 2)\nb = nn.Linear(2, 2)\n",
            "say which: bad.py:a or b",
        ),
        ("1 / 0\n", "ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "ended itself by sys.exit(3)"),
        ("import no_such_thing\n", "No module named 'no_such_thing'"),
        ("\x00\x01\n", "bad.py"),
    ],
)
def test_bad_files(folder: Path, capsys: pytest.CaptureFixture[str], program: str, text: str) -> None:
    (folder / "bad.py").write_text(program, encoding="utf-8")
    code, out, err = said(capsys, "diagnose", "bad.py")
    assert code == 2 and not out and text in err
    assert "cli.py" not in err and "script.py" not in err  # the user's own lines only


def test_a_loss_that_fails_shows_the_users_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = BROKEN.replace("return nn.functional", "return {}['here'] + nn.functional")
    (folder / "bad.py").write_text(text, encoding="utf-8")
    code, _, err = said(capsys, "diagnose", "bad.py")
    assert code == 2 and "KeyError: 'here'" in err and "in loss_fn" in err and "cli.py" not in err


def test_a_loss_of_several_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.py").write_text(BROKEN.replace("model(x), y)", "model(x), y, reduction='none')"), encoding="utf-8")
    code, _, err = said(capsys, "diagnose", "bad.py")
    assert code == 2 and "(48,)" in err and "one number" in err


def test_a_function_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "f.py").write_text("def f(w, x, b=1.0):\n    h = w * x\n    return h * h + b\n", encoding="utf-8")
    code, out, _ = said(capsys, "graph", "f.py:f", "0.5", "-3")
    assert code == 0 and "h" in out and "∂f/∂w = 9" in out  # 2 h x
    code, out, err = said(capsys, "graph", "f.py:f", "0.5", "-3", "--out", "f.svg")
    assert code == 0 and not out.strip() and "wrote f.svg" in err and "<svg" in (folder / "f.svg").read_text("utf-8")
    code, out, _ = said(capsys, "graph", "f.py:f", "0.5", "[1.0, 2.0]", "--paths", "w")
    assert code == 0 and "w" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("f.py:f", "0.5"), "f needs 2 arguments (w, x), got 1"),
        (("f.py",), "say which function"),
        (("f.py:number", "1"), "is a int; expected a function"),
        (("f.py:f", "one", "2"), "'one': expected a number or a list"),
        (("f.py:f", "1.0", "2.0", "--out", "f.gif"), "names no format"),
        (("f.py:f", "1.0", "2.0", "--out", "no/f.svg"), "there is no folder"),
        (("f.py:wrong", "1.0"), "ValueError: no"),
    ],
)
def test_bad_graphs(folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    program = "number = 3\ndef f(w, x):\n    return w * x\ndef wrong(x):\n    raise ValueError('no')\n"
    (folder / "f.py").write_text(program, encoding="utf-8")
    code, _, err = said(capsys, "graph", *arguments)
    assert code == 2 and text in err and "cli.py" not in err


@pytest.mark.parametrize("name", ["missing", "broken.py", "empty"])
def test_what_is_no_run_is_not_watched(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (folder / "empty").mkdir()
    code, _, err = said(capsys, "watch", name)
    assert code == 2 and name in err and "flow.Monitor" in err


def test_help_says_that_the_file_is_run() -> None:
    done = command("diagnose", "--help", cwd=ROOT)
    assert done.returncode == 0 and "FILE is run as Python, with your rights" in done.stdout


def test_kinds_are_those_that_are_found() -> None:
    """Every kind that a finding is given in the code can be named by --fail-on."""
    found = set()
    for file in (ROOT / "src/wengert/flow").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= {k for k in KINDS if f'Finding("{k}"' in text or f'"{k}",' in text}
    assert found >= {"vanishing", "exploding", "short memory"} and found <= set(KINDS)


def test_programs_of_the_demo_have_cells() -> None:
    for name in ("digits", "adding"):
        text = (ROOT / "src/wengert/demo" / f"{name}.py").read_text(encoding="utf-8")
        found = list(cells(text))
        assert "".join(c.code for c in found) and all(c.title for c in found[1:]) and len(found) == 5
        lines = text.splitlines()
        assert all(lines[c.line - 2] == f"# %% {c.title}" for c in found[1:])


def test_the_optimizer_of_a_file_is_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = HEALTHY.replace("import nn", "import nn, optim") + "\noptimizer = optim.SGD(model, 500.0)\n"
    (folder / "fast.py").write_text(text, encoding="utf-8")
    code, out, _ = said(capsys, "diagnose", "fast.py", "--fail-on", "learning-rate-too-high")
    assert code == 1 and out.startswith("LEARNING RATE TOO HIGH")
