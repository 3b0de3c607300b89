"""What it costs to call a compiled program that does next to nothing, beside JAX.

    python benchmarks/calls.py            # some seconds
    python benchmarks/calls.py --tiny     # hardly any repetitions: for the tests

Every array has four numbers, so the time is that of the call: looking at the arguments, starting the program, making
the results. JAX gets its own arrays, is waited for, and with `donated` may write over its arguments too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import best_in_turns, duration, machine, optional, print_table, times

import wengert as wg
from wengert import nn, optim, tree

jax = optional("jax")
x = np.arange(4, dtype=np.float32)
LAYERS = [[x + k, x - k] for k in range(100)]


class Again:
    """A function of a tree and an array, called with its own first result again and again."""

    def __init__(self, f: Callable[..., Any], state: Any, data: Any, wait: Callable[[Any], Any] = lambda out: out):
        self.f, self.state, self.data, self.wait = f, state, data, wait

    def __call__(self) -> None:
        self.state, _ = self.wait(self.f(self.state, self.data))


def same(state: Any, data: Any) -> Any:
    return state, data


def descent(map_: Any) -> Callable[..., Any]:
    return lambda state, data: (map_(lambda p: p - 0.001 * data, state), data)


ROWS: dict[str, tuple[Callable[[Any], Any], Any, bool]] = {
    "one array in, one out": (lambda map_: same, x, False),
    "a list of 3 pairs, updated": (descent, LAYERS[:3], False),
    "a list of 100 pairs, updated": (descent, LAYERS, False),
    "a list of 100 pairs, updated, donated": (descent, LAYERS, True),
}


def contenders(make: Callable[[Any], Any], state: Any, donated: bool, peers: bool) -> dict[str, Again]:
    give = (0,) if donated else ()
    mine = wg.jit(make(tree.map), executor="native", donate_argnums=give)
    found = {"Wengert": Again(mine, tree.map(lambda v: wg.asarray(np.array(v)), state), wg.asarray(x))}
    if jax is not None and peers:
        theirs = jax.jit(make(jax.tree.map), donate_argnums=give)
        start = jax.tree.map(jax.numpy.array, state)
        found["JAX"] = Again(theirs, start, jax.numpy.asarray(x), jax.block_until_ready)
    return found


def module_step() -> Callable[[], Any]:
    """A training step of 25 linear layers with AdamW: 49 modules, 150 arrays assigned."""
    layers = [part for _ in range(24) for part in (nn.Linear(4, 4), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(4, 4))
    optimizer = optim.AdamW(model, learning_rate=1e-3)

    def train_step(model: Any, optimizer: Any, data: Any) -> Any:
        loss, grads = wg.value_and_grad(lambda m: wg.mean(wg.square(m(data))))(model)
        optimizer.update(model, grads)
        return loss

    step = wg.jit(train_step, executor="native")
    data = np.ones((2, 4), np.float32)
    return lambda: step(model, optimizer, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="hardly any repetitions, no peers")
    options = parser.parse_args()
    budget = 0.01 if options.tiny else 2.0
    print(machine(jax), "\n")
    rows = []
    for title, (make, state, donated) in ROWS.items():
        calls = contenders(make, state, donated, not options.tiny)
        for call in calls.values():
            for _ in range(3):
                call()
        best = best_in_turns(calls, budget)
        ratio = times(best["JAX"] / best["Wengert"]) if "JAX" in best else ""
        rows.append([title, duration(best["Wengert"]), duration(best["JAX"]) if ratio else "", ratio])
    step = module_step()
    for _ in range(3):
        step()
    best = best_in_turns({"Wengert": step}, budget)
    rows.append(["a model of 49 modules and AdamW, trained", duration(best["Wengert"]), "", ""])
    print_table(["call", "Wengert", "JAX", "JAX / Wengert"], rows)


if __name__ == "__main__":
    main()
