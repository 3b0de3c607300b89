"""Diagnoses made up for the page's tests, in the format that `Report.to_json` writes."""

from __future__ import annotations

import math
import random
from typing import Any

LINE = {"file": "broken_mlp.py", "line": 14, "function": "loss_fn", "text": "    return F.cross_entropy(model(x), y)"}


def statistics(norm: float, low: float, high: float) -> dict[str, Any]:
    counts = [round(100 * math.exp(-(((k - 11.5) / 5) ** 2))) for k in range(24)]
    middle = (low + high) / 2
    return {
        **{"norm": norm, "mean": middle, "std": (high - low) / 6, "min": low, "max": high, "zero": 0.0},
        "histogram": {"low": low, "high": high, "counts": counts},
    }


def deep(depth: int = 20, gain: float = -0.61, activation: str = "Sigmoid", seed: int = 0) -> dict[str, Any]:
    """A chain of Linear and activation under a loss: nodes, edges, ledger, shares, findings."""
    rng = random.Random(seed)
    modules: list[dict[str, Any]] = [{"path": "", "class": "Sequential"}]
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    by_module, backward = [], 0.0

    def node(operation: str, module: str, role: str = "step", size: int = 64, at: float = 0.0, **more: Any) -> int:
        nodes.append(
            {
                **{
                    "id": len(nodes),
                    "primitive": operation,
                    "module": module,
                    "role": role,
                    "shape": [64, size],
                    "dtype": "float32",
                },
                **{
                    "line": LINE,
                    "forward": statistics(30, 0, 1),
                    "gradient": statistics(10**at, -(10**at) / 9, 10**at / 8),
                },
                **more,
            }
        )
        return len(nodes) - 1

    def edge(a: int, b: int, kind: str, size: float) -> None:
        edges.append({"from": a, "to": b, "kind": kind, "gain": size, "forward": size / 9, "share": 1.0})

    last = node("x", "", "input", 64, gain * depth)
    for k in range(depth):
        weights, act = rng.gauss(0.0, 0.05), gain + rng.gauss(0, 0.03)
        at, linear, nonlinear = gain * (depth - k), f"{2 * k}", f"{2 * k + 1}"
        w = node("weight", linear, "parameter", 64, at, name=f"{linear}.weight")
        b = node("bias", linear, "parameter", 64, at, name=f"{linear}.bias")
        product, total = node("matmul", linear, at=at), node("add", linear, at=at)
        out = node(activation.lower(), nonlinear, at=at, derivative=statistics(2, 0, 0.25))
        edge(last, product, "weight", weights)
        edge(w, product, "weight", -0.4)
        edge(product, total, "other", 0.0)
        edge(b, total, "other", -0.2)
        edge(total, out, "activation", act)
        modules.append(
            {"path": linear, "class": "Linear", "gradient": statistics(10**at, -1, 1), "forward": statistics(8, -1, 1)}
        )
        modules.append(
            {
                "path": nonlinear,
                "class": activation,
                "gradient": statistics(10**at, -1, 1),
                "forward": statistics(8, 0, 1),
            }
        )
        by_module.append({"path": linear, "total": weights, "by_kind": {"weight": weights}})
        by_module.append({"path": nonlinear, "total": act, "by_kind": {"activation": act}})
        backward += weights + act
        last = out
    loss = node("cross_entropy", "", name="loss", size=1)
    edge(last, loss, "loss", -0.3)
    activations = sum(m["total"] for m in by_module if "activation" in m["by_kind"])
    shares = [math.exp(-(((k - depth * 0.9) / 3) ** 2)) for k in range(depth + 1)]
    layers = [
        {
            "name": str(k),
            "total": by_module[2 * k]["total"] + by_module[2 * k + 1]["total"],
            "by_kind": by_module[2 * k]["by_kind"] | by_module[2 * k + 1]["by_kind"],
        }
        for k in range(depth)
    ]
    return {
        **{
            "format": "wengert-flow",
            "version": 1,
            "title": f"{depth} × {activation}",
            "created": "2026-11-21T09:00:00Z",
        },
        **{"verdict": "vanishing" if gain < -0.2 else "healthy", "loss": 2.3026},
        "summary": f"The gradient shrinks by {abs(backward):.1f} decades between the loss and the first layer: 99 % of "
        f"that in the {depth} {activation.lower()} derivatives, 1 % in the weights."
        if gain < -0.2
        else "The gradient reaches every layer at a size that can train it.",
        "findings": [
            {
                **{
                    "kind": "vanishing",
                    "where": "layers 0 to 12",
                    "source": "activation",
                    "severity": 0.95,
                    "line": LINE,
                },
                "cause": f"99 % of the loss of {abs(backward):.1f} decades is in the {depth} sigmoid derivatives.",
                "shares": {"activation": 0.985, "weight": 0.015},
                "evidence": {"decades": backward, "layers": depth, "first layer's gradient": 10**backward},
                "modules": [str(2 * k + 1) for k in range(min(depth, 4))],
                "remedies": [
                    {"name": "ReLU for sigmoid", "reason": "its derivative is 1 where a unit is active"},
                    {"name": "batch normalisation", "reason": "keeps inputs where the derivative is largest"},
                ],
            },
            {
                **{
                    "kind": "missing shortcut",
                    "where": "the whole stack",
                    "cause": "No path crosses fewer than 20 layers.",
                },
                **{
                    "shares": {},
                    "evidence": {"shortest path": depth},
                    "remedies": [{"name": "residual shortcuts", "reason": "add a path with derivative 1"}],
                },
            },
        ]
        if gain < -0.2
        else [],
        **{"modules": modules, "nodes": nodes, "edges": edges},
        "ledger": {
            "backward": {
                "total": backward - 0.3,
                "by_kind": {"activation": activations, "weight": backward - activations, "loss": -0.3},
                **{"by_module": by_module, "by_layer": layers},
            },
            "forward": {
                "total": 0.7,
                "by_kind": {"activation": 0.9, "weight": -0.2},
                "by_module": [{**m, "total": m["total"] / -9} for m in by_module],
            },
        },
        "path_length": {"shares": [s / sum(shares) for s in shares], "norms": shares, "parameter": "0.weight"},
        "depth": {
            **{"depth": depth, "decades": backward, "passes": gain >= -0.2},
            "scales": {
                "q": 0.008,
                "chi": 0.33,
                "xi_c": 0.89,
                "phase": "ordered",
                "weight_variance": 0.33,
                "bias_variance": 0.005,
            },
        },
        "spectrum": [
            {"from": f"{k}", "to": f"{k + 2}", "values": [0.5 / (j + 1) for j in range(16)], "rms": 0.25}
            for k in range(0, 2 * depth - 2, 2)
        ],
        "lag": {"shares": [0.62 * 0.4**k for k in range(12)], "norms": [0.4**k for k in range(12)]},
    }


def training(depth: int = 20, steps: int = 60) -> dict[str, Any]:
    """A run folder's contents as one object."""
    rng = random.Random(1)
    records: list[dict[str, Any]] = []
    for s in range(steps):
        gradient = [10 ** (-0.5 * (depth - k) + 0.02 * s) for k in range(depth)]
        records.append(
            {
                **{
                    "kind": "step",
                    "step": 10 * s,
                    "epoch": s // 20,
                    "time": 0.1 * s,
                    "loss": 2.3 * math.exp(-s / 25) + 0.03 * rng.random(),
                },
                "whole": {"grad_norm": gradient[-1] * (1 + 0.1 * rng.random()), "update_norm": 0.01},
                "parameters": {
                    f"{2 * k}.weight": {
                        "norm": 5 + 0.1 * s,
                        "std": 0.1 + 0.002 * s,
                        "gradient": {"norm": gradient[k]},
                        "update_ratio": gradient[k] / 50,
                    }
                    for k in range(depth)
                },
                "activations": {
                    f"{m}": {
                        "module": f"{m}",
                        "class": "Linear" if m % 2 == 0 else "Sigmoid",
                        "norm": 8.0,
                        "std": 0.2,
                        "gradient": {"norm": gradient[m // 2], "std": gradient[m // 2] / 60},
                        **({"saturated": 0.9 * (1 - s / steps), "dead": 0.25 * (m == 1)} if m % 2 else {}),
                        **({"rank": 12.5 - m / depth, "shattering": 0.4} if s % 10 == 0 else {}),
                    }
                    for m in range(2 * depth)
                },
            }
        )
    modules = [{"name": str(m), "class": "Linear" if m % 2 == 0 else "Sigmoid"} for m in range(2 * depth)]
    return {
        "run": {"format": "wengert-run", "version": 1, "modules": modules, "every": 10, "title": "digits"},
        "records": records,
    }


def repair(depth: int = 20) -> dict[str, Any]:
    def curve(rate: float, seed: int) -> list[float]:
        return [2.3 * math.exp(-rate * k / 60) + 0.05 * random.Random(seed + k).random() for k in range(60)]

    return {
        "repaired": True,
        "metric": {"name": "accuracy", "before": 0.101, "after": 0.963},
        "attempts": [
            {
                **{
                    "remedy": "batch normalisation",
                    "reason": "keeps inputs where the derivative is largest",
                    "verdict": "did not help",
                },
                **{
                    "criterion": {"before": -12.4, "after": -9.8},
                    "loss": {"before": [curve(0, s) for s in range(3)], "after": [curve(0.1, s) for s in range(3, 6)]},
                },
            },
            {
                **{
                    "remedy": "ReLU for sigmoid",
                    "reason": "its derivative is 1 where a unit is active",
                    "verdict": "helped",
                },
                **{
                    "criterion": {"before": -12.4, "after": -0.4},
                    "loss": {"before": [curve(0, s) for s in range(3)], "after": [curve(2.5, s) for s in range(3, 6)]},
                },
            },
        ],
        "after": deep(depth, -0.02, "ReLU"),
    }
