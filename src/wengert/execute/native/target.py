"""The machine that code is made for: the one at hand, or the smaller one that WENGERT_CPU names.

The environment variable `WENGERT_CPU` is `native` (the default) or a level of the x86-64 psABI: `x86-64-v2` (SSE4.2),
`x86-64-v3` (AVX2 and FMA) or `x86-64-v4` (AVX-512). A machine can stand in for a
smaller one, not for a larger one. Nothing here has side effects except that LLVM's description of it is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

from wengert.errors import ArgumentError, UnsupportedError
from wengert.ir.source import at_user_line

_AVX512 = frozenset({"avx512f", "avx512vl", "avx512dq", "avx512bw"})
# level: what it must have of the host, width of a vector in bytes, vector registers, fused multiply-add
_LEVELS: dict[str, tuple[frozenset[str], int, int, bool]] = {
    "x86-64-v2": (frozenset({"sse4.2"}), 16, 16, False),
    "x86-64-v3": (frozenset({"avx2", "fma"}), 32, 16, True),
    "x86-64-v4": (_AVX512 | {"avx2", "fma"}, 64, 32, True),
}
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHES = (32 << 10, 512 << 10, 4 << 20)


@dataclass(frozen=True)
class Target:
    """A machine as code generation sees it.

    `vector_bytes`: the widest vector register, 64, 32 or 16 bytes. `registers`: the number of vector registers.
    `has_fma`: whether a fused multiply-add is one instruction (else `llvm.fma` would be a slow call). `caches`: bytes
    of data in the first, second and last level; usual sizes where the system does not tell.
    """

    cpu: str
    features: str
    triple: str
    vector_bytes: int
    registers: int
    has_fma: bool
    caches: tuple[int, int, int]

    def target_machine(self, opt: int = 2) -> llvm.TargetMachine:
        """A new LLVM target machine; `opt` is the level of its code generator, 0 to 3."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        return llvm.Target.from_triple(self.triple).create_target_machine(cpu=self.cpu, features=self.features, opt=opt)


def host_target() -> Target:
    """The machine to compile for, as WENGERT_CPU says at this moment.

    Raises ArgumentError for a name that is not known, and UnsupportedError if this machine could not run the code.

        host_target().vector_bytes      # 64 on a machine with AVX-512
    """
    return _target(os.environ.get("WENGERT_CPU", "") or "native")


@cache
def _target(name: str) -> Target:
    triple = llvm.get_process_triple()
    if name == "native":
        return _native(triple)
    if name not in _LEVELS:
        raise ArgumentError(f"WENGERT_CPU={name}: expected native, {', '.join(_LEVELS)}{at_user_line()}")
    needed, vector_bytes, registers, has_fma = _LEVELS[name]
    lacking = sorted(needed - _host_features())
    if lacking:
        raise UnsupportedError(
            f"WENGERT_CPU={name} needs {', '.join(lacking)}, which this machine lacks{at_user_line()}"
        )
    return Target(name, "", triple, vector_bytes, registers, has_fma, _caches())


def _native(triple: str) -> Target:
    cpu, has = llvm.get_host_cpu_name(), _host_features()
    architecture = triple.split("-", maxsplit=1)[0]
    if architecture in ("x86_64", "amd64", "i686", "i386"):
        vector_bytes = 64 if has >= _AVX512 else 32 if "avx2" in has else 16
        registers, has_fma = 32 if vector_bytes == 64 else 16, "fma" in has
    else:  # on ARM64 128-bit vectors and FMA are part of the architecture
        vector_bytes, registers, has_fma = 16, 32, architecture in ("aarch64", "arm64", "ppc64le", "riscv64")
    return Target(cpu, _host_feature_string(), triple, vector_bytes, registers, has_fma, _caches())


@cache
def _host_features() -> frozenset[str]:
    try:
        return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)
    except RuntimeError:  # LLVM cannot ask this system
        return frozenset()


def _host_feature_string() -> str:
    return llvm.get_host_cpu_features().flatten() if _host_features() else ""


@cache
def _caches() -> tuple[int, int, int]:
    found: dict[int, int] = {}
    for index in sorted(_CACHES.glob("index*")):
        try:
            kind, level, size = ((index / part).read_text().strip() for part in ("type", "level", "size"))
            if kind != "Instruction":
                found[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):  # a system that does not say
            continue
    first, second, last = _USUAL_CACHES
    return found.get(1, first), found.get(2, second), found[max(found)] if found else last
