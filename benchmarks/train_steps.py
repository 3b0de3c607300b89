"""One whole training step (forward, backward, SGD update) in float32: the native executor beside PyTorch and JAX.

    python benchmarks/train_steps.py                  # everything, some minutes (most of them torch.compile's)
    python benchmarks/train_steps.py --no-compile     # without torch.compile
    python benchmarks/train_steps.py --tiny           # small shapes, hardly any repetitions, no peers: for the tests
    python benchmarks/train_steps.py mlp lstm         # some rows

Every engine gets the same numbers and runs what its users would run: Wengert and JAX plain functions under `jit`,
PyTorch its fused functions (linear, lstm, attention, cross-entropy) and an update in place. Parameters come back and
go into the next call; those of "Wengert, nn" belong to `nn` modules and are updated in place by `optim.SGD`. Losses and
gradients are compared before anything is timed. PyTorch (unless it says otherwise) and JAX use every core. Floor: flops
of products and convolutions over the measured peak of the same cores. `taskset -c 0 python …` compares on one core.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import networks
import numpy as np
from inside import made_of
from networks import Network, NetworkStep
from peak import peak_flops
from timing import best_in_turns, duration, machine, optional, print_table, seconds, times

import wengert as wg
from wengert import nn, tree

torch, jax = optional("torch"), optional("jax")

RATE = 1e-4  # of learning, while timed: steps follow each other without going far
AGREE = 1e-4  # of two gradients in float32: ‖difference‖ / ‖gradient‖
HEADS = 4
CORES = torch.get_num_threads() if torch is not None else 1

# What each engine calls the same thing


def array_engine(m: Any, **own: Any) -> SimpleNamespace:
    """Wengert and JAX, which write alike over a module with NumPy's names."""

    def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
        centred = x - m.mean(x, axis=-1, keepdims=True)
        return centred / m.sqrt(m.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * scale + shift

    def attention(q: Any, k: Any, v: Any) -> Any:
        return e.softmax(q @ m.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), axis=-1) @ v

    def lstm(x: Any, w: Any, u: Any, b: Any) -> Any:
        size = u.shape[0]

        def cell(carry: Any, pre: Any) -> Any:
            h, c = carry
            z = pre + h @ u
            i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
            c = e.sigmoid(f) * c + e.sigmoid(i) * m.tanh(g)
            return (e.sigmoid(o) * m.tanh(c), c), None

        start = m.zeros((x.shape[1], size), dtype=x.dtype)
        return e.scan(cell, (start, start), x @ w + b)[0][0]

    def cross_entropy(z: Any, y: Any) -> Any:
        return -m.mean(m.sum(e.one_hot(y, z.shape[-1]) * e.log_softmax(z, axis=-1), axis=-1))

    e = SimpleNamespace(
        linear=lambda x, w, b: x @ w + b, relu=lambda x: m.maximum(x, 0), tanh=m.tanh, mean=m.mean,
        transpose=m.permute_dims, layer_norm=layer_norm, attention=attention, lstm=lstm, cross_entropy=cross_entropy,
        **own,
    )  # fmt: skip
    return e


def wengert_engine() -> SimpleNamespace:
    return array_engine(
        wg, softmax=wg.softmax, log_softmax=wg.log_softmax, one_hot=wg.one_hot, sigmoid=wg.expit, scan=wg.scan,
        gelu=lambda x: 0.5 * x * (1 + wg.erf(x * 0.5**0.5)), conv=lambda x, k: wg.conv(x, k, padding="same"),
    )  # fmt: skip


def jax_engine() -> SimpleNamespace:
    j, lax = jax.nn, jax.lax
    return array_engine(
        optional("jax.numpy"), softmax=j.softmax, log_softmax=j.log_softmax, one_hot=j.one_hot, sigmoid=j.sigmoid,
        scan=lax.scan, gelu=lambda x: j.gelu(x, approximate=False),
        conv=lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "SAME"),
    )  # fmt: skip


def torch_engine() -> SimpleNamespace:
    f = torch.nn.functional

    def lstm(x: Any, w: Any, u: Any, b: Any) -> Any:
        start = torch.zeros(1, x.shape[1], u.shape[0])
        weights = [w.T, u.T, b, torch.zeros_like(b)]
        return torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, False)[1][0]

    return SimpleNamespace(
        linear=lambda x, w, b: f.linear(x, w.T, b), relu=torch.relu, tanh=torch.tanh, mean=torch.mean, gelu=f.gelu,
        transpose=torch.permute, layer_norm=lambda x, s, t: f.layer_norm(x, s.shape, s, t),
        lstm=torch.compiler.disable(lstm),  # as `nn.LSTM` does: the fused cell fails under torch.compile
        attention=f.scaled_dot_product_attention, conv=lambda x, k: f.conv2d(x, k, padding="same"),
        cross_entropy=f.cross_entropy,
    )  # fmt: skip


# The work


class Work(NamedTuple):
    """A loss of parameters and two arrays of data, its arguments, and the flops of its products in one step."""

    loss: Callable[..., Any]  # (engine, params, x, y)
    params: list[Any]
    x: np.ndarray
    y: np.ndarray
    flops: float
    network: Network  # the same model made of modules


RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def dense(i: int, o: int, gain: float = 1.0) -> list[np.ndarray]:
    return [normal(i, o, scale=math.sqrt(gain / i)), normal(o, scale=0.01)]


def stack(sizes: Sequence[int], batch: int, act: str, gain: float, regress: bool = False) -> Work:
    """Linear layers with an activation between them (behind every one, if the loss is that of a regression)."""

    def loss(e: Any, params: Any, x: Any, y: Any) -> Any:
        for k, (w, b) in enumerate(params):
            x = e.linear(x, w, b)
            if regress or k < len(params) - 1:
                x = getattr(e, act)(x)
        return e.mean((x - y) * (x - y)) if regress else e.cross_entropy(x, y)

    pairs = list(pairwise(sizes))
    y = normal(batch, sizes[-1]) if regress else RNG.integers(0, sizes[-1], batch)
    # forward and two adjoints a product; nobody asks for the adjoint by x
    flops = 2 * batch * (3 * sum(i * o for i, o in pairs) - pairs[0][0] * pairs[0][1])
    network = networks.stack({"relu": nn.ReLU, "tanh": nn.Tanh}[act], everywhere=regress)
    return Work(loss, [dense(i, o, gain) for i, o in pairs], normal(batch, sizes[0]), y, flops, network)


def mlp(tiny: bool) -> Work:
    return stack((20, 16, 12, 10) if tiny else (784, 256, 128, 10), 8 if tiny else 64, "relu", 2.0)


def deep(tiny: bool) -> Work:
    return stack((16,) * 6 if tiny else (64,) * 101, 8 if tiny else 64, "tanh", 1.5, regress=True)


def tiny_mlp(tiny: bool) -> Work:
    return stack((16, 16, 16, 1), 8, "tanh", 1.0, regress=True)


def lstm(tiny: bool) -> Work:
    steps, batch, inputs, size = (3, 2, 4, 8) if tiny else (100, 32, 64, 128)

    def loss(e: Any, params: Any, x: Any, y: Any) -> Any:
        w, u, b, out, shift = params
        return e.cross_entropy(e.linear(e.lstm(x, w, u, b).reshape((batch, size)), out, shift), y)

    params = [*dense(inputs, 4 * size)[:1], *dense(size, 4 * size), *dense(size, 10)]
    flops = 2 * steps * batch * 4 * size * (2 * inputs + 3 * size) + 6 * batch * size * 10
    return Work(loss, params, normal(steps, batch, inputs), RNG.integers(0, 10, batch), flops, networks.lstm)


def resnet(tiny: bool) -> Work:
    channels, side, batch = (4, 6, 2) if tiny else (32, 32, 32)

    def loss(e: Any, params: Any, x: Any, y: Any) -> Any:
        first, blocks, (w, b) = params
        x = e.relu(e.conv(x, first))
        for k1, k2 in blocks:
            x = e.relu(x + e.conv(e.relu(e.conv(x, k1)), k2))
        return e.cross_entropy(e.linear(e.mean(x, (2, 3)), w, b), y)

    kernels = [normal(channels, channels, 3, 3, scale=math.sqrt(1 / (9 * channels))) for _ in range(7)]
    blocks = [kernels[k : k + 2] for k in (1, 3, 5)]
    flops = 2 * batch * channels * channels * (3 * side - 2) ** 2 * (3 * 7 - 1)  # of windows, what is not padding
    x = normal(batch, channels, side, side)
    params = [kernels[0], blocks, dense(channels, 10)]
    return Work(loss, params, x, RNG.integers(0, 10, batch), flops, networks.resnet)


def transformer(tiny: bool) -> Work:
    layers, d, tokens, batch = (1, 8, 4, 2) if tiny else (4, 128, 64, 16)

    def loss(e: Any, params: Any, x: Any, y: Any) -> Any:
        blocks, (w, b) = params
        for norm1, into, out, norm2, up, down in blocks:
            qkv = e.linear(e.layer_norm(x, *norm1), *into).reshape((batch, tokens, 3, HEADS, d // HEADS))
            q, k, v = (e.transpose(qkv[:, :, i], (0, 2, 1, 3)) for i in range(3))
            mixed = e.transpose(e.attention(q, k, v), (0, 2, 1, 3)).reshape((batch, tokens, d))
            x = x + e.linear(mixed, *out)
            x = x + e.linear(e.gelu(e.linear(e.layer_norm(x, *norm2), *up)), *down)
        return e.cross_entropy(e.linear(e.mean(x, 1), w, b), y)

    def block() -> list[Any]:
        one, zero = np.ones(d, np.float32), np.zeros(d, np.float32)
        return [[one, zero], dense(d, 3 * d), dense(d, d), [one, zero], dense(d, 4 * d), dense(4 * d, d)]

    rows = batch * tokens
    flops = layers * 6 * rows * (12 * d * d + 2 * tokens * d) - 2 * rows * 3 * d * d
    params = [[block() for _ in range(layers)], dense(d, 10)]
    x, y = normal(batch, tokens, d), RNG.integers(0, 10, batch)
    return Work(loss, params, x, y, flops, networks.transformer(HEADS))


ROWS = {
    "mlp": (mlp, "MLP 784-256-128-10, batch 64, ReLU"),
    "deep": (deep, "100 × (Linear 64, tanh), batch 64"),
    "tiny": (tiny_mlp, "tiny MLP 16-16-16-1, batch 8"),
    "lstm": (lstm, "LSTM 128, 100 steps, batch 32, input 64"),
    "resnet": (resnet, "ResNet, 7 convs of 32 channels, 32×32, batch 32"),
    "transformer": (transformer, "4 transformer layers, d 128, 64 tokens, batch 16"),
}

# A step by every engine: a function of the rate, which holds the parameters and returns the loss


class Step:
    """`step(params, rate, x, y) -> (loss, params)` called again and again; the loss is ready when a call returns."""

    def __init__(self, step: Callable[..., Any], params: Any, x: Any, y: Any, wait: Callable[[Any], Any]):
        self.step, self.params, self.data, self.wait = step, params, (x, y), wait

    def __call__(self, rate: float = RATE) -> float:
        loss, self.params = self.step(self.params, rate, *self.data)
        return self.wait((loss, self.params))[0]


def functional(m: Any, map_: Any, engine: Any, work: Work) -> Callable[..., Any]:
    def step(params: Any, rate: Any, x: Any, y: Any) -> Any:
        loss, grads = m.value_and_grad(lambda p: work.loss(engine, p, x, y))(params)
        return loss, map_(lambda p, g: p - rate * g, params, grads)

    return step


def wengert_step(work: Work, executor: str = "native") -> Step:
    step = wg.jit(functional(wg, tree.map, wengert_engine(), work), executor=executor, donate_argnums=0)
    params = tree.map(lambda p: wg.asarray(p.copy()), work.params)
    return Step(step, params, wg.asarray(work.x), wg.asarray(work.y), lambda out: out)


def jax_step(work: Work) -> Step:
    step = jax.jit(functional(jax, jax.tree.map, jax_engine(), work), donate_argnums=0)
    params = jax.tree.map(lambda p: jax.numpy.array(p), work.params)
    return Step(step, params, jax.numpy.asarray(work.x), jax.numpy.asarray(work.y), jax.block_until_ready)


def torch_step(work: Work, compiled: bool = False, threads: int | None = None) -> Step:
    def loss_of(params: Any, x: Any, y: Any) -> Any:
        return work.loss(engine, params, x, y)

    def step(params: Any, rate: float, x: Any, y: Any) -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        loss = forward(params, x, y)
        grads = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            torch._foreach_add_(leaves, grads, alpha=-rate)
        return loss, params

    engine, threads = torch_engine(), threads or CORES
    forward = torch.compile(loss_of) if compiled else loss_of
    params = tree.map(lambda p: torch.tensor(p, requires_grad=True), work.params)
    leaves = flat(params)
    return Step(step, params, torch.tensor(work.x), torch.tensor(work.y), lambda out: out)


BURST = 0.02  # seconds of steps in a row, as in training: threads that share a step are awake then


def contenders(work: Work, peers: bool, compiled: bool) -> dict[str, Callable[[], Any]]:
    result: dict[str, Callable[[], Any]] = {
        "Wengert": lambda: wengert_step(work),
        "Wengert, nn": lambda: NetworkStep(work.network, work.params, flat(work.params), work.x, work.y),
    }
    if not peers:
        return {**result, "Wengert, by NumPy": lambda: wengert_step(work, "numpy")}
    if torch is not None:
        result["PyTorch"] = lambda: torch_step(work)
        if CORES > 1:  # whose threads wait for each other, which costs most where others use the cores too
            result["PyTorch, 1 thread"] = lambda: torch_step(work, threads=1)
        if compiled:
            result["torch.compile"] = lambda: torch_step(work, compiled=True)
    if jax is not None:
        result["JAX"] = lambda: jax_step(work)
    return result


def flat(params: Any) -> list[Any]:
    """The arrays in nested lists."""
    return [v for p in params for v in flat(p)] if isinstance(params, (list, tuple)) else [params]


def first_call(name: str, make: Callable[[], Step], work: Work) -> tuple[Step, float, float, np.ndarray]:
    """The step, the time of its first call, its loss, and the gradient: what a step at rate 1 takes away."""
    step = make()
    found: list[Any] = []
    took = seconds(lambda: found.append(step(1.0)))
    old, new = flat(work.params), [np.asarray(v.detach() if hasattr(v, "detach") else v) for v in flat(step.params)]
    gradient = np.concatenate([(p.astype(np.float64) - q).ravel() for p, q in zip(old, new, strict=True)])
    loss = found[0]
    return step, took, float(loss.detach() if hasattr(loss, "detach") else loss), gradient


def compare(row: str, losses: dict[str, float], gradients: dict[str, np.ndarray]) -> None:
    """Stop where engines disagree: what is not the same work is not compared."""
    mine = gradients["Wengert"]
    for name, gradient in gradients.items():
        apart = float(np.linalg.norm(gradient - mine) / np.linalg.norm(mine))
        if not (apart < AGREE and math.isclose(losses[name], losses["Wengert"], rel_tol=1e-4)):
            sys.exit(
                f"{row}: Wengert and {name} differ: losses {losses['Wengert']} and {losses[name]}, gradients {apart}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"some of {', '.join(ROWS)}; all by default")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--tiny", action="store_true", help="small shapes, hardly any repetitions, no peers")
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for each engine on each row")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no row called {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    peers = not options.tiny
    kept = tempfile.TemporaryDirectory()
    os.environ["WENGERT_CACHE_DIR"] = kept.name  # so that nothing is found there at first
    print(machine(torch, jax))
    peak = peak_flops(tries=2 if options.tiny else 20)
    print(f"measured peak: {peak / 1e9:.0f} GFLOP/s in float32, all cores\n")
    warm_up(peers)
    rows, firsts, insides = [], [], []
    names = [*contenders(mlp(True), peers, not options.no_compile)]
    for key in options.rows or ROWS:
        make, title = ROWS[key]
        work = make(options.tiny)
        made = {n: first_call(n, m, work) for n, m in contenders(work, peers, not options.no_compile).items()}
        compare(title, {n: m[2] for n, m in made.items()}, {n: m[3] for n, m in made.items()})
        best = best_in_turns({n: m[0] for n, m in made.items()}, 0.01 if options.tiny else options.budget, BURST)
        rival = min((t for n, t in best.items() if not n.startswith("Wengert")), default=math.nan)
        mine, floor = best["Wengert"], work.flops / peak
        ratios = [times(rival / mine), duration(floor), f"{100 * floor / mine:.0f} %"]
        rows.append([title, *(duration(best[n]) for n in names), *ratios])
        again = first_call("Wengert", partial(wengert_step, work), work)[1]  # traced anew, its code found on disk
        first = {n: duration(m[1]) for n, m in made.items()}
        firsts.append([title, first.pop("Wengert"), duration(again), *first.values()])
        mine_step = made["Wengert"][0]
        insides.append([title, made_of(mine_step.step, mine_step.params, RATE, *mine_step.data)])
        print(*rows[-1], sep=" | ", file=sys.stderr)
    print_table(["work", *names, "best peer / Wengert", "floor", "of the floor"], rows)
    print("\nThe first call: trace, differentiate, compile, run\n")
    print_table(["work", "Wengert", "its cache warm", *names[1:]], firsts)
    print("\nStatements of the native program\n")
    print_table(["work", "statements"], insides)


def warm_up(peers: bool) -> None:
    """Start the compilers once, so that no row pays for that."""
    wg.jit(wg.grad(lambda x: wg.sum(wg.sin(x))), executor="native")(np.ones(3))
    if peers and jax is not None:
        jax.jit(jax.grad(lambda x: jax.numpy.sum(jax.numpy.sin(x))))(np.ones(3))


if __name__ == "__main__":
    main()
