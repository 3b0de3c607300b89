"""What is typed from habit, by those who know NumPy: it works, or the error says what to write."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError
from wengert.spelling import PACKAGE


def differentiated(f, x=(1.0, 2.0, 3.0)):
    with pytest.raises(ArgumentError) as caught:
        wg.grad(f)(np.asarray(x))
    return str(caught.value)


NUMPY = {
    "wg.linalg.slogdet": lambda x: np.linalg.slogdet(x[:, None] * x)[1],
    "wg.linalg.norm": lambda x: np.linalg.norm(x),
    "wg.einsum": lambda x: np.einsum("i,i->", x, x),
    "wg.diff": lambda x: np.diff(x)[0],
    "i = wg.searchsorted(xs, x)": lambda x: np.interp(1.5, x, x),
    "wg.sum((y[1:]": lambda x: np.trapezoid(x),
    "wg.linalg.kron": lambda x: np.kron(x, x)[0],
}


@pytest.mark.parametrize("instead", NUMPY)
def test_numpys_functions_are_named_at_the_users_line(instead):
    told = differentiated(NUMPY[instead])
    assert f": {instead}" in told and "test_habits.py" in told and "numpy/" not in told


def test_a_number_stored_in_a_numpy_array_is_to_be_collected():
    def loss(x):
        made = np.zeros(3)
        made[0] = x[0]
        return made.sum()

    with pytest.raises(ValueError) as caught:  # NumPy's own, which says nothing
        wg.grad(loss)(np.ones(3))
    assert "wg.stack(values)" in str(caught.value.__cause__)


INDICES = [((slice(1, -1), 0), "i = 1:-1, 0;"), ((..., slice(None, None, 2)), "i = ..., ::2;"), (3, "i = 3;"),
           (np.array([True, False, True, False]), "wg.where(mask, value, x)"), (None, "i = None")]  # fmt: skip


@pytest.mark.parametrize(("index", "told"), INDICES)
def test_assignment_in_place_says_how(index, told):
    with pytest.raises(ArgumentError) as caught:
        wg.ones((4, 4))[index] = 0.0
    assert told in str(caught.value) and "x.at[i].add(v)" in str(caught.value)


@pytest.mark.parametrize(("name", "told"), [("dot", "x @ y"), ("trace", "wg.linalg.trace"), ("relu", "functional.relu"),
                                             ("tensor", "wg.asarray"), ("lax", "wg.scan")])  # fmt: skip
def test_names_of_other_libraries_are_answered(name, told):
    assert not hasattr(wg, name)
    with pytest.raises(AttributeError, match=f"'{name}'; here: .*{told}"):
        getattr(wg, name)


def test_what_is_said_to_be_there_is_there():
    for name, told in PACKAGE.items():
        if told.startswith("wg.") and told.replace(".", "").replace("_", "").isalnum():
            there = wg
            for part in told.split(".")[1:]:
                there = getattr(there, part)
        assert not hasattr(wg, name), name


X = np.arange(12.0).reshape(3, 4)
PLACES = {
    "concat": lambda m: m.concat([X, X], 1), "stack": lambda m: m.stack([X, X], 1), "roll": lambda m: m.roll(X, 1, 0),
    "flip": lambda m: m.flip(X, 1), "repeat": lambda m: m.repeat(X, 2, 1), "sort": lambda m: m.sort(-X, 0),
    "argsort": lambda m: m.argsort(-X, 0), "diff": lambda m: m.diff(X**2, 2, 0), "take": lambda m: m.take(X, [0, 2], 1),
    "tensordot": lambda m: m.tensordot(X, X.T, 1),
    "take_along_axis": lambda m: m.take_along_axis(X, np.array([[0], [1], [2]]), 1),
    "zeros": lambda m: m.zeros((2, 3), m.float64), "full": lambda m: m.full((2,), 3, m.int64),
    "zeros_like": lambda m: m.zeros_like(X, m.int32),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_an_axis_may_stand_where_numpy_has_it(name):
    made, wanted = PLACES[name](wg), PLACES[name](np)
    np.testing.assert_array_equal(np.asarray(made), wanted, strict=True)
