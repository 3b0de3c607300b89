"""The benchmarks run: each script once, in its tiny mode. What they measure is for people to read, not for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = {
    "modes.py": ["--tiny", "--largest", "100"],
    "eager.py": ["--tiny", "--only", "autograd"],
    "tracing.py": ["--tiny", "--only", "Wengert"],
}


@pytest.mark.parametrize("script", TINY)
def test_a_benchmark_runs_and_prints_a_table(script: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(ROOT / "benchmarks" / script), *TINY[script]]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) >= 3, done.stdout
    assert len({row.count("|") for row in rows}) == 1, "the rows of a table have equally many cells"


def test_every_script_is_tried() -> None:
    scripts = {p.name for p in (ROOT / "benchmarks").glob("*.py") if "def main()" in p.read_text(encoding="utf-8")}
    assert scripts == set(TINY)
