"""Machine code as bytes: loaded into the process, and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm

from wengert.execute.native import cache
from wengert.execute.native.cache_key import environment
from wengert.execute.native.target import Target


def loaded(code: bytes, target: Target) -> Any:
    """The engine in which an object file lies ready to run; it must live as long as the code is used."""
    empty = llvm.parse_assembly(f'target triple = "{target.triple}"')
    engine = llvm.create_mcjit_compiler(empty, target.target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def kept(what: object, target: Target, make: Callable[[], bytes]) -> bytes:
    """The object file that `make` makes, or that it made before. The `repr` of `what` says all that it depends on,
    besides the package and the machine."""
    key = hashlib.sha256(repr((what, environment(target))).encode()).digest()
    code = cache.read(key)
    if code is None:
        code = make()
        cache.write(key, code)
    return code
