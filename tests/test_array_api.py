"""The functions of the array API standard: against NumPy, under every transformation, and their examples."""

import copy
import doctest
import importlib
import pickle

import numpy as np
import pytest

import wengert as wg
from wengert.errors import AbstractValueError, ArgumentError, DTypeError, ShapeError

rng = np.random.default_rng(2024)
X = rng.normal(size=(3, 4))
V = rng.normal(size=4)
C = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
MODULES = (
    "contraction_path", "creation", "cumulative", "dtypes", "einsum", "elementwise", "info", "manipulation", "products",
    "reductions", "searching", "sets",
)  # fmt: skip


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    found = importlib.import_module(f"wengert.array.{module}")
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder(recurse=False)
    for name, function in vars(found).items():
        if callable(function) and getattr(function, "__module__", "").startswith("wengert.array"):
            assert function.__doc__ or name.startswith("_"), f"{name} has no docstring"
            for example in finder.find(function, name, globs={"wg": wg, "np": np}):
                runner.run(example)
    assert runner.summarize().failed == 0


# Every function of floats: its value, and under every transformation. Pairs of ours and NumPy's.

FUNCTIONS = {
    "sum": (lambda m, x: m.sum(x, axis=0), X),
    "sum of all": (lambda m, x: m.sum(x), X),
    "sum over both": (lambda m, x: m.sum(x, axis=(0, -1), keepdims=True), X),
    "prod": (lambda m, x: m.prod(x, axis=1, keepdims=True), X),
    "mean": (lambda m, x: m.mean(x, axis=-1), X),
    "var": (lambda m, x: m.var(x, axis=0, correction=1), X),
    "std": (lambda m, x: m.std(x, axis=1), X),
    "max": (lambda m, x: m.max(x, axis=0), X),
    "min": (lambda m, x: m.min(x, axis=(0, 1)), X),
    "cumulative_sum": (lambda m, x: m.cumulative_sum(x, axis=1, include_initial=True), X),
    "cumulative_prod": (lambda m, x: m.cumulative_prod(x, axis=0), X),
    "cumsum": (lambda m, x: m.cumsum(x), X),
    "diff": (lambda m, x: m.diff(x, axis=1, n=2), X),
    "reshape": (lambda m, x: m.reshape(x, (2, -1)), X),
    "ravel": (lambda m, x: m.ravel(x), X),
    "permute_dims": (lambda m, x: m.permute_dims(x, (1, 0)), X),
    "transpose": (lambda m, x: m.transpose(x), X),
    "moveaxis": (lambda m, x: m.moveaxis(x, 0, -1), X),
    "swapaxes": (lambda m, x: m.swapaxes(x, 0, 1), X),
    "matrix_transpose": (lambda m, x: m.matrix_transpose(x), X),
    "expand_dims": (lambda m, x: m.expand_dims(x, axis=(0, 2)), X),
    "squeeze": (lambda m, x: m.squeeze(m.reshape(x, (3, 1, 4)), axis=1), X),
    "broadcast_to": (lambda m, x: m.broadcast_to(x, (2, 3, 4)), X),
    "broadcast_arrays": (lambda m, x: m.broadcast_arrays(x, x[:1])[1], X),
    "concat": (lambda m, x: m.concat([x, 2 * x], axis=1), X),
    "concat of all": (lambda m, x: m.concat([x, x], axis=None), X),
    "stack": (lambda m, x: m.stack([x, -x], axis=-1), X),
    "unstack": (lambda m, x: m.unstack(x, axis=1)[2], X),
    "flip": (lambda m, x: m.flip(x, axis=1), X),
    "roll": (lambda m, x: m.roll(x, (1, -6), axis=(0, 1)), X),
    "roll flat": (lambda m, x: m.roll(x, 5), X),
    "tile": (lambda m, x: m.tile(x, (2, 1, 3)), X),
    "tile short": (lambda m, x: m.tile(x, (2,)), X),
    "repeat": (lambda m, x: m.repeat(x, 3, axis=1), X),
    "repeat each": (lambda m, x: m.repeat(x, np.array([1, 0, 2]), axis=0), X),
    "tril": (lambda m, x: m.tril(x, k=-1), X),
    "triu": (lambda m, x: m.triu(x, k=1), X),
    "meshgrid": (lambda m, x: m.meshgrid(x, 2 * x)[1], V),
    "meshgrid ij": (lambda m, x: m.meshgrid(x, x, x, indexing="ij")[1], V),
    "where": (lambda m, x: m.where(x > 0, m.sqrt(m.where(x > 0, x, 1.0)), 0.0), X),
    "clip": (lambda m, x: m.clip(x, -0.5, 0.7), X),
    "clip below": (lambda m, x: m.clip(x, np.array([0.1, 0.2, 0.3, 0.4]), None), X),
    "matmul": (lambda m, x: m.matmul(x, m.matrix_transpose(x)), X),
    "matmul vector": (lambda m, x: m.matmul(x, x[0]), X),
    "tensordot": (lambda m, x: m.tensordot(x, x, axes=((0, 1), (0, 1))), X),
    "tensordot 1": (lambda m, x: m.tensordot(x, m.permute_dims(x, (1, 0)), axes=1), X),
    "vecdot": (lambda m, x: m.vecdot(x, x[0], axis=-1), X),
    "outer": (lambda m, x: m.outer(x, m.sin(x)), V),
    "pow": (lambda m, x: m.pow(x, 3), X),
    "logaddexp": (lambda m, x: m.logaddexp(x, 2 * x), X),
    "hypot": (lambda m, x: m.hypot(x, 1.5 + x * x), X),
    "remainder": (lambda m, x: m.remainder(x, 0.7), X),
    "astype": (lambda m, x: m.astype(m.astype(x, np.complex128), np.complex128), X),
    "full": (lambda m, x: m.full((2, 3), m.sum(x)) if m is np else wg.full((2, 3), wg.sum(x)), X),
    "linspace": (lambda m, x: m.linspace(x, 2 * x, 5), V),
    "unique": (lambda m, x: m.unique_values(x), X),
    "sort": (lambda m, x: m.sort(x, axis=0), X),
}  # fmt: skip
TRACED = {k: v for k, v in FUNCTIONS.items() if k not in ("unique", "astype")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_is_that_of_numpy(name):
    f, x = FUNCTIONS[name]
    close(f(wg, wg.asarray(x)), f(np, x))


def scalar(f):
    return lambda x: wg.sum(wg.sin(f(wg, x)))


@pytest.mark.parametrize("name", TRACED)
def test_derivative_is_that_of_differences(name):
    f, x = TRACED[name]
    t = rng.normal(size=x.shape)
    h = 1e-6
    value, slope = wg.jvp(scalar(f), (wg.asarray(x),), (wg.asarray(t),))
    close(value, scalar(f)(wg.asarray(x)))
    numeric = (float(scalar(f)(wg.asarray(x + h * t))) - float(scalar(f)(wg.asarray(x - h * t)))) / (2 * h)
    close(slope, numeric, 2e-7)
    close(wg.sum(wg.grad(scalar(f))(wg.asarray(x)) * t), slope, 1e-11)


@pytest.mark.parametrize("name", TRACED)
def test_batched_is_looped_and_staged_is_eager(name):
    f, x = TRACED[name]
    xs = wg.asarray(np.stack([x, x[::-1] * 0.5]))
    apply = lambda x: f(wg, x)  # noqa: E731
    close(wg.vmap(apply)(xs), np.stack([np.asarray(apply(wg.asarray(np.asarray(xs)[i]))) for i in range(2)]))
    close(wg.jit(apply)(wg.asarray(x)), apply(wg.asarray(x)))
    close(wg.jit(wg.grad(scalar(f)))(wg.asarray(x)), wg.grad(scalar(f))(wg.asarray(x)))


def test_derivative_passes_through_unique_values():
    x = wg.asarray([3.0, 1.0, 3.0, 2.0])
    same(wg.grad(lambda x: wg.sum(wg.unique_values(x) ** 2))(x), np.float32([6, 2, 0, 4]))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wg.reshape(X, (5, -1)), ShapeError),
        (lambda: wg.reshape(X, (-1, -1)), ShapeError),
        (lambda: wg.reshape(X.T, (12,), copy=False), ArgumentError),
        (lambda: wg.zeros(wg.asarray([2, 3])), ShapeError),
        (lambda: wg.zeros(-1), ShapeError),
        (lambda: wg.permute_dims(X, (0, 0)), ShapeError),
        (lambda: wg.concat([]), ShapeError),
        (lambda: wg.concat([wg.asarray(1.0)]), ShapeError),
        (lambda: wg.stack([X, V]), ShapeError),
        (lambda: wg.squeeze(X, 0), ShapeError),
        (lambda: wg.expand_dims(X, 4), ShapeError),
        (lambda: wg.moveaxis(X, (0, 1), (0,)), ShapeError),
        (lambda: wg.repeat(X, np.array([1, 2]), axis=0), ShapeError),
        (lambda: wg.sum(X, axis=2), ShapeError),
        (lambda: wg.max(wg.zeros((0,))), ShapeError),
        (lambda: wg.max(C), DTypeError),
        (lambda: wg.argmin(C), DTypeError),
        (lambda: wg.nonzero(wg.asarray(1.0)), ShapeError),
        (lambda: wg.where(wg.asarray([1.0]), 1, 2), DTypeError),
        (lambda: wg.searchsorted(X, 1.0), ShapeError),
        (lambda: wg.searchsorted(V, 1.0, side="middle"), ArgumentError),
        (lambda: wg.tril(V), ShapeError),
        (lambda: wg.meshgrid(X), ShapeError),
        (lambda: wg.meshgrid(V, indexing="yx"), ArgumentError),
        (lambda: wg.arange(0, 3, 0), ArgumentError),
        (lambda: wg.astype(C, wg.float32), DTypeError),
        (lambda: wg.zeros(2, device="gpu"), ArgumentError),
        (lambda: wg.asarray([1.0], copy=False), ArgumentError),
        (lambda: wg.asarray([[1.0], [1.0, 2.0]]), ArgumentError),
        (lambda: wg.asarray(["a"]), ArgumentError),
        (lambda: wg.asarray(1j, dtype=wg.float32), DTypeError),
        (lambda: wg.asarray(300, dtype=wg.uint8), DTypeError),
        (lambda: wg.asarray(2**63), DTypeError),
        (lambda: wg.finfo(wg.int8), DTypeError),
        (lambda: wg.iinfo(wg.float32), DTypeError),
        (lambda: wg.isdtype(wg.int8, "integer"), ArgumentError),
        (wg.result_type, ArgumentError),
        (lambda: wg.diff(X, n=-1), ArgumentError),
        (lambda: wg.vecdot(X, wg.ones(3)), ShapeError),
        (lambda: wg.tensordot(X, X, axes=3), ShapeError),
        (lambda: wg.from_dlpack([1.0]), ArgumentError),
        (lambda: wg.asarray(X).__array_namespace__(api_version="1999"), ArgumentError),
    ],
)  # fmt: skip
def test_mistakes_are_explained_at_the_users_line(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "test_array_api.py" in str(caught.value) or "1999" in str(caught.value)


@pytest.mark.parametrize("function", [wg.unique_values, wg.nonzero, lambda x: wg.repeat(x, wg.astype(x, int))])
def test_shapes_that_depend_on_numbers_need_numbers(function):
    with pytest.raises(AbstractValueError, match="abstract value"):
        wg.jit(function)(wg.asarray([1.0, 2.0]))
    with pytest.raises(AbstractValueError, match="abstract value"):
        wg.vmap(function)(wg.asarray([[1.0, 2.0]]))


# Types.


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2.0, "float32"), (2, "int64"), (True, "bool"), (2j, "complex64"), ([1.0], "float32"), ([1], "int64"),
        ([], "float32"), ([[True], [False]], "bool"), ([1, 2.5], "float32"), ([True, 2], "int64"),
        ([1j, 2], "complex64"), (np.float64(1), "float64"), (np.ones(2), "float64"),
        (np.ones(2, ">f8"), "float64"), ([np.float64(1), 2], "float64"), ([np.float32(1), 2.5], "float32"),
        ([np.int8(1), 2], "int8"), ([np.int8(1), 2.5], "float32"), ([2**63], "uint64"),
        (memoryview(b"ab"), "uint8"), (np.float16(1), "float16"),
    ],
)  # fmt: skip
def test_types_of_new_arrays(value, dtype):
    assert wg.asarray(value).dtype == dtype
    assert not wg.asarray(value).weak


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint32", "bool", "float32", "float64"])
def test_sums_widen_small_integers_only(name):
    x = wg.ones(300, dtype=getattr(wg, name))
    wanted = {"b": "int64", "i": "int64", "u": "uint64", "f": name}[x.dtype.kind]
    assert all(f(x).dtype == wanted for f in (wg.sum, wg.prod, wg.cumulative_sum, wg.cumulative_prod, wg.cumsum))
    assert wg.sum(x, dtype=wg.float64).dtype == "float64" and int(wg.sum(x)) == 300
    assert wg.max(x).dtype == name
    assert wg.mean(x).dtype == ("float64" if name == "float64" else "float32")


def test_means_of_half_precision_do_not_overflow():
    x = wg.full(1000, 100.0, dtype=wg.float16)
    assert wg.mean(x).dtype == wg.float16
    assert float(wg.mean(x)) == 100.0
    assert float(wg.var(x)) == 0.0


def test_result_types():
    assert wg.result_type(wg.int16, wg.uint8) == wg.int16
    assert wg.result_type(wg.int64, wg.float32) == wg.float32
    assert wg.result_type(wg.asarray([1], dtype=wg.int8), 3) == wg.int8
    assert wg.result_type(wg.int8, 2.0) == wg.float32
    assert wg.result_type(wg.float64, 1j) == wg.complex128
    assert wg.result_type(1, 2.0) == wg.float32
    assert wg.result_type(True, True) == wg.bool


def test_lists_of_traced_numbers_keep_their_derivative():
    f = lambda x: wg.sum(wg.asarray([[x, 2 * x], [x * x, 1.0]]) * wg.asarray([[1.0, 10.0], [100.0, 1000.0]]))  # noqa: E731
    close(wg.grad(f)(3.0), 1 + 20 + 600)
    close(wg.grad(lambda x: wg.sum(wg.multiply(x, [x[0], 2.0])))(wg.asarray([3.0, 5.0])), [6.0, 2.0])
    close(wg.jit(lambda x: wg.asarray([x, 1.0]))(2.0), [2.0, 1.0])
    assert wg.vmap(lambda x: wg.asarray([x, x]))(wg.ones(3)).shape == (3, 2)
    with pytest.raises(ArgumentError, match="shapes"):
        wg.grad(lambda x: wg.sum(wg.asarray([[x], [x, x]])))(1.0)


# The array object.


def test_numpy_shares_memory_both_ways():
    a = np.arange(6.0)
    x = wg.asarray(a)
    assert np.shares_memory(np.asarray(x), a)
    assert not np.shares_memory(np.asarray(wg.asarray(a, copy=True)), a)
    assert np.shares_memory(np.from_dlpack(x), a)
    assert np.shares_memory(np.asarray(wg.from_dlpack(a)), a)
    assert not np.shares_memory(np.asarray(wg.from_dlpack(a, copy=True)), a)
    assert np.shares_memory(np.asarray(wg.reshape(x, (2, 3), copy=False)), a)
    assert not np.shares_memory(np.asarray(wg.reshape(x, (2, 3), copy=True)), a)
    assert wg.from_dlpack(x) is x
    same(np.from_dlpack(wg.broadcast_to(x, (2, 6))), np.broadcast_to(a, (2, 6)))  # read-only memory


def test_torch_shares_memory():
    torch = pytest.importorskip("torch")
    t = torch.arange(4.0)
    x = wg.from_dlpack(t)
    t[0] = 7
    assert float(x.max()) == 7
    assert torch.from_dlpack(x).data_ptr() == t.data_ptr()


def test_copies_and_pickles():
    x = wg.asarray([1.0, 2.0])
    same(pickle.loads(pickle.dumps(x)), x)
    same(copy.copy(x), x)
    assert np.shares_memory(np.asarray(copy.copy(x)), np.asarray(x))
    assert not np.shares_memory(np.asarray(copy.deepcopy(x)), np.asarray(x))
    weak = pickle.loads(pickle.dumps(wg.sin(1.0)))
    assert weak.weak
    assert wg.grad(lambda x: copy.deepcopy(x) * x)(3.0).item() == 6.0
    with pytest.raises(ArgumentError, match="pickled"):
        wg.grad(lambda x: len(pickle.dumps(x)) * x)(3.0)


def test_methods_are_functions():
    x = wg.asarray(X)
    close(x.sum(axis=0), X.sum(axis=0))
    close(x.mean(), X.mean())
    close(x.std(1), X.std(1))
    close(x.reshape(2, 6), X.reshape(2, 6))
    close(x.reshape((-1,)), X.reshape(-1))
    close(x.transpose(), X.T)
    close(x.transpose(1, 0), X.T)
    close(x.cumsum(axis=0), X.cumsum(axis=0))
    close(x.astype(wg.float32), X.astype(np.float32))
    close(x.flatten(), X.flatten())
    close(wg.asarray(C).real, C.real)
    close(wg.asarray(C).imag, C.imag)
    close(wg.asarray(C).conj(), C.conj())
    assert int(x.argmax()) == X.argmax()
    assert [float(row.sum()) for row in x] == pytest.approx(list(X.sum(axis=1)))
    assert x.nbytes == X.nbytes
    assert x.to_device("cpu") is x
    assert x.__array_namespace__() is wg
    assert f"{wg.asarray(2.5):.2f}" == "2.50"
    with pytest.raises(ArgumentError, match=r"x\.at"):
        x[0] = 1.0
    with pytest.raises(ArgumentError, match="not available"):
        x.to_device("gpu")


def test_assigning_operators_make_new_arrays():
    x = y = wg.asarray([1.0])
    y += 1
    assert (float(x.sum()), float(y.sum())) == (1.0, 2.0)


def test_names_of_numpy():
    for ours, numpys in {"abs": "absolute", "acos": "arccos", "concat": "concatenate", "pow": "power"}.items():
        assert getattr(wg, ours) is getattr(wg, numpys)
    info = wg.__array_namespace_info__()
    assert info.default_dtypes()["real floating"] == wg.float32
    assert set(info.dtypes(kind="complex floating")) == {"complex64", "complex128"}
    assert wg.diff(wg.asarray([1, 3])).tolist() == [2]


# Conventions that differ between libraries.


def test_standard_deviation_of_equal_numbers_has_derivative_zero():
    same(wg.grad(wg.std)(wg.ones(3)), np.zeros(3, np.float32))
    both = wg.vmap(wg.std)
    close(both(wg.asarray([[1.0, 1.0], [1.0, 3.0]])), [0.0, 1.0])


def test_closeness():
    a = np.array([1.0, np.nan, np.inf, -np.inf, 1.0, 0.0])
    b = np.array([1.0 + 1e-9, np.nan, np.inf, np.inf, 1.1, 1e-9])
    for equal_nan in (False, True):
        same(wg.isclose(a, b, equal_nan=equal_nan), np.isclose(a, b, equal_nan=equal_nan))
    assert not wg.isclose(np.uint8(1), np.uint8(2))
    assert wg.allclose(X, X)


COMPLEX = {
    "conj": lambda m, z: m.conj(z) * z,
    "real": lambda m, z: m.real(z * z) * z,
    "imag": lambda m, z: m.imag(z * z) * z,
    "angle": lambda m, z: m.angle(z) * z,
    "abs": lambda m, z: m.abs(z) * z,
    "polar": lambda m, z: m.exp(1j * m.real(z)) * m.imag(z),
    "vecdot": lambda m, z: m.vecdot(z, z * z),
    "var": lambda m, z: m.var(z, axis=0) + 0j,
    "einsum": lambda m, z: m.einsum("ij,kj->ik", z, m.conj(z)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_derivatives_are_those_of_jax(name):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    f = COMPLEX[name]
    ours = lambda z: wg.sum(wg.real(wg.sin(f(wg, z))) + 2 * wg.imag(f(wg, z)))  # noqa: E731
    theirs = lambda z: jnp.sum(jnp.real(jnp.sin(f(jnp, z))) + 2 * jnp.imag(f(jnp, z)))  # noqa: E731
    close(f(wg, wg.asarray(C)), f(jnp, C), 1e-10)
    close(wg.grad(ours)(wg.asarray(C)), jax.grad(theirs)(C), 1e-10)
    t = np.conj(C) + 1
    _, slope = wg.jvp(lambda z: f(wg, z), (wg.asarray(C),), (wg.asarray(t),))
    _, wanted = jax.jvp(lambda z: f(jnp, z), (jnp.asarray(C),), (jnp.asarray(t),))
    close(slope, wanted, 1e-10)


def test_complex_from_parts_is_that_of_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    from wengert.ops.complex import complex_

    ours = lambda x, y: wg.sum(wg.real(wg.sin(complex_(x, y[0]) ** 2)))  # noqa: E731
    theirs = lambda x, y: jax.numpy.sum(jax.numpy.real(jax.numpy.sin(jax.lax.complex(x, 0 * x + y[0]) ** 2)))  # noqa: E731
    for a, b in zip(wg.grad(ours, (0, 1))(X, X + 1), jax.grad(theirs, (0, 1))(X, X + 1), strict=True):
        close(a, b, 1e-10)
