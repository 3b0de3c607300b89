"""Diagnoses of models that are plain functions of dicts and lists of arrays."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
from wengert import flow
from wengert.nn import functional as F


def deep(function, gain, depth=12, width=24):
    rng = np.random.default_rng(0)
    params = {f"w{k}": (rng.normal(size=(width, width)) * gain / width**0.5).astype("f") for k in range(depth)}
    params["out"] = (rng.normal(size=(width, 4)) / width**0.5).astype("f")

    def loss_fn(p, x, y):
        h = functools.reduce(lambda h, k: function(h @ p[f"w{k}"]), range(depth), wg.asarray(x))
        return F.cross_entropy(h @ p["out"], y)

    return params, loss_fn, rng.normal(size=(48, width)).astype("f"), rng.integers(0, 4, 48)


def test_sigmoids_by_hand_are_named_as_the_cause():
    report = flow.diagnose(*deep(lambda v: 1 / (1 + wg.exp(-v)), 1.0))
    first = report.findings[0]
    assert report.verdict == first.kind == "vanishing"
    assert first.source == "activation" and "w0" in first.where and "out" not in first.where


def test_large_weights_explode():
    report = flow.diagnose(*deep(F.relu, 4.0))
    first = report.findings[0]
    assert report.verdict == first.kind == "exploding" and first.source == "weights" and first.shares["weight"] > 0.9


def test_small_weights_vanish():
    report = flow.diagnose(*deep(F.relu, 0.3))
    assert report.verdict == "vanishing" and report.findings[0].source == "weights"


@pytest.mark.parametrize(("function", "gain"), [(F.relu, 1.41), (wg.tanh, 1.1)], ids=["relu", "tanh"])
def test_good_starts_are_healthy(function, gain):
    assert flow.diagnose(*deep(function, gain)).verdict == "healthy"
