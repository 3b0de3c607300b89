"""Tracing: how long it takes to turn the gradient of a long Python program into a graph, beside JAX.

    python benchmarks/tracing.py              # 1,000, 10,000 and 100,000 nodes
    python benchmarks/tracing.py --tiny       # 100 nodes: for the tests

Wengert stages `wg.jit(wg.grad(f)).lower(x).graph`; JAX makes `jax.make_jaxpr(jax.grad(f))(x)`. Both trace the function
anew each time (a new function object), and neither compiles anything. JAX is left out beyond 10,000 nodes, where it
takes minutes. Floor: running the same function on NumPy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import best_in_turns, duration, machine, optional, print_table, times

import wengert as wg

jax, jnp = optional("jax"), optional("jax.numpy")

Function = Callable[[Any], Any]
LIMIT = 1.0  # seconds that 10,000 nodes may take
LONGEST = 10_000  # nodes that JAX is given


def chain(m: Any, nodes: int) -> Function:
    """One step after the other on a single number: sine, and a product with the input."""

    def f(x: Any) -> Any:
        y = x
        for _ in range(nodes // 2):
            y = m.sin(y) * x
        return y

    return f


def wide(m: Any, nodes: int) -> Function:
    """Independent branches from one input, added up: as wide as it is long."""
    constants = np.linspace(0.5, 1.5, max(1, nodes // 3)).tolist()

    def f(x: Any) -> Any:
        total = 0.0
        for c in constants:
            total = total + m.tanh(x * c)
        return total

    return f


def layers(m: Any, nodes: int) -> Function:
    """A deep network on a matrix: product, sum with a bias, tanh; at the end the sum of all elements."""

    def f(w: Any) -> Any:
        h = w
        for _ in range(nodes // 3):
            h = m.tanh(h @ w + w)
        return m.sum(h)

    return f


PEERS = ("JAX", "NumPy forward")
PROGRAMS = {"chain": (chain, ()), "wide": (wide, ()), "layers": (layers, (4, 4))}


def staged(make: Callable[[Any, int], Function], nodes: int, x: Any) -> Any:
    return wg.jit(wg.grad(make(wg, nodes))).lower(x).graph


def contenders(
    make: Callable[[Any, int], Function], nodes: int, at: np.ndarray, peers: bool
) -> dict[str, Callable[[], Any]]:
    x = wg.asarray(at)
    result: dict[str, Callable[[], Any]] = {"Wengert": lambda: staged(make, nodes, x)}
    if peers and jax is not None and nodes <= LONGEST:
        point = jnp.asarray(at)
        result["JAX"] = lambda: jax.make_jaxpr(jax.grad(make(jnp, nodes)))(point)
    result["NumPy forward"] = lambda: make(np, nodes)(at)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="lengths of programs")
    parser.add_argument("--tiny", action="store_true", help="100 nodes, hardly any repetitions")
    parser.add_argument("--only", choices=["Wengert"], help="without JAX")
    options = parser.parse_args()
    lengths = [100] if options.tiny else options.nodes
    if jax is not None:
        jax.config.update("jax_enable_x64", True)
    print(machine(jax))
    if jax is None:
        print("not installed, so not measured: JAX")
    print("stage and differentiate, float64; ratio: time of a peer / time of Wengert (above 1: Wengert is faster)\n")
    rows, missed = [], []
    for name, (make, shape) in PROGRAMS.items():
        for nodes in lengths:
            at = np.full(shape, 0.3)
            calls = contenders(make, nodes, at, options.only is None)
            best = best_in_turns(calls, 0.01 if options.tiny else 3.0)
            made = len(staged(make, nodes, wg.asarray(at)).nodes)
            mine = best["Wengert"]
            ratios = [times(best[k] / mine) if k in best else "-" for k in PEERS]
            taken = [duration(best[k]) if k in best else "-" for k in ("Wengert", *PEERS)]
            rows.append([name, f"{nodes:,}", *ratios, *taken, duration(mine / nodes), f"{made:,}"])
            if best.get("JAX", mine) < mine or (nodes == 10_000 and mine >= LIMIT):
                missed.append(f"{name} of {nodes:,} nodes")
    header = ["program", "nodes", *(f"{k} / Wengert" for k in PEERS), "Wengert", *PEERS, "a node", "nodes of gradient"]
    print_table(header, rows)
    print(f"\nmissed (slower than JAX, or 10,000 nodes in over {duration(LIMIT)}): {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
