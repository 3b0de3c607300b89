"""Bad input gets an error that names the operation, the shapes or types, the user's line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import (
    AbstractValueError,
    ArgumentError,
    DTypeError,
    EscapedTraceError,
    NoAttributeError,
    ShapeError,
    TreeError,
    UnsupportedError,
    WengertError,
)
from wengert.ir.primitive import registry


def x64(*shape: int) -> Any:
    return wg.asarray(np.ones(shape))


def escaped() -> Any:
    kept: list[Any] = []
    wg.grad(lambda x: (kept.append(x), x)[1])(1.0)
    return kept[0]


# what is done wrong, the error's class, and the parts that its message must have
CASES: list[tuple[Callable[[], Any], type[WengertError], list[str]]] = [
    (lambda: x64(2, 3) + x64(4), ShapeError, ["add", r"\(2, 3\) and \(4,\)", "3 and 4", "reshape one operand"]),
    (lambda: wg.where(x64(2) > 0, x64(2), x64(3)), ShapeError, ["where", r"\(2,\)", r"\(3,\)", "equal or 1"]),
    (lambda: x64(2, 3) @ x64(2, 3), ShapeError, [r"\(2, 3\) and \(2, 3\)", "columns of the first", "rows of the sec"]),
    (lambda: x64(2) @ wg.asarray(2.0), ShapeError, ["matmul", r"\(2,\)", r"multiply with \*"]),
    (lambda: wg.reshape(x64(2, 3), (4, 2)), ShapeError, ["reshape", "6", r"\(2, 3\)", r"\(4, 2\)", "8"]),
    (lambda: wg.sum(x64(2, 3), axis=2), ShapeError, ["sum", "axis 2", "2 dimensions"]),
    (lambda: wg.concat([x64(2, 3), x64(3, 2)]), ShapeError, ["concat", r"\(2, 3\)", r"\(3, 2\)"]),
    (lambda: wg.max(x64(0, 2), axis=0), ShapeError, ["max", r"\(0, 2\)", "no elements"]),
    (lambda: x64(3)[5], ShapeError, ["5", r"\(3,\)|length 3"]),
    (lambda: x64(3)[0, 1], ShapeError, [r"\(3,\)"]),
    (lambda: wg.grad(lambda x: x * 2)(x64(3)), ShapeError, ["grad", r"\(3,\)", "wg.sum", "jacobian"]),
    (lambda: wg.grad(lambda x: x * 2.0)(wg.asarray([1, 2])), DTypeError, ["int64", "change continuously", "float32"]),
    (lambda: wg.grad(lambda x: None)(1.0), ArgumentError, ["grad", "None", "Return the loss"]),
    (lambda: wg.grad(lambda x: "text")(1.0), ArgumentError, ["grad", "a str", "Return the loss"]),
    (lambda: wg.grad(lambda x: (x, x))(1.0), ArgumentError, ["grad", "a tuple", "has_aux"]),
    (lambda: wg.grad(lambda x: x > 0)(1.0), DTypeError, ["grad", "bool", "real float"]),
    (lambda: wg.grad(lambda x: x * 1j)(1.0), DTypeError, ["grad", "complex", "real part"]),
    (lambda: wg.grad(3.0), ArgumentError, ["grad takes a function", "float", r"grad\(f\)\(x\)"]),
    (wg.grad(lambda x: x), ArgumentError, ["argument 0", "only 0"]),
    (lambda: wg.grad(lambda x: x, argnums=1.5), ArgumentError, ["grad", "argnums is 1.5", "sequence of integers"]),
    (lambda: wg.jacobian(lambda x: x, argnums="x")(1.0), ArgumentError, ["argnums is 'x'", "sequence of integers"]),
    (lambda: wg.grad(lambda x: x, has_aux=True)(1.0), ArgumentError, ["has_aux", "pair"]),
    (lambda: wg.jvp(lambda x: x, 1.0, 1.0), ArgumentError, ["tuple of primals", r"jvp\(f, \(x,\), \(t,\)\)"]),
    (lambda: wg.jvp(lambda x: x, (x64(2),), (x64(3),)), ShapeError, ["tangent", r"\(3,\)", r"\(2,\)"]),
    (lambda: wg.vjp(lambda x: x, x64(2))[1](x64(3)), ShapeError, ["cotangent", r"\(3,\)", r"\(2,\)"]),
    (lambda: wg.vmap(lambda x, y: x)(x64(2), x64(3)), ShapeError, ["vmap", r"\(2,\)", r"\(3,\)", "different lengths"]),
    (lambda: wg.vmap(lambda x: x, in_axes=1)(x64(2)), ShapeError, ["vmap", "axis 1"]),
    (lambda: wg.vmap(lambda x: x, in_axes=None)(x64(2)), ArgumentError, ["vmap", "no argument has a batch axis"]),
    (lambda: escaped() * 2, EscapedTraceError, ["multiply", "escaped", "a derivative", "Return it"]),
    (lambda: wg.jit(lambda x: x if x > 0 else -x)(1.0), AbstractValueError, ["truth value", r"bool\*?\[\]", "wg.cond"]),
    (lambda: wg.jit(lambda x: float(x))(1.0), AbstractValueError, ["as a float", "`jit`", "plain Python int"]),
    (lambda: wg.jit(lambda x: wg.zeros(x))(2), ShapeError, ["zeros", "int64", "known without running"]),
    (lambda: wg.jit(wg.sin, executor="none")(1.0), WengertError, ["'none'", "available", "numpy"]),
    (lambda: wg.jit(lambda x: x[3])(x64(3)), ShapeError, ["index 3", "axis 0", "length 3"]),
    (lambda: x64(3).at[5].set(1.0), ShapeError, ["index 5", "length 3", "-3 to 2"]),
    (
        lambda: wg.scan(lambda c, x: (wg.stack([c, c]), x), 0.0, x64(3)),
        ShapeError,
        ["scan", "carry", r"\[2\]", "one type"],
    ),
    (lambda: wg.scan(lambda c, x: (c > 0.5, x), 0.7, x64(3)), DTypeError, ["scan", "float64", "bool", "one type"]),
    (lambda: wg.scan(lambda c, x: (np.int64(1), x), x64(), x64(3)), DTypeError, ["scan", "float64", "int64", "astype"]),
    (lambda: wg.scan(lambda c, x: c, 0.0, x64(3)), ArgumentError, ["scan", "pair", "new carry"]),
    (
        lambda: wg.scan(lambda c, x: (c, None), 0.0, (x64(3), x64(4))),
        ShapeError,
        ["scan", "3, 4", "one number of turns"],
    ),
    (lambda: wg.while_loop(lambda c: c, lambda c: c + 1, 0.0), DTypeError, ["while_loop", "one boolean", "wg.any"]),
    (lambda: wg.while_loop(lambda c: c < 3, lambda c: (c, c), 0.0), ArgumentError, ["while_loop", "structure"]),
    (lambda: wg.cond(x64(3) > 0, lambda: 1.0, lambda: 2.0), ShapeError, ["cond", r"\(3,\)", "wg.where"]),
    (lambda: wg.sin("text"), ArgumentError, ["sin", "a str", "nested list of numbers"]),
    (lambda: wg.sin(None), ArgumentError, ["sin", "None"]),
    (lambda: wg.sin(np.array(["a"])), DTypeError, ["sin", "<U1", "convert"]),
    (lambda: wg.asarray([[1.0], [1.0, 2.0]]), ArgumentError, ["nested list is no array"]),
    (lambda: wg.bitwise_and(x64(2), x64(2)), DTypeError, ["bitwise_and", "float64", "integers"]),
    (lambda: wg.atan2(x64(2) * 1j, x64(2)), DTypeError, ["atan2", "complex128", "real floats"]),
    (lambda: wg.asarray([2, 3]) ** -1, DTypeError, ["power", "-1", "convert to float"]),
    (lambda: bool(x64(2)), ArgumentError, ["truth value", r"\(2,\)", "wg.any"]),
    (lambda: float(x64(2)), ArgumentError, ["float", r"\(2,\)"]),
    (lambda: range(x64()), DTypeError, ["an index is one integer", "float64"]),
    (lambda: hash(x64()), ArgumentError, ["no hash", "elementwise"]),
    (lambda: len(x64()), ArgumentError, ["len", r"shape \(\)"]),
    (lambda: x64(2, 2, 2).T, NoAttributeError, [r"x\.T", r"\(2, 2, 2\)", "mT"]),
    (lambda: wg.astype(x64(2) * 1j, wg.float32), DTypeError, ["complex128", "float32", "wg.real"]),
    (lambda: wg.zeros((2,), dtype="object"), DTypeError, ["object", "choose one of"]),
    (lambda: wg.astype(x64(2), None), DTypeError, ["None", "choose one of"]),
    (lambda: registry["exp"].transpose(0, x64(), [x64()], {}), UnsupportedError, ["transpose", "not linear"]),
    (lambda: registry["less"].partial(0, [x64(), x64()], x64(), {}), UnsupportedError, ["partial", "piecewise"]),
]


@pytest.mark.parametrize(("wrong", "kind", "parts"), CASES)
def test_errors(wrong: Callable[[], Any], kind: type[WengertError], parts: list[str]) -> None:
    with pytest.raises(kind) as caught:
        wrong()
    message = str(caught.value)
    for part in parts:
        assert re.search(part, message), f"{part!r} not in: {message}"
    if "hash" not in message and "Return it" not in message:
        assert "test_errors.py:" in message, f"no line of the user's in: {message}"


def test_an_escaped_value_names_the_line_that_used_it() -> None:
    kept: list[Any] = []
    wg.vmap(lambda x: (kept.append(x), x)[1])(x64(3))
    with pytest.raises(EscapedTraceError, match=r"vmap.*\n.*test_errors\.py:\d+ in test_an_escaped.*wg\.sin\(kept"):
        wg.sin(kept[0])


def test_a_value_inside_vmap_has_no_one_number() -> None:
    with pytest.raises(WengertError, match=r"abstract value bool\[\].*`vmap`"):
        wg.vmap(lambda x: x if x > 0 else -x)(x64(3))


def test_an_attribute_that_is_a_function() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'sin'; functions live at top level"):
        x64(2).sin()


def test_a_cyclic_container() -> None:
    loop: list[Any] = [1.0]
    loop.append(loop)
    with pytest.raises(TreeError, match=r"a list contains itself \(at argument 0: \[1\]\).*\n.*test_errors\.py"):
        wg.grad(lambda x: x[0])(loop)


def test_errors_are_also_python_s_own() -> None:
    """Each can be caught as the exception that Python or NumPy would have raised."""
    for kind, base in ((ShapeError, ValueError), (DTypeError, TypeError), (ArgumentError, TypeError)):
        assert issubclass(kind, base) and issubclass(kind, WengertError)
