"""The benchmarks run: each script once, in its quickest form. What they measure is for people, not for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.chromium import PROGRAM

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(p for p in (ROOT / "benchmarks").glob("*.py") if "def main()" in p.read_text(encoding="utf-8"))
QUICK = {  # for those whose quickest form is not just `--tiny`
    "eager.py": ["--tiny", "--only", "autograd"],
    "modes.py": ["--tiny", "--largest", "100"],
    "product.py": ["--only", "dW1", "--budget", "0.01"],
    "tracing.py": ["--tiny", "--only", "Wengert"],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_benchmark_runs_and_prints_its_tables(script: Path) -> None:
    if script.name == "page.py" and PROGRAM is None:
        pytest.skip("needs Chromium")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(script), *QUICK.get(script.name, ["--tiny"])]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    blocks = groupby(done.stdout.splitlines(), lambda line: line.startswith("|"))
    tables = [list(lines) for is_table, lines in blocks if is_table]
    assert tables, done.stdout
    for table in tables:
        assert len(table) >= 3, "a table has a head, a rule and rows:\n" + done.stdout
        assert len({row.count("|") for row in table}) == 1, "rows have equally many cells:\n" + done.stdout


def test_the_scripts_are_found() -> None:
    assert set(QUICK) <= {path.name for path in SCRIPTS}
