"""Convolutions and their two adjoints, float32: the native executor beside PyTorch, layer by layer.

    python benchmarks/conv.py                 # every layer; `taskset -c 0 python …` compares them on one core
    python benchmarks/conv.py --only '3×3'    # those whose name contains it
    python benchmarks/conv.py --tiny          # one small layer, hardly any repetitions: for the tests

GFLOP/s count what the direct sum needs, padding included, so that minimal filtering may exceed the machine's peak.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from peak import peak_flops
from timing import best_in_turns, machine, optional, print_table

import wengert as wg

torch = optional("torch")


class Layer(NamedTuple):
    batch: int
    inputs: int
    outputs: int
    side: int
    taps: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def places(self) -> int:
        return (self.side + 2 * self.padding - self.taps) // self.stride + 1

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.inputs // self.groups * self.outputs * self.places**2 * self.taps**2


LAYERS = {
    "3×3, 32 → 32, 32×32, batch 32": Layer(32, 32, 32, 32, 3, 1, 1),
    "3×3, 64 → 64, 28×28": Layer(8, 64, 64, 28, 3, 1, 1),
    "3×3, 128 → 128, 14×14": Layer(8, 128, 128, 14, 3, 1, 1),
    "3×3, 256 → 256, 14×14": Layer(8, 256, 256, 14, 3, 1, 1),
    "3×3, 512 → 512, 7×7": Layer(8, 512, 512, 7, 3, 1, 1),
    "3×3 by 2, 64 → 128, 28×28": Layer(8, 64, 128, 28, 3, 2, 1),
    "7×7 by 2, 3 → 64, 112×112": Layer(8, 3, 64, 112, 7, 2, 3),
    "1×1, 64 → 256, 28×28": Layer(8, 64, 256, 28, 1),
    "1×1, 256 → 64, 28×28": Layer(8, 256, 64, 28, 1),
    "3×3, 128 groups, 28×28": Layer(8, 128, 128, 28, 3, 1, 1, 128),
    "3×3, 64 → 64 in 4 groups, 28×28": Layer(8, 64, 64, 28, 3, 1, 1, 4),
    "5×5, 1 → 32, 28×28, batch 32": Layer(32, 1, 32, 28, 5),
}
TINY = {"3×3, 8 → 16, 8×8": Layer(2, 8, 16, 8, 3, 1, 1)}


def native(layer: Layer) -> dict[str, Callable[..., Any]]:
    def conv(x: Any, kernel: Any) -> Any:
        padding = ((layer.padding,) * 2,) * 2
        return wg.conv(x, kernel, stride=layer.stride, padding=padding, groups=layer.groups)

    return {
        "forward": wg.jit(lambda x, k, ct: conv(x, k), executor="native"),
        "by x": wg.jit(lambda x, k, ct: wg.vjp(lambda x: conv(x, k), x)[1](ct), executor="native"),
        "by kernel": wg.jit(lambda x, k, ct: wg.vjp(lambda k: conv(x, k), k)[1](ct), executor="native"),
    }


def peer(layer: Layer) -> dict[str, Callable[..., Any]]:
    assert torch is not None
    stride, padding = [layer.stride] * 2, [layer.padding] * 2

    def adjoint(*wanted: bool) -> Callable[..., Any]:
        return lambda x, k, ct: torch.ops.aten.convolution_backward(  # type: ignore[union-attr]
            ct, x, k, None, stride, padding, [1, 1], False, [0, 0], layer.groups, list(wanted)
        )

    def forward(x: Any, k: Any, ct: Any) -> Any:
        return torch.nn.functional.conv2d(  # type: ignore[union-attr]
            x, k, stride=layer.stride, padding=layer.padding, groups=layer.groups
        )

    return {"forward": forward, "by x": adjoint(True, False, False), "by kernel": adjoint(False, True, False)}


def compare(layer: Layer, budget: float) -> list[str]:
    """GFLOP/s and the ratio to PyTorch, for the convolution and its adjoints; results are compared first."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((layer.batch, layer.inputs, layer.side, layer.side), np.float32)
    k = rng.standard_normal((layer.outputs, layer.inputs // layer.groups, layer.taps, layer.taps), np.float32)
    ct = rng.standard_normal((layer.batch, layer.outputs, layer.places, layer.places), np.float32)
    mine = native(layer)
    theirs = peer(layer) if torch is not None else {}
    cells = []
    for name, f in mine.items():
        args = tuple(map(wg.asarray, (x, k, ct)))
        calls = {"wengert": lambda f=f, args=args: f(*args)}
        if torch is not None:
            given, g = tuple(map(torch.from_numpy, (x, k, ct))), theirs[name]
            calls["torch"] = lambda g=g, given=given: g(*given)
            expected = g(*given)
            expected = next(r for r in expected if r is not None) if isinstance(expected, tuple) else expected
            result, expected = np.asarray(f(*args)), expected.numpy()
            if np.linalg.norm(result - expected) > 1e-4 * np.linalg.norm(expected):
                raise SystemExit(f"{layer}, {name}: results differ")
        best = best_in_turns(calls, budget)
        cells.append(f"{layer.flops / best['wengert'] / 1e9:.0f}")
        cells.append(f"{best['torch'] / best['wengert']:.2f}×" if torch is not None else "")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a layer's name")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds for each measurement")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    print(machine())
    print(f"measured peak: {peak_flops(tries=3 if options.tiny else 20) / 1e9:.0f} GFLOP/s\n")
    layers = TINY if options.tiny else {name: layer for name, layer in LAYERS.items() if options.only in name}
    head = ["layer (batch 8)"]
    for name in ("forward", "by x", "by kernel"):
        head += [f"{name}, GFLOP/s", "PyTorch / Wengert"]
    print_table(
        head, [[name, *compare(layer, 0.001 if options.tiny else options.budget)] for name, layer in layers.items()]
    )


if __name__ == "__main__":
    main()
