"""The examples run, and show what they say."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run(script: str, *args: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / script), *args],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour(tmp_path: Path) -> None:
    text = run("tour.py", str(tmp_path / "new" / "folder"))
    for said in (
        "loss = 0.00741097",
        "∂loss/∂x: 2 paths",
        "= 0.1722 + (-0.04339) = 0.1288",
        "waist     10 + 10 sweeps",
        "derivative:           0.353553390593",
        "at 0: 0.0",
        "1.750e+100 paths",
    ):
        assert said in text
    one, other = (line.split("=")[1] for line in text.splitlines() if line.startswith("⟨"))
    assert abs(float(one) - float(other)) < 1e-12
    assert "<svg" in (tmp_path / "new" / "folder" / "tour.svg").read_text(encoding="utf-8")
    assert "<svg" in (tmp_path / "new" / "folder" / "tour.html").read_text(encoding="utf-8")


def test_the_picture_in_the_readme_is_the_one_of_the_tour(tmp_path: Path) -> None:
    run("tour.py", str(tmp_path))
    assert (tmp_path / "tour.svg").read_text(encoding="utf-8") == (ROOT / "docs" / "pictures" / "tour.svg").read_text(
        encoding="utf-8"
    )


def test_the_code_in_the_readme_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    held: dict[str, Any] = {}
    for code in readme.split("```python\n")[1:]:
        exec(compile(code.split("```")[0], "README.md", "exec"), held)
    assert held["report"].verdict == "vanishing" and held["mended"].attempts
    assert (tmp_path / "graph.svg").exists() and (tmp_path / "flow.html").exists()
