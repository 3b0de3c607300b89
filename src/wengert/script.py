"""A file or module that the user names: run as Python, and searched for models, losses, batches and functions."""

from __future__ import annotations

import importlib
import inspect
import linecache
import re
import sys
import tokenize
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from wengert.errors import WengertError
from wengert.flow.recipe import Recipe
from wengert.nn.module import Module


class ScriptError(WengertError):
    """What the user named can't be run, or doesn't hold what is looked for."""


class Subject(NamedTuple):
    """What is to be diagnosed."""

    model: Any
    loss_fn: Any
    batch: tuple[Any, ...]
    optimizer: Any


def opened(target: str) -> tuple[ModuleType, str | None]:
    """Run `FILE[:NAME]` or `MODULE[:NAME]`; the module that it makes, and the name.

    The code runs with all the rights of the user, as `python FILE` would, but under another name than `__main__`: what
    stands under `if __name__ == "__main__":` is left out. The file's folder can be imported from.

    Raises:
        ScriptError: there is no such file or module, it is no Python, or it failed; with its lines of the traceback.
    """
    where, name = _split(target)
    path = Path(where)
    if path.suffix == ".py" or path.exists() or "/" in where or "\\" in where:
        return _run_file(path), name
    return _import(where), name


def subject(module: ModuleType, name: str | None) -> Subject:
    """The model of a module with its loss, batch and optimizer.

    `name` is that of a model, of a `flow.Recipe`, or of a function without arguments that returns a model or
    `(model, loss_fn, *batch)`; without it, the model is what is called `model`, or the only one there is. `loss_fn`,
    `optimizer` (or none) and `batch` are the module's of these names; instead of `batch = (x, y)`, the arguments of
    `loss_fn` may be there by their names.

    Raises:
        ScriptError: something is missing; says what the module holds instead.
    """
    held = vars(module)
    made: list[Any] = []
    model = found(module, name) if name else _only_model(module)
    if inspect.isroutine(model):
        label = name or "model"
        if needed(model):
            raise ScriptError(
                f"{label} of {_file(module)} needs arguments: {', '.join(needed(model))}; expected a model, or a "
                "function without arguments that returns (model, loss_fn, x, y)"
            )
        model = _called(model, label)
        if isinstance(model, tuple) and len(model) > 1 and callable(model[1]) and not hasattr(model, "_fields"):
            model, *made = model
    if not isinstance(model, (Module, Recipe, Mapping, list, tuple)) and not hasattr(model, "shape"):
        raise ScriptError(
            f"{name or 'model'} of {_file(module)} is a {type(model).__name__}; expected an nn.Module, a tree of "
            "arrays or a flow.Recipe"
        )
    loss_fn = made[0] if made else held.get("loss_fn")
    if isinstance(model, Recipe):
        loss_fn = model.loss_fn or loss_fn
    if not callable(loss_fn):
        raise ScriptError(
            f"{_file(module)} defines no loss_fn; expected `def loss_fn(model, x, y)` that returns one number"
        )
    batch = tuple(made[1:]) or _batch(module, loss_fn)
    return Subject(model, loss_fn, batch, None if isinstance(model, Recipe) else held.get("optimizer"))


def found(module: ModuleType, name: str) -> Any:
    """What a module holds under a name, which may have dots."""
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            names = [n for n in vars(module) if not n.startswith("_") and not isinstance(vars(module)[n], ModuleType)]
            raise ScriptError(f"{_file(module)} holds no {name!r}; it defines {_listed(names)}")
        value = getattr(value, part)
    return value


def _split(target: str) -> tuple[str, str | None]:
    where, colon, name = target.rpartition(":")
    if colon and where and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        return where, name
    if colon and where and not name:
        return where, None
    return target, None


def _run_file(path: Path) -> ModuleType:
    if not path.exists():
        raise ScriptError(f"{str(path)!r}: there is no such file")
    if path.is_dir():
        raise ScriptError(f"{str(path)!r} is a folder; expected a Python file")
    file = str(path.resolve())
    try:
        with tokenize.open(file) as text:
            code = compile(text.read(), file, "exec")
    except OSError as error:
        raise ScriptError(f"{str(path)!r} can't be read ({error.strerror})") from error
    except SyntaxError as error:
        shown = f"\n    {error.text.strip()}" if error.text else ""
        raise ScriptError(f"{path}:{error.lineno or 1}: {error.msg}; expected Python{shown}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ScriptError(f"{str(path)!r} is no Python file ({error})") from error
    name = "__wengert_" + re.sub(r"\W", "_", path.stem)
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    linecache.checkcache(file)
    try:
        exec(code, vars(module))
    except Exception as error:
        raise ScriptError(f"{path} failed:\n{own_lines(error)}") from error
    except SystemExit as error:
        raise ScriptError(
            f"{path} ended itself by sys.exit({error.code!r}); put what runs it under `if __name__ == '__main__':`"
        ) from error
    return module


def _import(name: str) -> ModuleType:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ScriptError(f"{name!r}: there is no such file, and it is no module's name; expected FILE.py or MODULE")
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ScriptError(f"{name!r}: there is no such file and no such module") from error
        raise ScriptError(f"{name} failed:\n{own_lines(error)}") from error
    except Exception as error:
        raise ScriptError(f"{name} failed:\n{own_lines(error)}") from error


def own_lines(error: BaseException) -> str:
    """An exception with those lines of its traceback that are neither ours nor the import system's."""
    package = str(Path(__file__).parent)
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(package) and not f.filename.startswith("<frozen")
    ]
    return "".join(traceback.format_list(frames[-5:]) + traceback.format_exception_only(type(error), error)).rstrip()


def _only_model(module: ModuleType) -> Any:
    held = vars(module)
    if "model" in held:
        return held["model"]
    models = {n: v for n, v in held.items() if isinstance(v, (Module, Recipe)) and n != "optimizer"}
    if len(models) == 1:
        return next(iter(models.values()))
    if models:
        raise ScriptError(f"{_file(module)} holds several models; say which: {_file(module)}:{' or '.join(models)}")
    raise ScriptError(
        f"{_file(module)} holds no model; expected `model = …`, an nn.Module, beside `def loss_fn(model, x, y)` and "
        "its arguments x and y; or name a function that returns (model, loss_fn, x, y): FILE:NAME"
    )


def _batch(module: ModuleType, loss_fn: Any) -> tuple[Any, ...]:
    held = vars(module)
    if "batch" in held:
        batch = held["batch"]
        return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    names = needed(loss_fn)[1:]
    missing = [n for n in names if n not in held]
    if missing:
        raise ScriptError(
            f"{_file(module)} defines no batch for loss_fn(model, {', '.join(names)}): {_listed(missing)} missing; "
            f"expected `batch = ({', '.join(names)}{',' * (len(names) == 1)})`, or variables of these names"
        )
    return tuple(held[n] for n in names)


def needed(f: Any) -> list[str]:
    """The parameters of a function that have no default."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind in positional]


def _called(f: Any, name: str) -> Any:
    try:
        return f()
    except Exception as error:
        raise ScriptError(f"{name}() failed:\n{own_lines(error)}") from error


def _file(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return Path(file).name if file else module.__name__


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "nothing"
