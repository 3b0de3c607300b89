"""The native executor's matrix kernels against NumPy, on every instruction set that this machine can run."""

import ctypes
import itertools
import mmap
import re
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.execute.native import schedule
from wengert.execute.native.product import ProductSpec, emit_product, scratch_bytes, store_epilogue, units
from wengert.execute.native.target import Target, host_target

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


class Kernels:
    """Products compiled together, so that they share what they have in common."""

    def __init__(self, target, specs, epilogues=None, extra=None):
        self.target, self.specs = target, specs
        module = ir.Module("products")
        for number, spec in enumerate(specs):
            pointer = NUMBER[spec.dtype].as_pointer()
            types = extra or [pointer]
            epilogue = store_epilogue(_dense(spec)) if epilogues is None else epilogues[number]
            inner = emit_product(module, f"product{number}", spec, epilogue, types, target)
            kinds = [pointer, pointer, pointer, I64, I64, *types]
            outer = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"entry{number}")
            b = ir.IRBuilder(outer.append_basic_block())
            b.call(inner, outer.args)
            b.ret_void()
        self.module = llvm.parse_assembly(str(module))
        self.module.verify()
        self.engine = llvm.create_mcjit_compiler(self.module, target.target_machine())
        self.engine.finalize_object()

    def __call__(self, number, x, y, *extra, order=None):
        """Run the units, one call for each range of `order`; the scratch memory holds NaNs before."""
        spec, pointer = self.specs[number], ctypes.c_void_p
        kinds = [pointer, pointer, pointer, ctypes.c_int64, ctypes.c_int64, *[pointer] * len(extra)]
        function = ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address(f"entry{number}"))
        size = scratch_bytes(spec, self.target)
        assert size % 64 == 0
        memory = np.full(size + GUARD + 64, 255, np.uint8)
        scratch = memory[-memory.ctypes.data % 64 :][: size + GUARD]
        for begin, end in order or [(0, units(spec, self.target))]:
            addresses = [v.ctypes.data for v in (x, y, scratch)]
            function(*addresses, begin, end, *(v.ctypes.data for v in extra))
        assert (scratch[size:] == 255).all(), spec


def _dense(spec):
    return tuple(np.cumprod((1, spec.n, spec.m, *spec.batch[:0:-1]))[: len(spec.batch) + 2][::-1].tolist())


def _spec(x, y):
    (*batch, m, k), n = x.shape, y.shape[-1]
    a, b = ([s // x.itemsize for s in v.strides] for v in (x, y))
    return ProductSpec(
        x.dtype.name, tuple(batch), m, n, k, (tuple(a[:-2]), a[-2], a[-1]), (tuple(b[:-2]), b[-2], b[-1])
    )


def _matrix(rng, dtype, batch, rows, columns, layout):
    shape = (*batch, rows, columns)
    if layout == "rows":
        return rng.standard_normal(shape).astype(dtype)
    if layout == "columns":
        return rng.standard_normal((*batch, columns, rows)).astype(dtype).swapaxes(-1, -2)
    if layout == "wide":  # a window of a larger array
        return rng.standard_normal((*batch, rows + 1, columns + 3)).astype(dtype)[..., 1:, 3:]
    if layout == "odd":
        return rng.standard_normal((*batch, 2 * rows + 1, 3 * columns + 1)).astype(dtype)[..., 1::2, 1::3]
    if layout == "flipped":
        return rng.standard_normal(shape).astype(dtype)[..., ::-1, ::-1]
    if layout == "broadcast":
        return np.broadcast_to(rng.standard_normal((rows, columns)).astype(dtype), shape)
    assert layout == "splat"
    return np.broadcast_to(rng.standard_normal((*batch, 1, 1)).astype(dtype), shape)


LAYOUTS = ("rows", "columns", "wide", "odd", "flipped", "broadcast", "splat")


def _check(out, x, y):
    """Within the bound of a sum of k rounded products in any order (Higham 2002, §3.1)."""
    k = x.shape[-1]
    wide = np.longdouble if x.dtype == np.float64 else np.float64
    bound = (k + 1) * np.finfo(x.dtype).eps / 2 * (np.abs(x).astype(wide) @ np.abs(y).astype(wide))
    error = np.abs(out - x.astype(wide) @ y.astype(wide))
    assert (error <= bound).all(), (x.shape, y.shape, x.strides, y.strides, x.dtype, error.max())


def _compare(target, pairs, rng):
    kernels = Kernels(target, [_spec(x, y) for x, y in pairs])
    for number, (x, y) in enumerate(pairs):
        spec = kernels.specs[number]
        out = np.full((*spec.batch, spec.m, spec.n), np.nan, x.dtype)
        last = units(spec, target)
        cuts = np.unique([0, last, *rng.integers(0, last + 1, 2)]).tolist()
        ranges = list(itertools.pairwise(cuts))
        kernels(number, x, y, out, order=[ranges[i] for i in rng.permutation(len(ranges))] or [(0, 0)])
        _check(out, x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_products(target, dtype):
    """Sizes around every tile's, all layouts, batches, units in any order."""
    rng = np.random.default_rng(7)
    sizes = (1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 27, 31, 32, 33, 40, 63, 64, 65, 100)
    pairs = []
    for number in range(36):
        m, n, k = (int(s) for s in rng.choice(sizes, 3))
        batch = ((), (), (3,), (2, 2))[rng.integers(4)]
        la, lb = (
            (LAYOUTS[i] for i in rng.integers(len(LAYOUTS), size=2)) if number % 2 else LAYOUTS[number // 2 % 2 :][:2]
        )
        pairs.append((_matrix(rng, dtype, batch, m, k, la), _matrix(rng, dtype, batch, k, n, lb)))
    _compare(target, pairs, rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_with_their_own_paths(target, dtype):
    """Vectors, outer products, sums so long that they come in chunks, packed operands: each in its transpositions."""
    rng = np.random.default_rng(8)
    shapes = [
        (1, 40, 70),
        (40, 1, 70),
        (1, 1, 70),
        (50, 33, 1),
        (3, 50, 45),
        (50, 3, 45),
        (70, 20, 3001),
        (200, 300, 530),
    ]
    layouts = [(a, b) for a in ("rows", "columns") for b in ("rows", "columns")]
    pairs = []
    for number, (m, n, k) in enumerate(shapes):
        for la, lb in layouts if m < 70 else layouts[number % 2 :: 2]:
            pairs.append((_matrix(rng, dtype, (), m, k, la), _matrix(rng, dtype, (), k, n, lb)))
    _compare(target, pairs, rng)


def test_empty_sums_and_empty_results(target):
    rng = np.random.default_rng(9)
    pairs = []
    for m, n, k, batch in (
        (5, 40, 0, ()),
        (40, 1, 0, ()),
        (1, 5, 0, (2,)),
        (0, 5, 3, ()),
        (5, 0, 3, ()),
        (5, 6, 3, (0,)),
    ):
        for layout in ("rows", "columns"):
            pairs.append((_matrix(rng, "float32", batch, m, k, layout), _matrix(rng, "float32", batch, k, n, layout)))
    kernels = Kernels(target, [_spec(x, y) for x, y in pairs])
    for number, (x, y) in enumerate(pairs):
        out = np.full((*x.shape[:-1], y.shape[-1]), np.nan, np.float32)
        kernels(number, x, y, out)
        assert not out.size or (units(kernels.specs[number], target) > 0 and (out == 0).all())


def test_what_is_not_finite_stays_in_its_row_and_column(target):
    """Lanes and rows that only fill up a tile or a panel never reach a result."""
    rng = np.random.default_rng(10)
    pairs = []
    for m, n, k, la, lb in itertools.product((5, 33), (1, 10, 45), (17, 40), ("rows", "columns"), ("rows", "columns")):
        x, y = _matrix(rng, "float32", (), m, k, la), _matrix(rng, "float32", (), k, n, lb)
        x[m - 1, k - 1] = np.inf
        y[0, 0] = np.nan
        pairs.append((x, y))
    kernels = Kernels(target, [_spec(x, y) for x, y in pairs])
    for number, (x, y) in enumerate(pairs):
        out = np.zeros((x.shape[0], y.shape[1]), np.float32)
        kernels(number, x, y, out)
        assert np.isnan(out[:, 0]).all()
        assert np.isinf(out[-1, 1:]).all()
        assert np.isfinite(out[:-1, 1:]).all()


def _add_and_relu(spec):
    """`C[b, i, j] += max(A·B + bias[j], 0)`: extra arguments C and bias."""
    number, strides = NUMBER[spec.dtype], _dense(spec)

    def epilogue(b, x, batch, i, j, lanes, mask, extra):
        valid = lanes if mask is None else sum(bit.constant for bit in mask.constant)
        offset = j
        for index, stride in zip([*batch, i], strides[:-1], strict=True):
            offset = b.add(offset, b.mul(index, I64(stride)))
        for lane in range(valid):
            one = b.extract_element(x, ir.IntType(32)(lane)) if lanes > 1 else x
            bias = b.load(b.gep(extra[1], [b.add(j, I64(lane))]))
            one = b.fadd(one, bias)
            one = b.select(b.fcmp_ordered(">", one, number(0.0)), one, number(0.0))
            place = b.gep(extra[0], [b.add(offset, I64(lane))])
            b.store(b.fadd(b.load(place), one), place)

    return epilogue


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_epilogue_sees_every_element_once(target, dtype):
    """Integers, so that the result is exact; what is added twice would show."""
    rng = np.random.default_rng(11)
    shapes = [(m, n, k) for m, n in ((1, 1), (1, 37), (37, 1), (29, 45), (9, 130), (83, 3)) for k in (3, 20)]
    shapes.append((61, 70, 4300))
    pairs = []
    for number, (m, n, k) in enumerate(shapes):
        x = rng.integers(-4, 5, (2, m, k)).astype(dtype)
        y = rng.integers(-4, 5, (2, k, n) if number % 2 else (2, n, k)).astype(dtype)
        pairs.append((x, y if number % 2 else y.swapaxes(1, 2)))
    specs = [_spec(x, y) for x, y in pairs]
    kernels = Kernels(target, specs, [_add_and_relu(s) for s in specs], [NUMBER[dtype].as_pointer()] * 2)
    for number, (x, y) in enumerate(pairs):
        bias = rng.integers(-9, 9, y.shape[-1]).astype(dtype)
        out = np.full((2, x.shape[1], y.shape[2]), 100, dtype)
        kernels(number, x, y, out, bias)
        np.testing.assert_array_equal(out, 100 + np.maximum(x @ y + bias, 0))


def test_results_in_any_place(target):
    """The default epilogue stores transposed and scattered results, and nothing beside them."""
    rng = np.random.default_rng(12)
    x, y = _matrix(rng, "float32", (2,), 19, 21, "rows"), _matrix(rng, "float32", (2,), 21, 37, "rows")
    spec = _spec(x, y)
    places = [np.zeros((3, 41, 22), np.float32) for _ in range(2)]
    views = [places[0][:2, :37, :19].swapaxes(1, 2), np.zeros((2, 19, 3 * 37 + 1), np.float32)[..., 1::3]]
    kernels = Kernels(target, [spec, spec], [store_epilogue([s // 4 for s in v.strides]) for v in views])
    for number, view in enumerate(views):
        kernels(number, x, y, view)
        _check(view, x, y)
    assert np.count_nonzero(places[0]) == np.count_nonzero(views[0])
    assert np.count_nonzero(views[1].base) == np.count_nonzero(views[1])


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages by Linux's mprotect")
def test_no_byte_beyond_the_operands_is_read(target):
    """Operands that end, or start, where a protected page does: a stray read would kill the process."""
    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    memories = []

    def guarded(values, at_end):
        base = values if values.flags.c_contiguous else values.swapaxes(0, 1)
        room = -(-base.nbytes // page) * page
        memory = mmap.mmap(-1, room + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for edge in (start, start + page + room):
            assert libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(page), 0) == 0
        memories.append(memory)
        offset = page + (room - base.nbytes if at_end else 0)
        copy = np.frombuffer(memory, base.dtype, base.size, offset).reshape(base.shape)
        copy[...] = base
        return copy if base is values else copy.swapaxes(0, 1)

    rng = np.random.default_rng(13)
    pairs = []
    for (m, n, k), at_end in itertools.product(
        ((1, 5, 37), (7, 35, 9), (33, 1, 21), (20, 50, 19), (65, 3, 5)), (True, False)
    ):
        for la, lb in itertools.product(("rows", "columns"), repeat=2):
            x, y = _matrix(rng, "float32", (), m, k, la), _matrix(rng, "float32", (), k, n, lb)
            pairs.append((guarded(x, at_end), guarded(y, at_end)))
    _compare(target, pairs, rng)


def test_transposed_spec_describes_the_transposed_product(target):
    rng = np.random.default_rng(14)
    x, y = _matrix(rng, "float64", (2,), 9, 20, "rows"), _matrix(rng, "float64", (2,), 20, 33, "columns")
    spec = _spec(x, y).transposed()
    assert spec == _spec(y.swapaxes(1, 2), x.swapaxes(1, 2))
    out = np.zeros((2, 33, 9))
    Kernels(target, [spec])(0, y, x, out)
    _check(out.swapaxes(1, 2), x, y)


def test_kernels_for_arm64_are_emitted_whole():
    """Without an ARM machine: the tile keeps its sums in registers, and nothing calls a library."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    try:
        machine = llvm.Target.from_triple(triple).create_target_machine(cpu="generic", opt=2)
    except RuntimeError:
        pytest.skip("this LLVM has no ARM64")
    arm = Target("generic", "", triple, 16, 32, True, (64 << 10, 1 << 20, 8 << 20))
    for strides in ((250, 1), (1, 78)):
        spec = ProductSpec("float32", (), 64, 250, 78, ((), 78, 1), ((), *strides))
        module = ir.Module("arm")
        emit_product(module, "product", spec, store_epilogue((250, 1)), [ir.FloatType().as_pointer()], arm).linkage = ""
        text = machine.emit_assembly(llvm.parse_assembly(str(module)))
        tile = text[text.index("\ntile_") :].split(".cfi_endproc")[0]
        loop = re.search(r"\.LBB\d+_1:(.*?)b\.\w+\t\.LBB\d+_1", tile, re.DOTALL)
        assert loop is not None
        assert loop[1].count("fmla") >= 8
        assert "sp" not in re.findall(r"\w+", loop[1])
        assert all(name.startswith(("tile_", "pack_", "turn_")) for name in re.findall(r"\tbl\t(\w+)", text))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("k", "m", "n"), [(5, 3, 40), (64, 64, 64), (700, 90, 77), (3200, 100, 512), (9, 17, 33)])
def test_column_sums_on_the_way(k, m, n, threads, monkeypatch):
    """A bias's gradient is summed up by the product that makes its weight's."""
    monkeypatch.setenv("WENGERT_CACHE_DIR", "0")
    for name in ("WORTH", "LEAST", "LEAST_ALIKE"):
        monkeypatch.setattr(schedule, name, 0.0)
    rng = np.random.default_rng(k)
    x, d = rng.normal(size=(k, m)).astype("f"), rng.normal(size=(k, n)).astype("f")

    @wg.jit
    def f(x, d):
        d = wg.tanh(d)
        return x.T @ d, 2 * wg.sum(d, axis=0)

    before = wg.get_num_threads()
    wg.set_num_threads(threads)
    try:
        assert "sum over the rows of" in str(f.lower(x, d).loops)
        for _ in range(3):
            product, sums = f(x, d)
            exact = np.tanh(d.astype(float))
            np.testing.assert_allclose(product, x.T @ exact, rtol=1e-4, atol=2e-4)
            np.testing.assert_allclose(sums, 2 * exact.sum(axis=0), rtol=1e-4, atol=2e-4)
    finally:
        wg.set_num_threads(before)
