"""Rules of the house that no linter holds: imports at the top, short files, documented names, a quick start."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import wengert as wg
from wengert.ir.primitive import Primitive

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "wengert").rglob("*.py"))
PYTHON = SOURCES + sorted((ROOT / "tests").rglob("*.py"))

# Optional dependencies, which may be imported inside a function, and what they are needed for.
OPTIONAL = {
    "IPython": "shows a graph in a notebook",
    "jax": "the oracle of the tests, and one of the executors to come",
    "scipy": "the sparse matrices that sparse Jacobians are returned as, when asked for",
    "sklearn": "ships the digits of wengert.data",
    "tensorboardX": "writes TensorBoard's event files",
    "torch": "the oracle of the tests, and exchange of models to come",
}

LONGEST = 400
LONGER: dict[str, str] = {  # files that may be longer, and why
    "src/wengert/ops/index.py": "gather and scatter, which are each other's transposes",
    "tests/test_indexing.py": "every way to index, against NumPy and JAX",
    "tests/test_linalg.py": "every function of linear algebra, against its definition and JAX",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def hidden_imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    for outer in ast.walk(tree):
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from (n for n in ast.walk(outer) if isinstance(n, (ast.Import, ast.ImportFrom)))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_import_hides_in_a_function(path: Path) -> None:
    for node in hidden_imports(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        for name in names:
            assert name.split(".")[0] in OPTIONAL, f"{relative(path)}:{node.lineno} imports {name} inside a function"


def test_the_search_for_hidden_imports_finds_them() -> None:
    tree = ast.parse("import a\ndef f():\n    def g():\n        from b import c\n    import d\n")
    assert {ast.unparse(n) for n in hidden_imports(tree)} == {"from b import c", "import d"}


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if relative(path) not in LONGER:
        assert lines <= LONGEST, f"{relative(path)} has {lines} lines: split it, or give its reason in LONGER"


def test_exceptions_are_needed() -> None:
    for name in LONGER:
        assert len((ROOT / name).read_text().splitlines()) > LONGEST, f"{name} needs no exception any more"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_file_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), f"{relative(path)} has no docstring"
    assert path.stem not in ("utils", "misc", "helpers", "common", "base")


def public() -> dict[str, object]:
    """The public names: what `wengert/__init__.py` imports as itself (`from … import x as x`) or assigns."""
    tree = ast.parse((ROOT / "src/wengert/__init__.py").read_text())
    imports = [a for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert all(a.asname for a in imports), "a public name is written `from … import x as x`"
    names = {a.asname for a in imports if a.asname}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return {n: getattr(wg, n) for n in sorted(names) if not n.startswith("_")}


def test_public_names_are_the_explicit_ones() -> None:
    modules = {n for n, v in vars(wg).items() if isinstance(v, ModuleType)}
    found = {n for n in vars(wg) if not n.startswith("_")} - modules
    assert found <= set(public()) | {"annotations"}, f"not explicit: {sorted(found - set(public()))}"


def functions() -> list[str]:
    return [n for n, v in sorted(public().items()) if callable(v) and not isinstance(v, ModuleType)]


@pytest.mark.parametrize("name", functions())
def test_public_functions_are_documented(name: str) -> None:
    """A docstring that says what it is; for the transformations, with arguments or shapes, errors and an example."""
    value = public()[name]
    text = inspect.getdoc(value) or ""
    own = bool(text) and text != inspect.getdoc(type(value))
    assert own or isinstance(value, (Primitive, np.dtype)), f"wg.{name} has no docstring"
    assert len(text) > 5, f"wg.{name}: {text!r} says too little"


TRANSFORMATIONS = ("grad", "value_and_grad", "jvp", "vjp", "linearize", "vmap", "jacobian", "hessian", "hvp", "jit")


@pytest.mark.parametrize("name", [n for n in TRANSFORMATIONS if hasattr(wg, n)])
def test_transformations_show_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(wg, name)) or ""
    assert re.search(r"Example|>>> |`[^`]+ = ", text), f"wg.{name} shows no example"


def test_nothing_names_a_registry_or_a_machine() -> None:
    forbidden = re.compile(r"(pypi|pythonhosted|npmjs)\.org|/(?:work|root)/")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked or map(relative, PYTHON):
        path = ROOT / name
        if path != Path(__file__) and path.is_file() and path.suffix in (".py", ".md", ".toml", ".yml", "", ".cfg"):
            found = forbidden.search(path.read_text(errors="ignore"))
            assert found is None, f"{name} contains {found.group() if found else ''!r}"


def test_importing_is_quick(tmp_path: Path) -> None:
    """Under 0.3 s with NumPy included, the best of five fresh processes.

    Where the machine is so busy that NumPy alone takes longer than 0.06 s, the limit is five times NumPy's time.
    """
    program = (
        "from time import perf_counter as now; start = now(); import numpy; between = now(); import wengert; "
        "print(between - start, now() - start)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed, the package is compiled once
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, env=env, capture_output=True, text=True, check=True) for _ in range(5)]
    numpy_alone, both = (min(times) for times in zip(*[map(float, r.stdout.split()) for r in runs], strict=True))
    assert both < max(0.3, 5 * numpy_alone)


def test_importing_needs_numpy_alone() -> None:
    program = "import sys, wengert; print(*{m.split('.')[0] for m in sys.modules})"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert not {"jax", "torch", "scipy", "IPython", "matplotlib", "hypothesis"} & set(done.stdout.split())


def test_the_command_prints_the_table() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "wengert", "primitives"], env=env, capture_output=True, check=True, encoding="utf-8"
    )
    assert "| `sin` | The sine of `x` in radians. | yes | yes | partial |" in done.stdout
