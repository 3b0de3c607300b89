"""A tour of the engine: the graph of a small function, its derivative by both modes, and a picture of it.

Run it with `make demo`, or `python examples/tour.py [folder]`; the pictures go to `out/` or to the folder given.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import wengert as wg


def chapter(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}\n{'-' * len(title)}")


def loss_fn(w, v, x, y):
    """A neuron with a shortcut around it, and its squared error."""
    h = wg.tanh(w * x)
    out = x + v * h
    loss = (out - y) ** 2
    return loss


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    at = (0.5, -1.2, 2.0, 1.0)

    chapter("A function, its value and its gradient")
    value, gradient = wg.value_and_grad(loss_fn, (0, 1, 2))(*at)
    print(f"loss = {float(value):.6g},  by w, v, x: {', '.join(f'{float(g):.6g}' for g in gradient)}")

    chapter("The derivative is the same graph with a local derivative on each edge")
    graph = wg.graph(loss_fn)(*at)
    derivative = graph.derivative()
    print(derivative)

    chapter("x reaches the loss by two paths: through the neuron, and past it")
    print(graph.paths("loss", "x"))

    chapter("Forward mode pushes a tangent along the edges, reverse mode pulls a cotangent back")
    rng = np.random.default_rng(0)
    weights, point, tangent, cotangent = rng.normal(size=(5, 3)), *rng.normal(size=(2, 3)), rng.normal(size=5)

    def layer(z):
        return wg.tanh(weights @ z)

    _, pushed = wg.jvp(layer, (point,), (tangent,))
    _, pullback = wg.vjp(layer, point)
    print(f"⟨u, J·t⟩  = {float(wg.vecdot(cotangent, pushed)):.15f}")
    print(f"⟨Jᵀ·u, t⟩ = {float(wg.vecdot(pullback(cotangent)[0], tangent)):.15f}")

    chapter("A Jacobian takes the cheapest way, and says why")
    narrow, wide = rng.normal(size=(10, 1000)) / 30, rng.normal(size=(1000, 10))
    print(wg.explain(wg.jacobian(lambda z: wg.sin(wide @ wg.tanh(narrow @ z))))(rng.normal(size=1000)))

    chapter("Loops of unknown length differentiate in reverse, too")

    def square_root(a):
        return wg.while_loop(lambda z: wg.abs(z * z - a) > 1e-12, lambda z: (z + a / z) / 2, a)

    print(f"√2 by Newton's iteration: {float(square_root(2.0)):.12f}")
    print(f"its derivative:           {float(wg.grad(square_root)(2.0)):.12f}  (1/(2√2) = {0.5 / 2**0.5:.12f})")

    chapter("What is masked out does not poison a gradient")
    print("d/dx where(x > 0, log x, 0) at 0:", float(wg.grad(lambda z: wg.where(z > 0, wg.log(z), 0.0))(0.0)))

    chapter("Paths are counted exactly, however many there are")

    def deep(z):
        for _ in range(333):
            z = z + 0.01 * wg.sin(z)
        return z

    count = wg.graph(deep)(0.1).count_paths("out", "z")
    print(f"333 shortcuts in a row: {count:.3e} paths; the gradient is one walk: {float(wg.grad(deep)(0.1)):.6g}")

    for name in ("tour.svg", "tour.html"):
        derivative.save(str(folder / name))
    print(f"\nPictures: {folder / 'tour.svg'}, and to step through: {folder / 'tour.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
