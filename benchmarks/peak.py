"""How many floating-point operations a second this machine can do: fused multiply-adds in registers, on every core."""

from __future__ import annotations

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import llvmlite.binding as llvm

from wengert.execute.native.target import host_target

TURNS = 3_000_000
CHAINS = 12  # independent sums: more than the latency of one multiply-add times the number of units


def peak_flops(kind: str = "float", tries: int = 20) -> float:
    """Flops a second of all usable cores together, best of several tries; `kind` is LLVM's "float" or "double"."""
    target = host_target()
    lanes = target.vector_bytes // (4 if kind == "float" else 8)
    t = f"<{lanes} x {kind}>"
    name = f"llvm.fmuladd.v{lanes}f{32 if kind == 'float' else 64}"
    chains = range(CHAINS)
    code = [
        f"declare {t} @{name}({t}, {t}, {t})",
        f"define {kind} @peak({kind} %s, i64 %turns) {{\nentry:\n  %v = insertelement {t} undef, {kind} %s, i32 0",
        f"  %x = shufflevector {t} %v, {t} undef, <{lanes} x i32> zeroinitializer\n  br label %loop\nloop:",
        "  %i = phi i64 [0, %entry], [%j, %loop]",
        *(f"  %a{k} = phi {t} [%x, %entry], [%b{k}, %loop]" for k in chains),
        *(f"  %b{k} = call {t} @{name}({t} %a{k}, {t} %x, {t} %x)" for k in chains),
        "  %j = add i64 %i, 1\n  %more = icmp slt i64 %j, %turns\n  br i1 %more, label %loop, label %end\nend:",
        f"  %s0 = fadd {t} %b0, %b0",
        *(f"  %s{k} = fadd {t} %s{k - 1}, %b{k}" for k in chains[1:]),
        f"  %r = extractelement {t} %s{CHAINS - 1}, i32 0\n  ret {kind} %r\n}}",
    ]
    module = llvm.parse_assembly("\n".join(code))
    engine = llvm.create_mcjit_compiler(module, target.target_machine())
    engine.finalize_object()
    number = ctypes.c_float if kind == "float" else ctypes.c_double
    run = ctypes.CFUNCTYPE(number, number, ctypes.c_int64)(engine.get_function_address("peak"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    best = float("inf")
    together = Barrier(cores)  # so that no thread does another's part, too

    def part(_: int) -> tuple[float, float]:
        together.wait()
        start = time.perf_counter()
        run(0.5, TURNS)
        return start, time.perf_counter()

    with ThreadPoolExecutor(cores) as pool:  # ctypes lets go of the interpreter lock
        for _ in range(tries):
            times = list(pool.map(part, range(cores)))
            best = min(best, max(end for _, end in times) - min(start for start, _ in times))
    return 2.0 * lanes * CHAINS * TURNS * cores / best
