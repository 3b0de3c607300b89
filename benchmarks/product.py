"""Matrix kernels on one thread: the native executor's generator beside NumPy's BLAS, and the measured peak.

    python benchmarks/product.py [--dtype float64] [--only 'dW1 dX1'] [--budget 1]     WENGERT_CPU=x86-64-v3 for AVX2

The shapes are those of the training steps in `train_steps.py`, forward and backward. Times are the least of many, in
turns, of the thread's processor time (both run on the calling thread), so that a busy machine disturbs them less. The
native kernel is repeated inside one native call: what is measured is the kernel, not the way into it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from timing import duration, machine, print_table

from wengert.execute.native.product import ProductSpec, emit_product, scratch_bytes, store_epilogue, units
from wengert.execute.native.target import Target, host_target

# name: m, k, n, A transposed, B transposed, what bounds it besides multiply-adds
SHAPES: dict[str, tuple[int, int, int, bool, bool, str]] = {
    "layer 1": (64, 784, 256, False, False, "peak"),
    "layer 2": (64, 256, 128, False, False, "peak"),
    "layer 3": (64, 128, 10, False, False, "10 of 16 lanes"),
    "dW1": (784, 64, 256, True, False, "peak; short sums"),
    "dW2": (256, 64, 128, True, False, "peak"),
    "dW3": (128, 64, 10, True, False, "10 of 16 lanes"),
    "dX1": (64, 256, 784, False, True, "transposing B"),
    "dX2": (64, 128, 256, False, True, "transposing B"),
    "dX3": (64, 10, 128, False, True, "transposing B, short sums"),
    "64³": (64, 64, 64, False, False, "peak"),
    "LSTM": (32, 128, 512, False, False, "peak"),
    "LSTM dX": (32, 512, 128, False, True, "transposing B"),
    "1024³": (1024, 1024, 1024, False, False, "peak"),
    "1024³, Bᵀ": (1024, 1024, 1024, False, True, "peak"),
    "1024³, Aᵀ": (1024, 1024, 1024, True, False, "pages of A"),
    "long sum": (256, 8192, 256, False, False, "reading A; sums kept in memory"),
    "row · B": (1, 1024, 1024, False, False, "reading B"),
    "row · Bᵀ": (1, 1024, 1024, False, True, "reading B"),
    "A · column": (1024, 1024, 1, False, False, "reading A"),
    "outer": (256, 1, 256, False, False, "writing C"),
}
I64 = ir.IntType(64)


def repeated(module: ir.Module, inner: ir.Function) -> None:
    """`void repeat(<inner's arguments>, i64 count)`."""
    kinds = [a.type for a in inner.args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [*kinds, I64]), "repeat")
    entry, body, end = (function.append_basic_block() for _ in range(3))
    b = ir.IRBuilder(entry)
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(I64)
    i.add_incoming(I64(0), entry)
    b.call(inner, function.args[:-1])
    following = b.add(i, I64(1))
    i.add_incoming(following, body)
    b.cbranch(b.icmp_signed("<", following, function.args[-1]), body, end)
    b.position_at_end(end)
    b.ret_void()


class Native:
    """A compiled module, and how long the two halves of making it took."""

    def __init__(self, emit: Callable[[ir.Module], ir.Function], target: Target):
        start = time.process_time()
        module = ir.Module("benchmark")
        repeated(module, emit(module))
        text = str(module)
        emitted = time.process_time()
        self.module = llvm.parse_assembly(text)
        self.engine = llvm.create_mcjit_compiler(self.module, target.target_machine())
        self.engine.finalize_object()
        self.emit_seconds, self.compile_seconds = emitted - start, time.process_time() - emitted

    def call(self, *args: Any) -> Callable[[int], None]:
        kinds = [ctypes.c_void_p if isinstance(a, np.ndarray) else ctypes.c_int64 for a in args]
        function = ctypes.CFUNCTYPE(None, *kinds, ctypes.c_int64)(self.engine.get_function_address("repeat"))
        values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in args]
        return lambda count: function(*values, count)


def peak(dtype: str, target: Target) -> tuple[Callable[[int], None], int]:
    """A loop of nothing but independent multiply-adds, and the flops of one call of it."""
    number = ir.FloatType() if dtype == "float32" else ir.DoubleType()
    size = 4 if dtype == "float32" else 8
    lanes = target.vector_bytes // size
    vector, chains, steps = ir.VectorType(number, lanes), 12, 1000

    def emit(module: ir.Module) -> ir.Function:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [number.as_pointer()]), "peak")
        entry, body, end = (function.append_basic_block() for _ in range(3))
        b = ir.IRBuilder(entry)
        place = b.bitcast(function.args[0], vector.as_pointer())
        x = b.load(place, align=size)
        b.branch(body)
        b.position_at_end(body)
        i = b.phi(I64)
        i.add_incoming(I64(0), entry)
        sums = [b.phi(vector) for _ in range(chains)]
        fused = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{8 * size}")
        for s in sums:
            new = b.call(fused, [x, x, s]) if target.has_fma else b.fadd(b.fmul(x, s), x)
            s.add_incoming(x, entry)
            s.add_incoming(new, body)
        last = [s.incomings[1][0] for s in sums]
        following = b.add(i, I64(1))
        i.add_incoming(following, body)
        b.cbranch(b.icmp_signed("<", following, I64(steps)), body, end)
        b.position_at_end(end)
        total = last[0]
        for s in last[1:]:
            total = b.fadd(total, s)
        b.store(total, place, align=size)
        b.ret_void()
        return function

    native = Native(emit, target)
    memory = np.zeros(lanes, dtype)
    call = native.call(memory)

    def run(count: int, keep: Any = (native, memory)) -> None:
        call(count)

    return run, 2 * lanes * chains * steps


def best_in_turns(calls: Mapping[str, Callable[[int], None]], budget: float) -> dict[str, float]:
    """Seconds of processor time for one of the repetitions, the least of many bursts of about 0.3 ms."""

    def once(call: Callable[[int], None], count: int) -> float:
        start = time.thread_time()
        call(count)
        return (time.thread_time() - start) / count

    counts = {}
    for name, call in calls.items():
        once(call, 1)
        counts[name] = max(1, int(3e-4 / max(once(call, 3), 1e-7)))
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + budget * len(calls)
    while time.perf_counter() < end:
        for name, call in calls.items():
            best[name] = min(best[name], once(call, counts[name]))
    return best


def measure(name: str, dtype: str, target: Target, budget: float) -> list[str]:
    m, k, n, a_transposed, b_transposed, limit = SHAPES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((k, m)).astype(dtype).T if a_transposed else rng.standard_normal((m, k)).astype(dtype)
    y = rng.standard_normal((n, k)).astype(dtype).T if b_transposed else rng.standard_normal((k, n)).astype(dtype)
    a, b = ([s // x.itemsize for s in v.strides] for v in (x, y))
    spec = ProductSpec(dtype, (), m, n, k, ((), a[0], a[1]), ((), b[0], b[1]))
    pointer = (ir.FloatType() if dtype == "float32" else ir.DoubleType()).as_pointer()
    native = Native(lambda module: emit_product(module, name, spec, store_epilogue((n, 1)), [pointer], target), target)
    memory = np.zeros(scratch_bytes(spec, target) + 64, np.uint8)
    scratch, out, other = memory[-memory.ctypes.data % 64 :], np.zeros((m, n), dtype), np.zeros((m, n), dtype)
    calls = {"native": native.call(x, y, scratch, 0, units(spec, target), out)}

    def blas(count: int) -> None:
        for _ in range(count):
            np.matmul(x, y, out=other)

    calls["blas"] = blas
    calls["peak"], peak_flops = peak(dtype, target)
    best = best_in_turns(calls, budget)
    scale = np.finfo(dtype).eps * (k + 1)
    if not np.allclose(out, other, rtol=0, atol=scale * float(np.abs(x).max() * np.abs(y).max()) * k):
        raise SystemExit(f"{name}: the native product is wrong")
    rates = {who: (peak_flops if who == "peak" else spec.flops) / best[who] / 1e9 for who in best}
    return [
        f"{name} {m}×{k}×{n}",
        duration(best["native"]),
        f"{rates['native']:.0f}",
        f"{rates['blas']:.0f}",
        f"{rates['peak']:.0f}",
        f"{100 * rates['native'] / rates['peak']:.0f} %",
        limit,
        f"{native.emit_seconds * 1e3:.0f} + {native.compile_seconds * 1e3:.0f} ms",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--only", default="", help="names of rows that contain one of these words")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each contender and row")
    options = parser.parse_args()
    target = host_target()
    words = options.only.split()
    names = [name for name in SHAPES if not words or any(word in name for word in words)]
    print(f"{machine()}; {8 * target.vector_bytes}-bit vectors, {options.dtype}, one thread\n")
    header = ["m × k × n", "time", "GFLOP/s", "BLAS", "peak", "of peak", "bound by", "emit + compile"]
    print_table(header, [measure(name, options.dtype, target, options.budget) for name in names])


if __name__ == "__main__":
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP", "VECLIB")}
    if not threads.items() <= os.environ.items():  # a BLAS reads them when it is loaded, which has happened
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})
    main()
