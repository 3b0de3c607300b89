"""Eager gradients of small programs: Wengert beside HIPS autograd, PyTorch and JAX, on the same lines of Python.

    python benchmarks/eager.py              # everything, about two minutes
    python benchmarks/eager.py --tiny       # each program once: for the tests
    python benchmarks/eager.py rnn softmax  # some programs

Every program is written once, over a module `m` with NumPy's names. Its inputs are float64 (for PyTorch, tensors),
its constants are arrays of the engine. Gradients are compared before anything is timed. Floor: the same program run
forward on plain NumPy; no engine of eager steps can be faster than that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import best_in_turns, duration, machine, optional, print_table, times

import wengert as wg

autograd, anp = optional("autograd"), optional("autograd.numpy")
torch = optional("torch")
jax, jnp = optional("jax"), optional("jax.numpy")

Program = tuple[Callable[..., Any], Any]  # the function and where to differentiate it


def chain(m: Any, array: Any) -> Program:
    """Twenty turns of sine and exponential on one number."""

    def f(x: Any) -> Any:
        y = x
        for _ in range(20):
            y = m.sin(y) * x + m.exp(-y * y)
        return y

    return f, 0.5


def horner(m: Any, array: Any) -> Program:
    """A polynomial of degree 30 by Horner's rule, with Python numbers for coefficients."""
    coefficients = [1 / (k + 1) for k in range(30)]

    def f(x: Any) -> Any:
        y = 0.0
        for c in coefficients:
            y = y * x + c
        return y

    return f, 0.7


def newton(m: Any, array: Any) -> Program:
    """Ten Newton steps towards a square root: multiplications and divisions."""

    def f(a: Any) -> Any:
        x = a
        for _ in range(10):
            x = 0.5 * (x + a / x)
        return x

    return f, 3.0


def mlp(m: Any, array: Any) -> Program:
    """A network of five equal tanh layers, 10 wide, on 5 examples; by its weight."""
    x, b = array(data(5, 10)), array(data(10))

    def f(w: Any) -> Any:
        h = x
        for _ in range(5):
            h = m.tanh(h @ w + b)
        return m.sum(h * h)

    return f, 0.3 * data(10, 10)


def logistic(m: Any, array: Any) -> Program:
    """Logistic loss on 50 examples of 20 features."""
    x = array(data(50, 20))

    def f(w: Any) -> Any:
        return m.sum(m.log(1 + m.exp(-(x @ w))))

    return f, data(20)


def logsumexp(m: Any, array: Any) -> Program:
    """`log Σ eˣ` of 100 numbers."""

    def f(x: Any) -> Any:
        return m.log(m.sum(m.exp(x)))

    return f, data(100)


def rosenbrock(m: Any, array: Any) -> Program:
    """Rosenbrock's function of 10 numbers, by slices."""

    def f(x: Any) -> Any:
        return m.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return f, data(10)


def rnn(m: Any, array: Any) -> Program:
    """A recurrent cell, 8 wide, over 20 steps; by its recurrent weight."""
    inputs = [array(v) for v in data(20, 8)]

    def f(w: Any) -> Any:
        h = inputs[0]
        for x in inputs:
            h = m.tanh(w @ h + x)
        return m.sum(h)

    return f, 0.3 * data(8, 8)


def ode(m: Any, array: Any) -> Program:
    """Ten midpoint steps of `y' = A·y`, 6 numbers; by `A`."""
    y0 = array(data(6))

    def f(a: Any) -> Any:
        y = y0
        for _ in range(10):
            y = y + 0.1 * (a @ (y + 0.05 * (a @ y)))
        return m.sum(y * y)

    return f, data(6, 6)


def softmax(m: Any, array: Any) -> Program:
    """Cross-entropy of a softmax of 30 numbers."""
    target = array(np.eye(30)[3])

    def f(x: Any) -> Any:
        e = m.exp(x)
        return -m.sum(target * m.log(e / m.sum(e)))

    return f, data(30)


def norm(m: Any, array: Any) -> Program:
    """The cosine of the angle between two vectors of 50."""
    b = array(data(50))

    def f(x: Any) -> Any:
        return m.sum(x * b) / m.sqrt(m.sum(x * x) * m.sum(b * b))

    return f, data(50)


PROGRAMS = (chain, horner, newton, mlp, logistic, logsumexp, rosenbrock, rnn, ode, softmax, norm)


def data(*shape: int) -> np.ndarray:
    """Random numbers, the same for every engine."""
    return np.random.default_rng(shape).standard_normal(shape)


def contenders(make: Callable[[Any, Any], Program], only: str | None) -> dict[str, Callable[[], Any]]:
    """The gradient of one program by every engine that is installed, and the floor."""
    f, at = make(wg, wg.asarray)
    g, x = wg.grad(f), at if isinstance(at, float) else wg.asarray(at)
    result = {"Wengert": lambda: g(x)}
    if anp is not None:
        hips = autograd.grad(make(anp, np.asarray)[0])
        result["autograd"] = lambda: hips(at)
    if torch is not None and only != "autograd":
        t = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        h = make(torch, torch.asarray)[0]
        result["PyTorch"] = lambda: torch.autograd.grad(h(t), t)[0]
    if jax is not None and only != "autograd":
        eager = jax.grad(make(jnp, jnp.asarray)[0])
        point = jnp.asarray(at)
        result["JAX"] = lambda: eager(point).block_until_ready()
    plain = make(np, np.asarray)[0]
    result["NumPy forward"] = lambda: plain(at)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help="names of programs; all by default")
    parser.add_argument("--tiny", action="store_true", help="hardly any repetitions")
    parser.add_argument("--only", choices=["autograd"], help="no other peer than this one")
    options = parser.parse_args()
    names = {p.__name__: p for p in PROGRAMS}
    if unknown := set(options.programs) - set(names):
        parser.error(f"no program called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if jax is not None:
        jax.config.update("jax_enable_x64", True)
    if torch is not None:
        torch.set_num_threads(1)  # its pool would only add noise to arrays this small
    print(machine(autograd, torch, jax))
    absent = [n for n, p in (("autograd", anp), ("PyTorch", torch), ("JAX", jax)) if p is None]
    if absent:
        print(f"not installed, so not measured: {', '.join(absent)}")
    print("time of a peer / time of Wengert (above 1: Wengert is faster), and the times; float64\n")
    rows, slower = [], []
    for name in options.programs or names:
        calls = contenders(names[name], options.only)
        compare(name, {k: v for k, v in calls.items() if k != "NumPy forward"})
        best = best_in_turns(calls, 0.002 if options.tiny else 1.0)
        mine = best["Wengert"]
        peers = [k for k in calls if k != "Wengert"]
        rows.append([name, *(times(best[k] / mine) for k in peers), *(duration(best[k]) for k in calls)])
        if best.get("autograd", mine) < mine:
            slower.append(name)
    print_table(["program", *(f"{k} / Wengert" for k in peers), *calls], rows)
    if anp is not None:
        print(f"\nfaster than autograd: {len(rows) - len(slower)} of {len(rows)}", *slower and ["slower:", *slower])


def compare(name: str, calls: dict[str, Callable[[], Any]]) -> None:
    """Stop where engines disagree about a gradient: what is not the same work is not compared."""
    mine = np.asarray(calls["Wengert"]())
    for peer, call in calls.items():
        if not np.allclose(mine, np.asarray(call()), rtol=1e-9, atol=1e-12):
            sys.exit(f"{name}: the gradients of Wengert and {peer} differ")


if __name__ == "__main__":
    main()
