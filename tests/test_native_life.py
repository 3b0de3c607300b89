"""The native executor over a long time and on other machines: memory, files and threads, smaller vectors, ARM64."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute.native.program import Build
from wengert.execute.native.target import Target, host_target
from wengert.passes.pipeline import simplify

ROOT = Path(__file__).parent.parent
rng = np.random.default_rng(0)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def opened() -> tuple[int, int]:
    """How many files this process has open, and how many threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def step(w: Any, x: Any) -> Any:
    loss, g = wg.value_and_grad(lambda w: wg.mean(wg.square(wg.tanh(x @ w))))(w)
    return w - 0.1 * g, loss


def until(x: Any) -> Any:
    return wg.grad(lambda x: wg.sum(wg.while_loop(lambda c: wg.sum(c) < 1e3, lambda c: c * 1.5, wg.abs(x) + 1)))(x)


@linux
def test_memory_files_and_threads_are_steady() -> None:
    """100,000 calls: a step that gives its weight up, a loop with a store, a sort of NumPy's, a team."""
    descend = wg.jit(step, executor="native", donate_argnums=0)
    loop = wg.jit(until, executor="native")
    mixed = wg.jit(lambda x: (wg.sort(x), wg.cumulative_sum(x)), executor="native")
    team = wg.jit(lambda x, w: wg.tanh(wg.tanh(x @ w) @ w), executor="native")
    w, x, large = wg.asarray(rng.normal(size=(8, 8))), wg.ones(8), np.full((96, 96), 0.01)

    def run(n: int) -> None:
        nonlocal w
        for k in range(n):
            w, _ = descend(w, x)
            loop(x)
            mixed(x)
            if k % 100 == 0:
                team(large, large)

    run(3000)
    gc.collect()
    before = resident(), opened()
    run(100_000 // 3)
    gc.collect()
    assert opened() == before[1]
    assert resident() < before[0] + (2 << 20)  # what a call lost would be there more than 30,000 times


@linux
def test_programs_of_many_shapes_go_with_their_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")

    def live(count: int) -> list[Any]:
        f = wg.jit(lambda x: wg.sum(wg.exp(x) * x), executor="native")
        programs = []
        for n in range(1, count + 1):
            x = np.ones(n)
            for _ in range(3):
                f(x)
            programs.append(weakref.ref(native.compiled(f.lower(x).graph)))
        return programs

    live(10)
    gc.collect()
    before = resident(), opened()
    for _ in range(6):
        programs = live(20)
        gc.collect()
        assert [p() for p in programs] == [None] * 20
    assert opened() == before[1]
    assert resident() < before[0] + (12 << 20)  # 120 programs that were kept would take some 100 KiB each, and more


# Machines

ON_A_SMALLER_ONE = """
import numpy as np, wengert as wg
from wengert import nn, optim
from wengert.execute.native.target import host_target
from tests.native_programs import BluntError, case, check
for seed in range({seed}, {seed} + 20):
    try:
        check(case(seed), seed)
    except BluntError:
        pass
rng = np.random.default_rng(0)
NETS = (
    (nn.Sequential(nn.Linear(37, 30), nn.BatchNorm1d(30), nn.GELU(), nn.Linear(30, 10)), (33, 37)),
    (
        nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 10)),
        (9, 3, 16, 16),
    ),
    (
        nn.Sequential(
            nn.Linear(12, 16),
            nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True),
            nn.Flatten(),
            nn.Linear(112, 10),
        ),
        (5, 7, 12),
    ),
)
for net, shape in NETS:
    start = wg.tree.map(np.array, net.state_dict())
    x, y = rng.normal(size=shape).astype("f"), rng.integers(0, 10, shape[0])
    losses = []
    for executor in ("native", "numpy"):
        net.load_state_dict(start)
        optimizer = optim.AdamW(net, 1e-2)

        def step(net, optimizer, x, y):
            loss, grads = wg.value_and_grad(lambda n: nn.functional.cross_entropy(n(x), y))(net)
            optimizer.update(net, grads)
            return loss

        f = wg.jit(step, executor=executor)
        losses.append([float(f(net, optimizer, x, y)) for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=2e-4)
    assert losses[0][-1] < losses[0][0]
print(host_target().vector_bytes, host_target().has_fma)
"""


@pytest.mark.parametrize(("cpu", "said"), [("x86-64-v2", "16 False"), ("x86-64-v3", "32 True")])
def test_the_code_of_older_machines(cpu: str, said: str) -> None:
    """Random programs and training steps with the code of an older machine; the whole suite passes so, too."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "WENGERT_CPU": cpu}
    code = ON_A_SMALLER_ONE.format(seed=30_000)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == said, done.stdout[-2000:] + done.stderr[-2000:]


def _layer(x: Any, kernel: Any) -> Any:
    return wg.max_pool(wg.maximum(wg.conv(x, kernel, padding=1), 0), 2)


def f4(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


GRAPHS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...], list[str]]] = {
    "product": (lambda x, w, b: wg.tanh(x @ w.T + b), (f4(33, 70), f4(50, 70), f4(50)), ["fmla"]),
    "gradient of a product": (wg.grad(lambda w, x: wg.sum(wg.square(x @ w))), (f4(70, 50), f4(33, 70)), ["fmla"]),
    "convolution": (_layer, (f4(2, 16, 12, 12), f4(32, 16, 3, 3)), ["fmla", "fcm"]),
    "its gradient": (wg.grad(lambda k, x: wg.sum(_layer(x, k))), (f4(32, 16, 3, 3), f4(2, 16, 12, 12)), ["fmla"]),
    "reductions": (lambda x: (wg.sum(x), wg.max(x, axis=0), wg.softmax(x)), (f4(40, 37),), ["fadd", "fcm"]),
    "elementary functions": (
        lambda x: (wg.exp(x), wg.log(x), wg.sin(x), wg.erf(x), wg.pow(x, x), wg.expm1(x), wg.log1p(x)),
        (rng.uniform(0.1, 3, 101),),
        ["fmla", "fdiv"],
    ),
    "a loop": (until, (f4(9),), ["fmul"]),
    "a recurrent net": (
        lambda xs, w: wg.scan(lambda h, x: (wg.tanh(x + h @ w), h), wg.zeros((5, 24)), xs),
        (f4(6, 5, 24), f4(24, 24)),
        ["fmla"],
    ),
    "positions": (
        lambda x, i: (x[i], wg.zeros((9, 7)).at[i].add(x[i]), wg.cumulative_sum(x, axis=1)),
        (f4(9, 7), np.arange(4)),
        [],
    ),
    "random bits": (lambda x, k: x * wg.random.uniform(k, x.shape), (f4(33), np.asarray(wg.random.key(3))), ["eor"]),
    "whole numbers": (lambda x: (x // (x + 2), x % 5, x << 2, x ^ 3), (np.arange(50),), ["sdiv"]),
}


@pytest.fixture(scope="module")
def arm() -> Target:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    try:
        llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this LLVM has no ARM64")
    return Target("generic", "", triple, 16, 32, True, (64 << 10, 1 << 20, 8 << 20))


@pytest.mark.parametrize("name", GRAPHS)
def test_arm64_gets_code(name: str, arm: Target) -> None:
    """Whole programs become ARM64 object files, with vectors in them and without calls of anything that isn't there."""
    f, args, instructions = GRAPHS[name]
    build = Build(simplify(wg.jit(f).lower(*args).graph), arm)
    code = build.code()
    assert code.object[:4] == b"\x7fELF" and int.from_bytes(code.object[18:20], "little") == 183  # EM_AARCH64
    module = llvm.parse_assembly(build.text)
    text = arm.target_machine().emit_assembly(module)
    for instruction in instructions:
        # the elementary functions ask the machine at hand, which WENGERT_CPU may have made smaller
        if host_target().has_fma or (name, instruction) != ("elementary functions", "fmla"):
            assert f"\t{instruction}" in text
    assert not instructions or any(f"v{k}.{n}" in text for k in range(32) for n in ("4s", "2d"))
    declared = {g.name for g in module.functions if g.is_declaration and not g.name.startswith("llvm.")}
    assert declared <= {"wengert_run", "wengert_barrier", "PyMem_RawRealloc", "PyMem_RawMalloc", "PyMem_RawFree"}
