"""The examples that train run, reach what they say, and leave their pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent


def run(script: str, folder: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONIOENCODING": "utf-8",
        "WENGERT_NUM_THREADS": "1",  # tests run side by side; results don't depend on it
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / script), str(folder)],
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(path: Path) -> str:
    """An SVG file as text, which has to be well-formed."""
    text = path.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    return text


def accuracy(text: str) -> float:
    found = re.search(r"test accuracy ([\d.]+) %", text)
    assert found, text
    return float(found[1])


def test_one_weight(tmp_path: Path) -> None:
    text = run("one_weight.py", tmp_path)
    assert "derivative by w: 16 = 2·2³" in text and "∂loss/∂w = 8 + 8 = 16" in text
    assert "after 30 steps w = 0.597169" in text
    assert "½w⁴" in picture(tmp_path / "one_weight.svg")
    picture(tmp_path / "one_weight_graph.svg")


def test_digits_by_a_net_of_two_hidden_layers(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert accuracy(run("digits_mlp.py", tmp_path)) >= 97.5
    assert "loss on the test images" in picture(tmp_path / "digits_mlp.svg")
    assert "read as" in picture(tmp_path / "digits_mlp_read.svg")


def test_digits_by_a_residual_net(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert accuracy(run("digits_resnet.py", tmp_path)) >= 98.5
    assert "residual" in picture(tmp_path / "digits_resnet.svg")
    assert "read as" in picture(tmp_path / "digits_resnet_read.svg")


def test_depth(tmp_path: Path) -> None:
    """A thousand plain layers learn nothing; with shortcuts they do."""
    pytest.importorskip("sklearn")
    rows = re.findall(r"^ *(\d+)  (plain|residual) +([\d.e+-]+) +([\d.]+) +([\d.]+) %", run("depth.py", tmp_path), re.M)
    right = {(int(n), kind): float(accuracy) for n, kind, _, _, accuracy in rows}
    assert right[10, "plain"] > 60 and right[100, "plain"] < 30 and right[1000, "plain"] < 30
    assert min(right[n, "residual"] for n in (10, 100, 1000)) > 60
    assert "1000 plain" in picture(tmp_path / "depth_gradients.svg")
    picture(tmp_path / "depth_losses.svg")


def test_characters(tmp_path: Path) -> None:
    text = run("characters.py", tmp_path)
    found = re.search(r"bits for each: ([\d.]+) by frequency alone, ([\d.]+) by the model", text)
    assert found and float(found[1]) == 4.45 and float(found[2]) < 1.5
    assert "Shall I " in text and "frequency alone" in picture(tmp_path / "characters.svg")


def test_sequences(tmp_path: Path) -> None:
    """Gates remember; a plain RNN does worse, but better than no memory."""
    pytest.importorskip("sklearn")
    text = run("sequences.py", tmp_path)
    error = {k: float(e) for k, e in re.findall(r"numbers, (\w+) *: squared error ([\d.]+)", text)}
    right = {k: float(a) for k, a in re.findall(r"row by row, (\w+) *: test accuracy ([\d.]+)", text)}
    assert max(error["GRU"], error["LSTM"]) < 0.02 and error["RNN"] < 0.14
    assert min(right[k] for k in ("RNN", "GRU", "LSTM")) > 80
    assert "squared error" in picture(tmp_path / "adding.svg")
    picture(tmp_path / "sequential_digits.svg")


def test_activations(tmp_path: Path) -> None:
    """Sigmoids alone learn nothing in eight layers; with batch normalisation they do."""
    pytest.importorskip("sklearn")
    rows = re.findall(r"^([\w ,]+?) {2,}([\d.e+-]+) +([\d.]+) +([\d.]+) %", run("activations.py", tmp_path), re.M)
    ratio, right = {r[0]: float(r[1]) for r in rows}, {r[0]: float(r[3]) for r in rows}
    assert ratio["sigmoid"] < 1e-4 and right["sigmoid"] < 30
    assert min(right["sigmoid, batch norm"], right["ReLU, batch norm"]) > 85
    assert "sigmoid, batch norm" in picture(tmp_path / "activations_ranges.svg")
    picture(tmp_path / "activations_losses.svg")


def test_broken_mlp(tmp_path: Path) -> None:
    """From chance to over 95 % by what the instrument finds and verifies."""
    pytest.importorskip("sklearn")
    text = run("broken_mlp.py", tmp_path)
    found = dict(re.findall(r"(before|after): test accuracy ([\d.]+) %", text))
    assert float(found["before"]) < 20 and float(found["after"]) >= 95
    assert "VANISHING" in text and "repaired: vanishing → healthy" in text
    assert "wengert-flow" in (tmp_path / "broken_mlp.html").read_text(encoding="utf-8")
