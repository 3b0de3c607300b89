"""Convolutions as machine code against NumPy, on every instruction set that this machine can run."""

import ctypes
import itertools
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

import wengert as wg
from wengert import tree
from wengert.errors import UnsupportedError
from wengert.execute.native.conv import conv_plan, conv_run, conv_scratch, conv_spec, conv_units, emit_conv, out_shape
from wengert.execute.native.target import host_target
from wengert.ir.types import ArrayType
from wengert.ops.conv import conv_p
from wengert.ops.pool import argmax_pool_p, max_pool_p, sum_pool_p

I64 = ir.IntType(64)
NUMBER = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
GUARD = 64  # bytes behind the scratch memory that must stay as they are


@pytest.fixture(params=["x86-64-v4", "x86-64-v3", "x86-64-v2", "native"], scope="module")
def target(request):
    if request.param == "native" and llvm.get_process_triple().startswith("x86_64"):
        pytest.skip("one of the levels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WENGERT_CPU", request.param)
        try:
            return host_target()
        except UnsupportedError as error:
            pytest.skip(str(error))


def store(strides):
    """An epilogue that counts how often each element of the output is handed over, and adds it there."""

    def epilogue(b, x, index, start, lanes, mask, extra):
        offset = b.mul(start, I64(strides[-1]))
        for i, s in zip(index, strides[:-1], strict=True):
            offset = b.add(offset, b.mul(i, I64(s)))
        for lane in range(lanes):
            if mask is None or mask.constant[lane].constant:
                number = b.extract_element(x, ir.IntType(32)(lane)) if lanes > 1 else x
                place = b.gep(b.gep(extra[0], [offset]), [I64(lane * strides[-1])])
                b.store(b.fadd(b.load(place), number), place)

    return epilogue


class Kernels:
    """Convolutions compiled together, so that they share what they have in common."""

    def __init__(self, target, specs):
        self.target, self.specs = target, specs
        module = ir.Module("convolutions")
        for number, spec in enumerate(specs):
            pointer = NUMBER[spec.dtype].as_pointer()
            shape = out_shape(spec, target)
            strides = np.cumprod((1, *shape[:0:-1]))[::-1].tolist()
            inner = emit_conv(module, f"conv{number}", spec, store(strides), [pointer], target)
            kinds = [pointer, pointer, pointer, I64, I64, pointer]
            outer = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"entry{number}")
            b = ir.IRBuilder(outer.append_basic_block())
            b.call(inner, outer.args)
            b.ret_void()
        self.module = llvm.parse_assembly(str(module))
        self.module.verify()
        self.engine = llvm.create_mcjit_compiler(self.module, target.target_machine())
        self.engine.finalize_object()

    def __call__(self, number, x, kernel, order=None):
        """The convolution: blocks, where there are any, are added up."""
        out, spec = self.raw(number, x, kernel, order), self.specs[number]
        if out.shape != (spec.n, spec.groups * spec.o, *(a.places for a in spec.axes)):
            out = np.moveaxis(out.sum(0), (-2, -1), (0, 1))
        return out

    def raw(self, number, x, kernel, order=None):
        """Run the units, one call for each range of `order`; the scratch memory holds NaNs before."""
        spec, pointer = self.specs[number], ctypes.c_void_p
        kinds = [pointer, pointer, pointer, ctypes.c_int64, ctypes.c_int64, pointer]
        function = ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address(f"entry{number}"))
        shape = out_shape(spec, self.target)
        out = np.zeros(shape, x.dtype)
        size = conv_scratch(spec, self.target)
        assert size % 64 == 0
        for begin, end in order or [(0, conv_units(spec, self.target))]:
            memory = np.full(size + GUARD + 64, 255, np.uint8)
            scratch = memory[-memory.ctypes.data % 64 :][: size + GUARD]
            function(x.ctypes.data, kernel.ctypes.data, scratch.ctypes.data, begin, end, out.ctypes.data)
            assert (scratch[size:] == 255).all(), spec
        return out


def spec_of(x, kernel, params):
    steps = [[s // v.itemsize for s in v.strides] for v in (x, kernel)]
    return conv_spec(x.dtype.name, (x.shape, steps[0]), (kernel.shape, steps[1]), **params)


def laid_out(rng, shape, dtype, layout):
    """Random numbers in an array of this shape with unusual strides."""
    if layout == "last":  # channels innermost in memory
        return np.moveaxis(rng.standard_normal((shape[0], *shape[2:], shape[1])).astype(dtype), -1, 1)
    if layout == "swapped":
        return rng.standard_normal((shape[1], shape[0], *shape[2:])).astype(dtype).swapaxes(0, 1)
    if layout == "flipped":
        return rng.standard_normal(shape).astype(dtype)[:, :, ::-1]
    if layout == "window":
        return rng.standard_normal((*shape[:-1], 2 * shape[-1] + 1)).astype(dtype)[..., 1::2]
    assert layout == "rows"
    return rng.standard_normal(shape).astype(dtype)


LAYOUTS = ("rows", "rows", "last", "swapped", "flipped", "window")


def case(rng, dtype, n, groups, c, o, sizes, taps, layouts=("rows", "rows"), **params):
    dims = len(sizes)
    given = {
        "stride": (1,) * dims, "padding": ((0, 0),) * dims, "input_dilation": (1,) * dims,
        "kernel_dilation": (1,) * dims, "groups": groups, **params,
    }  # fmt: skip
    x = laid_out(rng, (n, groups * c, *sizes), dtype, layouts[0])
    kernel = laid_out(rng, (groups * o, c, *taps), dtype, layouts[1])
    return x, kernel, given


def check(target, cases, rng):
    cases = [c for c in cases if conv_plan(spec_of(*c), target) is not None]
    assert cases
    kernels = Kernels(target, [spec_of(*c) for c in cases])
    for number, (x, kernel, params) in enumerate(cases):
        spec = kernels.specs[number]
        last = conv_units(spec, target)
        cuts = np.unique([0, last, *rng.integers(0, last + 1, 2)]).tolist()
        ranges = list(itertools.pairwise(cuts))
        out = kernels(number, x, kernel, [ranges[i] for i in rng.permutation(len(ranges))])
        wide = np.longdouble if x.dtype == np.float64 else np.float64
        with np.errstate(all="ignore"):
            exact = conv_p.evaluate(x.astype(wide), kernel.astype(wide), **params)
            size = conv_p.evaluate(np.abs(x).astype(wide), np.abs(kernel).astype(wide), **params)
        # within the bound of a sum of k rounded products in any order (Higham 2002, §3.1)
        bound = (spec.c * spec.taps + 1) * np.finfo(x.dtype).eps / 2 * size
        error = np.abs(out.reshape(exact.shape) - exact)
        assert (error <= bound).all(), (spec, error.max())


def test_units_come_in_runs_of_rows(target):
    """So that threads may share examples out instead."""
    rng = np.random.default_rng(19)
    same = ((1, 1), (1, 1))
    cases = [
        case(rng, "float32", 5, 2, 3, 4, (9, 40), (5, 3), padding=same),
        case(rng, "float32", 3, 1, 64, 16, (70, 70), (3, 3), padding=same),  # in bands
        case(rng, "float32", 6, 1, 144, 150, (8, 8), (3, 3), padding=same),  # several pictures together
        case(rng, "float32", 16, 1, 64, 32, (30, 30), (30, 30), ("swapped", "swapped"), padding=same),  # in blocks
    ]
    kernels = Kernels(target, [spec_of(*c) for c in cases])
    for number, (x, kernel, _) in enumerate(cases):
        spec = kernels.specs[number]
        rows, run = conv_run(spec, target)
        count = out_shape(spec, target)[0]
        assert -(-count // rows) * run == conv_units(spec, target)
        for first in (0, count - 1):
            out = kernels.raw(number, x, kernel, [(first // rows * run, (first // rows + 1) * run)])
            begin = first // rows * rows
            expected = np.zeros(count, bool)
            expected[begin : begin + rows] = True
            assert ((out != 0).reshape(count, -1).any(1) == expected).all()
            assert (out[begin : begin + rows] != 0).all()


def random_case(rng, dtype):
    dims = int(rng.integers(1, 4))
    most = (0, 40, 19, 7)[dims]
    pick = lambda *of: tuple(int(v) for v in rng.choice(of, dims))  # noqa: E731
    taps, dilation, base, stride = pick(1, 2, 3, 3, 5), pick(1, 1, 2, 3), pick(1, 1, 2, 3), pick(1, 1, 2, 3)
    sizes = tuple(int(v) for v in rng.integers(1, most, dims))
    padding = []
    for size, t, d, b in zip(sizes, taps, dilation, base, strict=True):
        low, high = (int(v) for v in rng.integers(-2, 4, 2))
        lacking = (t - 1) * d + 1 - ((size - 1) * b + 1 + low + high)
        padding.append((low, high + max(lacking, 0)))
    groups, c, o = int(rng.choice((1, 1, 2, 3))), *(int(v) for v in rng.choice((1, 2, 3, 5, 16, 17, 33), 2))
    layouts = tuple(LAYOUTS[k] for k in rng.integers(len(LAYOUTS), size=2))
    return case(
        rng, dtype, int(rng.integers(1, 4)), groups, c, o, sizes, taps, layouts, stride=stride, padding=tuple(padding),
        input_dilation=base, kernel_dilation=dilation,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_convolutions(target, dtype):
    rng = np.random.default_rng(11)
    check(target, [random_case(rng, dtype) for _ in range(20)], rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_usual_layers_and_their_adjoints(target, dtype):
    """What training asks for: layers, their adjoint by x (dilated input) and that by the kernel (few places)."""
    rng = np.random.default_rng(12)
    same, swapped = ((1, 1), (1, 1)), ("swapped", "swapped")
    cases = [
        case(rng, dtype, 2, 1, 16, 32, (12, 12), (3, 3), padding=same),
        case(rng, dtype, 2, 1, 3, 20, (15, 17), (7, 7), padding=((3, 3), (3, 3)), stride=(2, 2)),
        case(rng, dtype, 2, 1, 20, 33, (9, 7), (1, 1)),
        case(rng, dtype, 2, 1, 24, 16, (8, 8), (3, 3), padding=((1, 2), (1, 2)), input_dilation=(2, 2)),
        case(rng, dtype, 2, 1, 24, 16, (8, 8), (1, 1), padding=((0, 1), (0, 1)), input_dilation=(2, 2)),
        case(rng, dtype, 16, 1, 3, 32, (12, 12), (12, 12), swapped, padding=same),
        case(rng, dtype, 16, 2, 9, 32, (12, 13), (6, 6), swapped, padding=same, kernel_dilation=(2, 2)),
        case(rng, dtype, 3, 1, 40, 16, (300,), (5,), padding=((2, 2),)),
        case(rng, dtype, 1, 1, 64, 16, (70, 70), (3, 3), padding=same),  # in bands
        case(rng, dtype, 1, 1, 64, 16, (70, 70), (3, 3), padding=same, input_dilation=(2, 2)),
    ]
    check(target, cases, rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_group_for_each_channel(target, dtype):
    rng = np.random.default_rng(17)
    same, both = ((1, 1), (1, 1)), ("swapped", "swapped")
    cases = [
        case(rng, dtype, 2, 37, 1, 1, (9, 20), (3, 3), padding=same),
        case(rng, dtype, 2, 16, 1, 1, (9, 10), (3, 3), ("last", "rows"), padding=same, stride=(2, 2)),
        case(rng, dtype, 2, 18, 1, 1, (5, 5), (3, 3), padding=((1, 2), (1, 2)), input_dilation=(2, 2)),
        case(rng, dtype, 1, 37, 4, 1, (9, 20), (9, 20), both, padding=same),
        case(rng, dtype, 1, 18, 5, 1, (11, 11), (5, 5), both, padding=same, kernel_dilation=(2, 2)),
    ]
    check(target, cases, rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_larger_than_the_cache(target, dtype):
    """Some channels at a time, or several pictures together; one of these kernels is turned, as an adjoint asks."""
    rng = np.random.default_rng(18)
    same = ((1, 1), (1, 1))
    cases = [
        case(rng, dtype, 2, 1, 96, 144, (4, 5), (5, 5), padding=((2, 2), (2, 2))),
        case(rng, dtype, 6, 1, 144, 150, (8, 8), (3, 3), padding=same),
    ]
    cases.append(case(rng, dtype, 144, 1, 12, 150, (8, 8), (8, 8), ("swapped", "swapped"), padding=same))
    x, kernel, given = cases[1]
    cases.append((x[:, :144], np.ascontiguousarray(kernel.swapaxes(0, 1)).swapaxes(0, 1)[:, :, ::-1, ::-1], given))
    check(target, cases, rng)


def native_agrees(f, *args, tolerance=1e-5, left=()):
    """The compiled program against NumPy; `left` names the primitives that it may leave to NumPy."""
    lowered = wg.jit(f, executor="native").lower(*args)
    found = set(re.findall(r"NumPy: (\w+)", lowered.loops))
    assert found == set(left), found
    results = [tree.leaves(wg.jit(f, executor=e)(*args)) for e in ("native", "numpy")]
    for mine, theirs in zip(*(map(np.asarray, r) for r in results), strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        size = np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * size)


def test_training_step_of_a_network_of_convolutions():
    """Bias, activation and shortcut ride along with the convolutions, and so do the activations' derivatives."""
    rng = np.random.default_rng(13)
    x, k1, k2 = (rng.standard_normal(s, np.float32) for s in ((3, 9, 12, 10), (16, 9, 3, 3), (16, 16, 3, 3)))
    k3, b = rng.standard_normal((8, 16, 3, 3), np.float32), rng.standard_normal((16, 1, 1), np.float32)

    def loss(params):
        k1, k2, k3, b = params
        y = wg.tanh(wg.conv(x, k1, padding="same") + b)
        y = wg.maximum(y + wg.conv(y, k2, padding="same"), 0)
        return wg.mean(wg.square(wg.conv(y, k3, stride=2)))

    native_agrees(wg.value_and_grad(loss), (k1, k2, k3, b), tolerance=2e-5)


def test_convolution_inside_a_loop():
    rng = np.random.default_rng(14)
    x, kernels = rng.standard_normal((2, 8, 9, 9)), rng.standard_normal((4, 8, 8, 3, 3)) / 8

    def loss(kernels, x):
        y, _ = wg.scan(lambda y, k: (wg.tanh(wg.conv(y, k, padding="same")), None), x, kernels)
        return wg.sum(y * y)

    native_agrees(wg.value_and_grad(loss, (0, 1)), kernels, x, tolerance=1e-12)


def test_what_is_not_finite_stays_in_its_window():
    """Also under minimal filtering, whose sums would turn an infinity into NaN."""
    rng = np.random.default_rng(15)
    x, kernel = rng.standard_normal((3, 16, 16, 16), np.float32), rng.standard_normal((16, 16, 3, 3), np.float32)
    x[0, 3, 5, 5], x[1, 2, 0, 15], x[2, 5, 9, 9] = np.inf, np.nan, 3e38
    ct = rng.standard_normal((3, 16, 16, 16), np.float32)

    def pulled(x, kernel):
        out, pull = wg.vjp(lambda x, k: wg.conv(x, k, padding="same"), x, kernel)
        return out, pull(ct)

    with np.errstate(all="ignore"):
        native_agrees(pulled, x, kernel)


def test_other_numbers_are_left_to_numpy():
    x, kernel = np.arange(50).reshape(1, 2, 5, 5), np.arange(18).reshape(1, 2, 3, 3)
    native_agrees(lambda x, k: wg.conv(x, k), x, kernel, left=["conv"])
    native_agrees(lambda x, k: wg.conv(x, k), x.astype(np.float16), kernel.astype(np.float16), left=["conv"])


POOLS = {
    "halves": {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)},
    "overlapping": {"window": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)},
    "dilated": {"window": (2, 3), "stride": (1, 2), "padding": ((0, 2), (1, 0)), "dilation": (3, 2)},
    "cut": {"window": (2, 2), "stride": (1, 1), "padding": ((-1, 0), (0, -2)), "dilation": (1, 1)},
    "large": {"window": (5, 14), "stride": (2, 1), "padding": ((2, 2), (1, 0)), "dilation": (1, 1)},
    "one axis": {"window": (4,), "stride": (3,), "padding": ((1, 2),), "dilation": (1,)},
    "three axes": {
        "window": (2, 1, 3),
        "stride": (1, 2, 2),
        "padding": ((0, 0), (0, 0), (1, 1)),
        "dilation": (1, 1, 1),
    },
}


@pytest.mark.parametrize("how", POOLS)
def test_pooling(how):
    rng = np.random.default_rng(16)
    params = POOLS[how]
    x = rng.integers(-4, 5, (2, 3, 4, 11, 15)).astype(np.float32)  # with ties
    x[0, 1, 2, 3:5, 7], x[1, 0, 0, 6, 3] = np.nan, -np.inf
    native_agrees(lambda x: max_pool_p.bind(x, **params), x)
    native_agrees(lambda x: sum_pool_p.bind(x, **params), x)
    native_agrees(lambda x: argmax_pool_p.bind(x, **params), x, left=["argmax_pool"] if how == "large" else [])
    native_agrees(lambda x: max_pool_p.bind(x, **params), np.nan_to_num(x).clip(-4, 4).astype(np.int64))
    if how not in ("large", "cut"):
        x = rng.standard_normal((2, 3, 4, 11, 15))
        ct = rng.standard_normal(max_pool_p.type(ArrayType(x.shape, x.dtype), **params).shape)

        def pulled(x):
            out, pull = wg.vjp(lambda x: max_pool_p.bind(x, **params) + sum_pool_p.bind(x, **params), x)
            return out, pull(ct)

        native_agrees(pulled, x, tolerance=1e-12)


@pytest.mark.parametrize("size", [4, 16])  # directly, and by minimal filtering
def test_activations_on_the_way_in(size):
    """What only convolutions read, and costs little, is computed where they copy their input, and stored nowhere."""
    rng = np.random.default_rng(20)
    x, k1, k2 = (rng.standard_normal(s) for s in ((2, size, 9, 18), (size, size, 3, 3), (size, size, 3, 3)))

    def loss(k1, k2):
        y = wg.conv(x, k1, padding="same")
        return wg.sum(wg.tanh(wg.conv(wg.maximum(0.5 - y * y, 0.1), k2, padding="same")))  # 0.1 around, were it padded

    native_agrees(wg.value_and_grad(loss, (0, 1)), k1, k2, tolerance=1e-12)
    assert "Σ = maximum(subtract(0.5, multiply(t0, t0)), 0.1) @ " in wg.jit(loss, executor="native").lower(k1, k2).loops


def test_a_number_on_the_way_in_is_not_the_window():
    """An input computed from a number alone, which lies in memory, is stored before it is convolved."""
    x, k = np.float32(0.3), np.arange(12, dtype=np.float32).reshape(2, 2, 3)

    def f(x, k):
        ones = wg.broadcast_to(x * 2, (2, 2, 5)) + wg.ones((2, 2, 5)) * x
        return wg.nn.functional.conv1d(ones, k, padding=1), wg.nn.functional.conv1d(
            wg.broadcast_to(x, (2, 2, 5)) * 3, k
        )

    native_agrees(f, x, k, tolerance=1e-5)


def test_threads_compute_what_one_does(monkeypatch):
    """Bit for bit; examples stay with their thread, so that nobody waits between one convolution and the next."""
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    rng = np.random.default_rng(21)
    x, k1, k2 = (rng.standard_normal(s, np.float32) for s in ((24, 16, 13, 20), (32, 16, 3, 3), (16, 32, 5, 5)))
    k3 = rng.standard_normal((144, 16, 3, 3), np.float32) / 4  # several pictures together

    def loss(k1, k2, k3):
        y = wg.tanh(wg.conv(wg.tanh(wg.conv(x, k1, padding="same")), k2, stride=2))
        return wg.sum(wg.square(wg.conv(y, k3, padding="same")))

    step = wg.value_and_grad(loss, (0, 1, 2))
    before, results = wg.get_num_threads(), []
    try:
        for count in (1, 2):
            wg.set_num_threads(count)
            lowered = wg.jit(step, executor="native").lower(k1, k2, k3)
            results.append(tree.leaves(wg.jit(step, executor="native")(k1, k2, k3)))
    finally:
        wg.set_num_threads(before)
    lines = lowered.loops.splitlines()
    places = [n for n, line in enumerate(lines) if line.startswith("convolution 24")]
    assert len(places) >= 3
    assert not any("barrier" in line for line in lines[: places[2]])
    for one, two in zip(*results, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(two))
    native_agrees(step, k1, k2, k3, tolerance=1e-4)
