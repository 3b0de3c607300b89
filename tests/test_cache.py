"""Compiled programs kept on disk: found again, never believed, bounded, private, and shared by processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.execute import native
from wengert.execute.native import cache, cache_key, program
from wengert.execute.native.target import host_target
from wengert.ir.primitive import registry
from wengert.ops.elementwise import Elementwise

X = np.linspace(-1, 1.5, 12).reshape(3, 4)


def loss(x: Any) -> Any:
    return wg.sum(wg.tanh(x @ x.T) * 0.5)


def step(x: Any) -> Any:
    return wg.value_and_grad(loss)(x)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WENGERT_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each program that LLVM compiles."""
    made: list[int] = []
    code = program.Build.code

    def counted(self: program.Build) -> Any:
        made.append(1)
        return code(self)

    monkeypatch.setattr(program.Build, "code", counted)
    return made


def run(f: Callable[..., Any], *args: Any) -> list[np.ndarray]:
    """Traced anew, from the cache or compiled."""
    return [np.asarray(v) for v in wg.tree.leaves(wg.jit(f, executor="native")(*args))]


def entries(place: Path) -> list[Path]:
    return sorted(place.glob("*" + cache.SUFFIX))


def agree(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) and a.dtype == b.dtype for a, b in zip(first, second, strict=True))


def test_a_program_is_compiled_once(place: Path, compilations: list[int]) -> None:
    first = run(step, X)
    assert agree(first, run(step, X)) and agree(run(step, X + 1), run(step, X + 1))
    assert len(compilations) == 1 and len(entries(place)) == 1
    assert np.allclose(first[0], np.sum(np.tanh(X @ X.T) * 0.5))


def test_other_programs_have_other_entries(place: Path, compilations: list[int]) -> None:
    table = np.arange(12.0).reshape(3, 4)
    changed = table.copy()
    changed[2, 3] += 1
    programs: list[tuple[Callable[..., Any], Any]] = [
        (lambda x: wg.sum(x), X),
        (lambda x: wg.sum(x, axis=0), X),
        (lambda x: wg.sum(x), X.astype(np.float32)),
        (lambda x: wg.sum(x), X[:2]),
        (lambda x: wg.sum(x) * 2.0, X),
        (lambda x: wg.sum(x) * 3.0, X),
        (lambda x: wg.sum(x * table), X),
        (lambda x: wg.sum(x * changed), X),
        (lambda x: (wg.sum(x), wg.sum(x)), X),
    ]
    for f, x in programs:
        fresh = wg.jit(f)(x)
        for _ in range(2):
            assert all(np.allclose(a, b) for a, b in zip(run(f, x), wg.tree.leaves(fresh), strict=True))
    assert len(compilations) == len(entries(place)) == len(programs)


def test_steps_for_numpy_loops_and_unknown_lengths_come_back(place: Path, compilations: list[int]) -> None:
    def through(x: Any) -> Any:
        u, s, _ = wg.linalg.svd(x @ x.T)
        last, all_ = wg.scan(lambda c, row: (c + row, wg.sin(c)), x[0], x)
        grown = wg.grad(lambda y: wg.while_loop(lambda z: wg.sum(z) < 40, lambda z: z * 1.5, y).sum())(wg.exp(x))
        # a loop, and one that keeps what its derivative needs, with a step that has no code
        norms = wg.grad(lambda y: wg.scan(lambda c, r: (c * 0.5 + wg.linalg.norm(c @ c.T, 2) * r, None), y, y)[0].sum())
        one = wg.asarray(1 + 0j, dtype=wg.complex128)
        turned = wg.scan(lambda c, r: (c * (1j + r[0]), None), one, x)[0]  # there is no code for its carry
        return wg.abs(u), s, last, all_, grown, wg.fft.fft(x[0]), wg.sort(x, axis=0), norms(x + 0.1), wg.abs(turned)

    first = run(through, X)
    assert len(compilations) == 1
    names = [c.name for c in wg.explain(wg.jit(through, executor="native"))(X).callbacks]
    assert {"svd", "fft", "scan"} <= set(names)
    assert agree(first, run(through, X)) and len(compilations) == 1
    reference = wg.tree.leaves(wg.jit(through, executor="numpy")(X))
    assert all(np.allclose(a, np.asarray(b)) for a, b in zip(first, reference, strict=True))


def test_one_number_of_a_large_constant_is_part_of_the_program(place: Path, compilations: list[int]) -> None:
    """Constants enter the key by their bytes, those of loops' bodies too."""
    table = np.linspace(0, 1, 50_000)

    def read(x: Any) -> Any:
        return wg.sum(table) * wg.sum(x) + wg.scan(lambda c, i: (c + wg.asarray(table)[i], None), 0.0, wg.arange(3))[0]

    wanted = []
    for _ in range(2):
        wanted.append(table.sum() * X.sum() + table[:3].sum())
        for _ in range(2):
            assert np.allclose(run(read, X), wanted[-1])
        table[2] = 7.0
    assert len(compilations) == len(entries(place)) == 2 and wanted[0] != wanted[1]


def test_the_number_of_threads_is_part_of_the_program(place: Path, compilations: list[int]) -> None:
    before = wg.get_num_threads()
    many = max(program.most_threads(), before) + 1
    try:
        for count in (before, many, many, before):
            wg.set_num_threads(count)
            assert np.allclose(run(loss, X), np.sum(np.tanh(X @ X.T) * 0.5))
    finally:
        wg.set_num_threads(before)
    assert len(compilations) == 2


def test_what_may_be_written_over_is_part_of_the_program(place: Path, compilations: list[int]) -> None:
    def move(w: Any, g: Any) -> Any:
        return w - 0.1 * g

    for donated in ((), (0,), (0,)):
        w, g = wg.asarray(X.copy()), wg.asarray(np.ones((3, 4)))
        f = wg.jit(move, executor="native", donate_argnums=donated)
        assert np.allclose(f(w, g), X - 0.1)
    assert len(compilations) == 2


def test_the_users_primitives_are_not_kept(place: Path, compilations: list[int]) -> None:
    own = Elementwise("halved_for_this_test", lambda x: x / 2)
    try:
        f = lambda x: wg.sum(own(x))  # noqa: E731
        assert np.allclose(run(f, X), np.sum(X / 2)) and np.allclose(run(f, X), np.sum(X / 2))
        assert len(compilations) == 2 and not entries(place)
    finally:
        registry.pop("halved_for_this_test", None)


@pytest.mark.parametrize("spot", [0, 20, 50, 100, 2000, -1], ids=str)
def test_a_changed_byte_is_noticed(place: Path, compilations: list[int], spot: int) -> None:
    first = run(step, X)
    (path,) = entries(place)
    data = bytearray(path.read_bytes())
    data[spot] ^= 1
    path.write_bytes(data)
    assert agree(first, run(step, X)) and len(compilations) == 2
    assert agree(first, run(step, X)) and len(compilations) == 2  # it was replaced


@pytest.mark.parametrize("left", [0, 7, 40, 80, 1000])
def test_a_truncated_file_is_noticed(place: Path, compilations: list[int], left: int) -> None:
    first = run(step, X)
    (path,) = entries(place)
    path.write_bytes(path.read_bytes()[:left])
    assert agree(first, run(step, X)) and len(compilations) == 2


def test_an_entry_under_another_name_is_noticed(place: Path, compilations: list[int]) -> None:
    run(step, X)
    run(loss, X)
    one, other = entries(place)
    one.write_bytes(other.read_bytes())
    first, second = run(step, X), run(loss, X)
    assert len(first) == 2 and len(second) == 1 and len(compilations) == 3


def test_another_version_compiles_anew(place: Path, compilations: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    run(step, X)
    monkeypatch.setattr(wg, "__version__", "0.0.0")
    cache_key._build.cache_clear()
    try:
        run(step, X)
        assert len(compilations) == 2
        target = host_target()
        keys = {cache_key.environment(t) for t in (target, replace(target, features="+x"), replace(target, cpu="y"))}
        assert len(keys) == 3
    finally:
        monkeypatch.undo()
        cache_key._build.cache_clear()


def test_a_smaller_machine_has_its_own(place: Path, compilations: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    if not host_target().triple.startswith("x86_64"):
        pytest.skip("WENGERT_CPU names levels of x86-64")
    monkeypatch.delenv("WENGERT_CPU", raising=False)
    first = run(step, X)
    monkeypatch.setenv("WENGERT_CPU", "x86-64-v2")
    assert np.allclose(first[1], run(step, X)[1], rtol=1e-12) and len(compilations) == 2


def test_the_size_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [bytes([k]) * 32 for k in range(20)]
    for k, key in enumerate(keys):
        assert cache.write(key, bytes(10_000))
        os.utime(place / (key.hex() + cache.SUFFIX), (k, k))
    assert cache.read(keys[0]) == bytes(10_000)  # so it was used last
    monkeypatch.setenv("WENGERT_CACHE_BYTES", "51000")
    assert cache.write(bytes([99]) * 32, bytes(10_000))
    left = [k for k, key in enumerate(keys) if cache.read(key) is not None]
    assert left == [0, 17, 18, 19] and cache.read(bytes([99]) * 32) is not None
    assert not cache.write(bytes([98]) * 32, bytes(60_000))  # too large by itself


def test_what_a_killed_process_left_is_removed(place: Path) -> None:
    cache.write(bytes(32), b"one")
    old, new = place / ".1-dead", place / ".2-alive"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * cache.STALE,) * 2)
    cache.write(bytes(32), b"two")
    assert not old.exists() and new.exists() and cache.read(bytes(32)) == b"two"


@pytest.mark.parametrize("value", ["", "0"])
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str, compilations: list[int]) -> None:
    monkeypatch.setenv("WENGERT_CACHE_DIR", value)
    assert cache.folder() is None and agree(run(step, X), run(step, X)) and len(compilations) == 2


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has another usual place")
    monkeypatch.delenv("WENGERT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache.folder() == tmp_path / "caches" / "wengert"
    assert stat.S_IMODE((tmp_path / "caches" / "wengert").stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "wengert"


def test_where_nothing_can_be_written_there_is_no_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compilations: list[int]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("WENGERT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.folder() is None and agree(run(step, X), run(step, X)) and len(compilations) == 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are those of POSIX")
def test_a_folder_that_others_can_write_to_is_refused(place: Path) -> None:
    cache.write(bytes(32), b"one")
    place.chmod(0o777)
    with pytest.warns(UserWarning, match="can be written by others"):
        assert cache.read(bytes(32)) is None
    place.chmod(0o700)
    path = place / (bytes(32).hex() + cache.SUFFIX)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and cache.read(bytes(32)) == b"one"
    path.chmod(0o666)
    assert cache.read(bytes(32)) is None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_refused(place: Path) -> None:
    cache.write(bytes(32), b"one")
    os.chown(place, 12345, -1)
    with pytest.warns(UserWarning, match="belongs to another user"):
        assert cache.folder() is None


SCRIPT = """
import sys, numpy as np, wengert as wg
from wengert.execute.native import program
code, made = program.Build.code, []
program.Build.code = lambda self: made.append(1) or code(self)
x = np.linspace(-1, 1, 12).reshape(3, 4)
for k in range(int(sys.argv[1])):
    out = wg.jit(lambda x: wg.value_and_grad(lambda x: wg.sum(wg.tanh(x @ x.T) * (k + 0.5)))(x), executor="native")(x)
    print(repr(np.asarray(out[1]).tolist()))
print(len(made))
"""


@pytest.fixture
def processes() -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(programs: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(programs)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for p in started:
        p.kill()
        p.wait()


def test_processes_share_it(place: Path, processes: Callable[[int], subprocess.Popen[str]]) -> None:
    """Two at once write the same entries; a third compiles nothing, and all get the same numbers to the bit."""
    first, second = processes(4), processes(4)
    texts = [p.communicate(timeout=60)[0].splitlines() for p in (first, second)]
    assert texts[0][:-1] == texts[1][:-1] and len(texts[0]) == 5
    assert len(entries(place)) == 4 and not list(place.glob(".*"))
    third = processes(4).communicate(timeout=60)[0].splitlines()
    assert third == [*texts[0][:-1], "0"]


def test_stages_can_be_looked_at_without_compiling(place: Path, compilations: list[int]) -> None:
    run(step, X)
    lowered = wg.jit(step, executor="native").lower(X)
    assert "tanh" in str(lowered.loops) and "define" in str(lowered.llvm) and native.compiled(lowered.graph).program
    assert len(compilations) == 1
