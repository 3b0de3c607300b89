"""Scalar and array programs outside deep learning: primal and gradient, natively, beside JAX and a plain C translation.

    python benchmarks/programs.py                # everything, some minutes
    python benchmarks/programs.py --tiny         # each program once at its least size, without JAX: for the tests
    python benchmarks/programs.py ode lorenz     # some programs

Everything is float64. Programs are written once for Wengert and JAX, over their common names, and once more in C
(compiled by the system's `cc -O3 -march=native`, where there is one; no reordering of sums, no vector mathematics; one
thread). Values are compared before anything is timed, gradients with JAX's. Floor: the C primal; no gradient of it can
be much faster.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from inside import made_of
from timing import best_in_turns, duration, machine, optional, print_table, seconds, times

import wengert as wg

jax, jnp = optional("jax"), optional("jax.numpy")


class Case(NamedTuple):
    """A function of its first argument (arrays in a tuple) and of data, and what the C translation is called with."""

    f: Callable[..., Any]  # (engine, x, *data)
    x: tuple[np.ndarray, ...]
    data: tuple[np.ndarray, ...] = ()
    numbers: tuple[int, ...] = ()  # sizes, for C
    hessian: bool = False  # whether there is a second row, whose derivative is the gradient and the Hessian's diagonal


WENGERT = SimpleNamespace(
    np=wg, scan=wg.scan, while_loop=wg.while_loop, logsumexp=wg.logsumexp, grad=wg.grad, derivative=wg.jacobian,
    along=wg.hvp,
)  # fmt: skip
if jax is not None:
    JAX = SimpleNamespace(
        np=jnp, scan=jax.lax.scan, while_loop=jax.lax.while_loop, logsumexp=jax.nn.logsumexp, grad=jax.grad,
        derivative=jax.jacfwd,  # JAX has no reverse mode through a while loop
        along=lambda f, x, t: jax.jvp(jax.grad(f), x, t)[1],
    )  # fmt: skip

RNG = np.random.default_rng(0)
normal = RNG.standard_normal

SOURCE = r"""
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double log_sum_exp(const double *x, long n) {
  double top = x[0], sum = 0;
  for (long i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
  for (long i = 0; i < n; i++) sum += exp(x[i] - top);
  return log(sum) + top;
}

double logsumexp(const double *x, long n) { return log_sum_exp(x, n); }

static void van_der_pol(double mu, double x, double v, double *dx, double *dv) {
  *dx = v;
  *dv = mu * (1 - x * x) * v - x;
}

double ode(const double *p, long steps) {
  double mu = p[0], x = p[1], v = p[2], h = 0.01, a, b, c, d, e, f, g, k;
  for (long t = 0; t < steps; t++) {
    van_der_pol(mu, x, v, &a, &b);
    van_der_pol(mu, x + h / 2 * a, v + h / 2 * b, &c, &d);
    van_der_pol(mu, x + h / 2 * c, v + h / 2 * d, &e, &f);
    van_der_pol(mu, x + h * e, v + h * f, &g, &k);
    x += h / 6 * (a + 2 * c + 2 * e + g);
    v += h / 6 * (b + 2 * d + 2 * f + k);
  }
  return x * x + v * v;
}

double gmm(const double *alpha, const double *mean, const double *q, const double *low, const double *x,
           long n, long d, long k) {
  double total = 0, *z = malloc(k * sizeof(double)), *c = malloc(d * sizeof(double));
  double *e = malloc(k * d * sizeof(double)), *s = calloc(k, sizeof(double));
  for (long j = 0; j < k * d; j++) e[j] = exp(q[j]), s[j / d] += q[j];
  for (long i = 0; i < n; i++) {
    for (long j = 0; j < k; j++) {
      double norm = 0;
      for (long a = 0; a < d; a++) c[a] = x[i * d + a] - mean[j * d + a];
      for (long a = 0; a < d; a++) {
        double y = e[j * d + a] * c[a];
        for (long b = 0; b < a; b++) y += low[(j * d + a) * d + b] * c[b];
        norm += y * y;
      }
      z[j] = alpha[j] + s[j] - 0.5 * norm;
    }
    total += log_sum_exp(z, k);
  }
  total -= n * log_sum_exp(alpha, k);
  for (long j = 0; j < k * d; j++) {
    total += 0.5 * e[j] * e[j];
    for (long b = 0; b < j % d; b++) total += 0.5 * low[j * d + b] * low[j * d + b];
  }
  free(z), free(c), free(e), free(s);
  return total;
}

double kmeans(const double *centre, const double *x, long n, long d, long k) {
  double total = 0;
  for (long i = 0; i < n; i++) {
    double best = INFINITY;
    for (long j = 0; j < k; j++) {
      double sum = 0;
      for (long a = 0; a < d; a++) {
        double t = x[i * d + a] - centre[j * d + a];
        sum += t * t;
      }
      best = sum < best ? sum : best;
    }
    total += best;
  }
  return total;
}

double polynomial(const double *c, const double *x, const double *y, long n, long terms) {
  double total = 0;
  for (long i = 0; i < n; i++) {
    double p = 0;
    for (long k = 0; k < terms; k++) p = p * x[i] + c[k];
    total += (p - y[i]) * (p - y[i]);
  }
  return total / n;
}

static void lorenz96(const double *x, double *out, long n) {
  out[0] = (x[1] - x[n - 2]) * x[n - 1] - x[0] + 8;
  out[1] = (x[2] - x[n - 1]) * x[0] - x[1] + 8;
  for (long i = 2; i < n - 1; i++) out[i] = (x[i + 1] - x[i - 2]) * x[i - 1] - x[i] + 8;
  out[n - 1] = (x[0] - x[n - 3]) * x[n - 2] - x[n - 1] + 8;
}

double lorenz(const double *start, long n, long steps) {
  double h = 0.005, total = 0, *m = malloc(6 * n * sizeof(double));
  double *x = m, *y = m + n, *k1 = m + 2 * n, *k2 = m + 3 * n, *k3 = m + 4 * n, *k4 = m + 5 * n;
  memcpy(x, start, n * sizeof(double));
  for (long t = 0; t < steps; t++) {
    lorenz96(x, k1, n);
    for (long i = 0; i < n; i++) y[i] = x[i] + h / 2 * k1[i];
    lorenz96(y, k2, n);
    for (long i = 0; i < n; i++) y[i] = x[i] + h / 2 * k2[i];
    lorenz96(y, k3, n);
    for (long i = 0; i < n; i++) y[i] = x[i] + h * k3[i];
    lorenz96(y, k4, n);
    for (long i = 0; i < n; i++) x[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
  }
  for (long i = 0; i < n; i++) total += x[i] * x[i];
  free(m);
  return total;
}

/* the root of x^3 + a x = 1 and, carried along, its derivative by a */
static void root(double a, double *x, double *dx) {
  *x = 1, *dx = 0;
  while (fabs(*x * *x * *x + a * *x - 1) > 1e-12) {
    double f = *x * *x * *x + a * *x - 1, s = 3 * *x * *x + a;
    double df = s * *dx + *x, ds = 6 * *x * *dx + 1;
    *dx -= (df * s - f * ds) / (s * s);
    *x -= f / s;
  }
}

double newton(const double *start, long steps) {
  double a = *start, x, dx;
  for (long t = 0; t < steps; t++) {
    root(a, &x, &dx);
    a -= 0.5 * 2 * (x - 0.5) * dx;
  }
  root(a, &x, &dx);
  return (x - 0.5) * (x - 0.5);
}
"""


def logsumexp(n: int) -> Case:
    return Case(lambda e, x: e.logsumexp(x[0]), (normal(n),), numbers=(n,))


def ode(steps: int) -> Case:
    """The van der Pol oscillator by the classical Runge-Kutta method: two numbers a step."""

    def slope(mu: Any, x: Any, v: Any) -> Any:
        return v, mu * (1 - x * x) * v - x

    def f(e: Any, p: Any) -> Any:
        mu, h = p[0][0], 0.01

        def step(state: Any, _: Any) -> Any:
            x, v = state
            a, b = slope(mu, x, v)
            c, d = slope(mu, x + h / 2 * a, v + h / 2 * b)
            k, l = slope(mu, x + h / 2 * c, v + h / 2 * d)
            m, n = slope(mu, x + h * k, v + h * l)
            return (x + h / 6 * (a + 2 * c + 2 * k + m), v + h / 6 * (b + 2 * d + 2 * l + n)), None

        x, v = e.scan(step, (p[0][1], p[0][2]), None, length=steps)[0]
        return x * x + v * v

    return Case(f, (np.array([1.5, 1.0, 0.5]),), numbers=(steps,))


def gmm(size: tuple[int, int]) -> Case:
    """The logarithm of a Gaussian mixture's posterior, by inverse Cholesky factors of the covariances.

    Srajer et al. 2018, *A benchmark of selected algorithmic differentiation tools on some problems in computer vision
    and machine learning* (arXiv 1807.10129), without the constants.
    """
    (d, k), n = size, 1000

    def f(e: Any, params: Any, x: Any) -> Any:
        (alpha, mean, q, low), m = params, e.np
        low, scale = m.tril(low, k=-1), m.exp(q)
        centred = x[:, None, :] - mean  # n, k, d
        y = scale * centred + m.einsum("kij,nkj->nki", low, centred)
        inner = alpha + m.sum(q, axis=1) - 0.5 * m.sum(y * y, axis=2)
        prior = 0.5 * (m.sum(scale * scale) + m.sum(low * low))
        return m.sum(e.logsumexp(inner, axis=1)) - n * e.logsumexp(alpha) + prior

    x = (normal(k), normal((k, d)), 0.1 * normal((k, d)), 0.3 * normal((k, d, d)))
    return Case(f, x, (normal((n, d)),), (n, d, k))


def kmeans(size: tuple[int, int]) -> Case:
    """The cost of k-means clustering; in a row of its own, the gradient together with the Hessian's diagonal."""
    (d, k), n = size, 10_000

    def f(e: Any, c: Any, x: Any) -> Any:
        apart = x[:, None, :] - c[0]
        return e.np.sum(e.np.min(e.np.sum(apart * apart, axis=2), axis=1))

    return Case(f, (normal((k, d)),), (normal((n, d)),), (n, d, k), hessian=True)


def polynomial(n: int) -> Case:
    """Least squares of a polynomial of degree 7, by Horner's rule."""

    def f(e: Any, c: Any, x: Any, y: Any) -> Any:
        p = 0 * x
        for k in range(8):
            p = p * x + c[0][k]
        return e.np.mean((p - y) * (p - y))

    x = RNG.uniform(-1, 1, n)
    return Case(f, (normal(8),), (x, np.sin(3 * x)), (n, 8))


def lorenz(n: int) -> Case:
    """Lorenz's model of 1996, 1,000 Runge-Kutta steps; by the initial state."""

    def f(e: Any, start: Any) -> Any:
        m, h = e.np, 0.005

        def slope(x: Any) -> Any:
            return (m.roll(x, -1) - m.roll(x, 2)) * m.roll(x, 1) - x + 8.0

        def step(x: Any, _: Any) -> Any:
            k1 = slope(x)
            k2 = slope(x + h / 2 * k1)
            k3 = slope(x + h / 2 * k2)
            k4 = slope(x + h * k3)
            return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        x = e.scan(step, start[0], None, length=1000)[0]
        return m.sum(x * x)

    return Case(f, (8 + 0.1 * normal(n),), numbers=(n, 1000))


def newton(steps: int) -> Case:
    """Gradient descent through Newton's iteration for the root of `x³ + a·x = 1`: nested derivatives."""

    def f(e: Any, start: Any) -> Any:
        def residual(x: Any, a: Any) -> Any:
            return x * x * x + a * x - 1.0

        def cost(a: Any) -> Any:
            one = a * 0.0 + 1.0
            root = e.while_loop(
                lambda x: e.np.abs(residual(x, a)) > 1e-12, lambda x: x - residual(x, a) / (3.0 * x * x + a), one
            )
            return (root - 0.5) * (root - 0.5)

        return cost(e.scan(lambda a, _: (a - 0.5 * e.derivative(cost)(a), None), start[0], None, length=steps)[0])

    return Case(f, (np.array(1.0),), numbers=(steps,))


PROGRAMS: dict[str, tuple[Callable[[Any], Case], list[Any]]] = {
    "logsumexp": (logsumexp, [10**3, 10**4, 10**5, 10**6]),
    "ode": (ode, [10, 1000, 100_000]),
    "gmm": (gmm, [(2, 5), (10, 10), (32, 25)]),
    "kmeans": (kmeans, [(2, 5), (8, 10)]),
    "polynomial": (polynomial, [1000, 100_000]),
    "lorenz": (lorenz, [40, 400, 4000]),
    "newton": (newton, [10, 100]),
}


def functions(e: Any, jit: Callable[..., Any], case: Case, data: Any) -> tuple[Any, Any]:
    """The primal and its derivatives, as compiled functions of x."""

    def f(x: Any) -> Any:
        return case.f(e, x, *data)

    def derivatives(x: Any) -> Any:
        if not case.hessian:
            return e.grad(f)(x)
        return e.grad(f)(x), e.along(f, (x,), (tuple(a * 0 + 1 for a in x),))

    # JAX differentiates a loop around a while loop in forward mode only
    if case.f.__qualname__.startswith("newton"):
        return jit(f), jit(lambda x: (e.derivative(lambda a: f((a,)))(x[0]),))
    return jit(f), jit(derivatives)


def c_library(folder: str) -> ctypes.CDLL | None:
    """The translations, compiled; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = Path(folder, "programs.c"), Path(folder, "programs.so")
    source.write_text(SOURCE, encoding="utf-8")
    options = ["-O3", "-march=native", "-shared", "-fPIC"]
    done = subprocess.run([compiler, *options, "-o", library, source, "-lm"], check=False)
    return ctypes.CDLL(str(library)) if done.returncode == 0 else None


def c_call(library: ctypes.CDLL, name: str, case: Case) -> Callable[[], float]:
    function = getattr(library, name)
    function.restype = ctypes.c_double
    args: list[Any] = [ctypes.c_void_p(a.ctypes.data) for a in (*case.x, *case.data)]
    args += [ctypes.c_long(n) for n in case.numbers]
    return lambda: function(*args)


def leaves(v: Any) -> np.ndarray:
    return np.concatenate([leaves(p) for p in v]) if isinstance(v, tuple) else np.ravel(np.asarray(v))


def measure(
    name: str, case: Case, library: ctypes.CDLL | None, peers: bool, budget: float
) -> tuple[list[str], str, list[str]]:
    """A row of times, what the native gradient is made of, and a row of first calls."""
    x, data = tuple(wg.asarray(a) for a in case.x), tuple(wg.asarray(a) for a in case.data)
    primal, gradient = functions(WENGERT, lambda f: wg.jit(f, executor="native"), case, data)
    first = [seconds(lambda: primal(x)), seconds(lambda: gradient(x))]
    calls: dict[str, Callable[[], Any]] = {"primal": lambda: primal(x), "gradient": lambda: gradient(x)}
    values = {"Wengert": float(primal(x))}
    if peers and jax is not None:
        jx, jdata = jax.tree.map(jnp.asarray, (case.x, case.data))
        jprimal, jgradient = functions(JAX, jax.jit, case, jdata)
        calls["JAX primal"] = lambda: jprimal(jx).block_until_ready()
        calls["JAX gradient"] = lambda: jax.block_until_ready(jgradient(jx))
        first += [seconds(calls["JAX primal"]), seconds(calls["JAX gradient"])]
        values["JAX"] = float(jprimal(jx))
        mine, theirs = leaves(gradient(x)), leaves(jgradient(jx))
        apart = np.linalg.norm(mine - theirs) / np.linalg.norm(mine)
        if not apart < 1e-6:
            sys.exit(f"{name}: the gradients of Wengert and JAX differ by {apart}")
    if library is not None:
        calls["C"] = c_call(library, name, case)
        values["C"] = calls["C"]()
    for peer, value in values.items():
        if not np.isclose(value, values["Wengert"], rtol=1e-8):
            sys.exit(f"{name}: the values of Wengert and {peer} differ: {values}")
    best = best_in_turns(calls, budget)

    def ratio(a: str, b: str) -> str:
        return times(best[a] / best[b]) if a in best and b in best else "-"

    ratios = [ratio("gradient", "primal"), ratio("JAX primal", "primal"), ratio("JAX gradient", "gradient")]
    ratios += [ratio("primal", "C"), ratio("gradient", "C")]
    cells = [duration(best[k]) if k in best else "-" for k in ("primal", "gradient", "JAX primal", "JAX gradient", "C")]
    return ratios + cells, made_of(gradient, x), [duration(t) for t in first]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help=f"some of {', '.join(PROGRAMS)}; all by default")
    parser.add_argument("--tiny", action="store_true", help="least sizes, hardly any repetitions, without JAX")
    parser.add_argument("--budget", type=float, default=0.7, help="seconds for each call on each row")
    options = parser.parse_args()
    if unknown := set(options.programs) - set(PROGRAMS):
        parser.error(f"no program called {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    peers = not options.tiny and jax is not None
    if peers:
        jax.config.update("jax_enable_x64", True)
    os.environ["WENGERT_CACHE_DIR"] = "0"  # first calls compile
    print(machine(jax if peers else None))
    rows, insides, firsts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        library = c_library(folder)
        for name in options.programs or PROGRAMS:
            make, sizes = PROGRAMS[name]
            for size in sizes[:1] if options.tiny else sizes:
                label = f"{name} {size:,}" if isinstance(size, int) else f"{name} d {size[0]}, k {size[1]}"
                case, budget = make(size), 0.005 if options.tiny else options.budget
                for also in (False, True)[: 1 + case.hessian]:
                    row, inside, first = measure(name, case._replace(hessian=also), library, peers, budget)
                    full = f"{label} + Hessian diagonal" if also else label
                    rows.append([full, *row])
                    insides.append([full, inside])
                    firsts.append([full, *first])
                    print(full, *row, file=sys.stderr)
    print("float64; the ratios to JAX: time of JAX / time of Wengert (above 1: Wengert is faster)\n")
    ratios = ["gradient / primal", "JAX / primal", "JAX / gradient", "primal / C", "gradient / C"]
    print_table(["program", *ratios, "primal", "gradient", "JAX primal", "JAX gradient", "C primal"], rows)
    print("\nThe first call: trace, differentiate, compile, run\n")
    names = ["primal", "gradient", *(["JAX primal", "JAX gradient"] if peers else [])]
    print_table(["program", *names], firsts)
    print("\nStatements of the native gradient\n")
    print_table(["program", "statements"], insides)


if __name__ == "__main__":
    main()
