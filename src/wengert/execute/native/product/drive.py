"""The loops around the register tile, and the function that a program calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Index, Machine, Piece, mask_of, value
from wengert.execute.native.product.column_sums import column_sums_function
from wengert.execute.native.product.dot import dot_function
from wengert.execute.native.product.pack import pack_function
from wengert.execute.native.product.plan import layout, make_plan, round_up
from wengert.execute.native.product.spec import ProductSpec, Target
from wengert.execute.native.product.tile import tile_function, whole

# epilogue(builder, value, batch indices, i, j, lanes, mask, extra arguments)
Epilogue = Callable[
    [ir.IRBuilder, ir.Value, list[ir.Value], ir.Value, ir.Value, int, "ir.Value | None", Sequence[ir.Value]], Any
]


def emit_product(
    module: ir.Module,
    name: str,
    spec: ProductSpec,
    epilogue: Epilogue,
    extra_args: Sequence[ir.Type],
    target: Target,
    along: Literal["units", "rows", "columns"] = "units",
    column_sums: bool = False,
) -> ir.Function:
    """Emit the internal function `void name(T* A, T* B, T* scratch, i64 begin, i64 end, <extra_args…>)`.

    It computes the units [begin, end) of the `units(spec, target)` that the product is cut into, or the rows or columns
    [begin, end) of a single product with a `panel_width`; columns begin and end with panels. Each finished piece
    `C[b, i, j : j + lanes]` is handed to `epilogue(builder, value, batch_indices, i, j, lanes, mask, extra)` once,
    after the whole sum over k: `value` is a vector of `lanes` numbers, or a number if `lanes` is 1; `mask`, a
    constant, says which lanes count, None if all do. What the epilogue emits runs in a loop over the rows of a tile, so
    it is emitted a few times only; it may add blocks and must leave the builder where its work ends. k = 0 gives zeros.

    With `column_sums`, which needs `has_column_sums(spec, target)`, the last argument is a pointer to n numbers, where
    the sum over k of B[k, j] is put; if rows are split, by the call with row 0.

    `scratch` points to `scratch_bytes(spec, target)` bytes, aligned to 64, for this call alone: threads that share a
    product need one each. The operands may not overlap the scratch memory, nor what the epilogue writes.
    """
    number = Machine(spec.dtype, target).number.as_pointer()
    kinds = [number, number, number, I64, I64, *extra_args, *([number] if column_sums else [])]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    if 0 not in (spec.m, spec.n, *spec.batch):
        drive = Drive(function, builder, spec, epilogue, target, column_sums)
        {"units": drive.emit, "rows": drive.emit_rows, "columns": drive.emit_columns}[along]()
    builder.ret_void()
    return function


def store_epilogue(strides: Sequence[int]) -> Epilogue:
    """Store C through the first extra argument, a pointer; strides along the batch axes, i and j, in elements."""
    *outer, last = strides

    def store(
        b: ir.IRBuilder,
        x: ir.Value,
        batch: list[ir.Value],
        i: ir.Value,
        j: ir.Value,
        lanes: int,
        mask: Any,
        extra: Sequence[ir.Value],
    ) -> None:
        number = x.type.element if lanes > 1 else x.type
        size = 4 if isinstance(number, ir.FloatType) else 8
        offset = b.mul(j, I64(last))
        for index, stride in zip([*batch, i], outer, strict=True):
            offset = b.add(offset, b.mul(index, I64(stride)))
        place = b.gep(extra[0], [offset])
        if lanes == 1 or (last == 1 and mask is None):
            b.store(x, b.bitcast(place, x.type.as_pointer()), align=size)
        elif last == 1:
            intrinsic = f"llvm.masked.store.v{lanes}f{8 * size}.p0"
            function = b.module.globals.get(intrinsic)
            if function is None:
                kinds = [x.type, place.type, ir.IntType(32), mask.type]
                function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), kinds), intrinsic)
            b.call(function, [x, place, ir.IntType(32)(size), mask])
        else:
            for lane in range(lanes):
                if mask is None or mask.constant[lane].constant:
                    at = b.gep(place, [I64(lane * last)])
                    b.store(b.extract_element(x, ir.IntType(32)(lane)), at, align=size)

    return store


class Drive:
    """One product's loops."""

    def __init__(
        self,
        function: ir.Function,
        builder: ir.IRBuilder,
        spec: ProductSpec,
        epilogue: Epilogue,
        target: Target,
        column_sums: bool = False,
    ):
        self.machine = Machine(spec.dtype, target)
        self.module = function.module
        self.code = Code(builder, self.machine)
        self.plan = make_plan(spec, target)
        self.spec = self.plan.spec
        self.epilogue = epilogue
        self.layout = layout(self.plan, self.machine)
        self.chunks = -(-self.spec.k // self.plan.depth) if self.plan.depth else 1
        self.width = round_up(self.plan.width, self.machine.lanes)  # of rows of sums and packed panels
        self.a, self.b, self.scratch, self.begin, self.end, *self.extra = function.args
        self.column_sums = self.extra.pop() if column_sums else None
        if self.plan.transposed:
            self.a, self.b = self.b, self.a
        # a vector may be read at the last row's last new column
        tile = builder.alloca(ir.ArrayType(self.machine.number, self.plan.rows * self.width + self.machine.lanes))
        tile.align = 64
        self.sums = builder.bitcast(tile, self.machine.number.as_pointer())

    def emit(self) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        for unit in code.loop(self.begin, self.end):
            rest, rows = self.divide(unit, plan.row_blocks)
            rest, columns = self.divide(rest, plan.column_blocks)
            indices: list[Index] = []
            for extent in reversed(spec.batch):
                rest, index = self.divide(rest, extent)
                indices.insert(0, index)
            a, b = self.a, self.b
            for index, along_a, along_b in zip(indices, spec.a[0], spec.b[0], strict=True):
                a, b = code.at(a, code.mul(index, along_a)), code.at(b, code.mul(index, along_b))
            first, left = code.mul(rows, plan.tiles_per_unit), code.mul(columns, plan.panels_per_unit)
            self.block(
                Block(
                    tuple(value(index) for index in indices),
                    a,
                    b,
                    (first, code.least(code.add(first, plan.tiles_per_unit), plan.tiles)),
                    (left, code.least(code.add(left, plan.panels_per_unit), plan.panels)),
                    0,
                    spec.m,
                )
            )

    def emit_rows(self) -> None:
        """Rows from any one to any other; the tiles are counted from the first."""
        code, plan = self.code, self.plan
        height = 1 if plan.dots else plan.rows
        batch = tuple(I64(0) for _ in self.spec.batch)
        rows = code.add(self.end, code.mul(self.begin, -1))
        tiles = code.b.udiv(value(code.add(rows, height - 1)), I64(height))
        for left in code.loop(0, plan.panels, plan.panels_per_unit):
            for first in code.loop(0, tiles, plan.tiles_per_unit):
                to = code.least(code.add(first, plan.tiles_per_unit), tiles)
                right = code.least(code.add(left, plan.panels_per_unit), plan.panels)
                self.block(Block(batch, self.a, self.b, (first, to), (left, right), self.begin, self.end))

    def emit_columns(self) -> None:
        """The panels that begin with one column and end with another."""
        code, plan = self.code, self.plan
        batch = tuple(I64(0) for _ in self.spec.batch)
        until = code.b.udiv(value(code.add(self.end, plan.width - 1)), I64(plan.width))
        for left in code.loop(code.b.udiv(value(self.begin), I64(plan.width)), until, plan.panels_per_unit):
            right = code.least(code.add(left, plan.panels_per_unit), until)
            for first in code.loop(0, plan.tiles, plan.tiles_per_unit):
                to = code.least(code.add(first, plan.tiles_per_unit), plan.tiles)
                self.block(Block(batch, self.a, self.b, (first, to), (left, right), 0, self.spec.m))

    def block(self, block: Block) -> None:
        if self.plan.dots:
            self.dots(block)
        elif self.chunks == 1:
            self.chunk(block, 0)
        else:
            self.clear_sums()
            for chunk in self.code.loop(0, self.chunks):
                self.chunk(block, chunk)

    def divide(self, x: Index, count: int) -> tuple[Index, Index]:
        if count == 1:
            return x, 0
        b = self.code.b
        return b.udiv(value(x), I64(count)), b.urem(value(x), I64(count))

    def either(self, condition: ir.Value | bool, emit: Callable[[bool], None]) -> None:
        """`emit(True)` where the condition holds, `emit(False)` elsewhere; one that is known costs nothing."""
        if isinstance(condition, bool):
            return emit(condition)
        with self.code.b.if_else(condition) as (yes, no):
            with yes:
                emit(True)
            with no:
                emit(False)

    # -- tiles

    def clear_sums(self) -> None:
        lanes = self.machine.lanes
        sums = self.code.at(self.scratch, self.layout.sums)
        for at in self.code.loop(0, self.layout.total - self.layout.sums, lanes):
            self.code.store(self.machine.zero(lanes), self.code.at(sums, at), Piece(0, lanes, lanes))

    def chunk(self, block: Block, chunk: Index) -> None:
        """All tiles of a block, over one chunk of k."""
        code, plan, spec = self.code, self.plan, self.spec
        start = code.mul(chunk, plan.depth)
        last: ir.Value | bool = True
        if self.chunks > 1:
            last = code.b.icmp_signed("==", value(chunk), I64(self.chunks - 1))
        a, b = code.at(block.a, code.mul(start, spec.a[2])), code.at(block.b, code.mul(start, spec.b[1]))
        if plan.pack_b:
            for panel in code.loop(*block.panels):
                self.pack(block, b, panel, last)
        for tile in code.loop(*block.tiles):
            i = code.least(self.top(block, tile), spec.m - plan.rows)
            a_tile = code.at(a, code.mul(i, spec.a[1]))
            for panel in code.loop(*block.panels):
                pieces, b_stride = self.machine.pieces(plan.width), spec.b[1]
                if plan.pack_b:
                    b_panel, b_stride = self.packed(block, panel), self.width
                    pieces = tuple(whole(p) for p in pieces)
                else:
                    b_panel = code.at(b, self.column(panel))
                sums, depth = self.sums, spec.k if self.chunks == 1 else None
                if self.chunks > 1:
                    place = code.mul(self.inside(tile, block.tiles), plan.panels_per_unit)
                    place = code.add(place, self.inside(panel, block.panels))
                    place = code.mul(place, plan.rows * self.width)
                    sums = code.at(self.scratch, code.add(place, self.layout.sums))
                k = code.least(plan.depth, code.add(spec.k, code.mul(start, -1)))
                function = tile_function(
                    self.module, self.machine, plan.rows, pieces, spec.a[1:], b_stride, depth, self.chunks > 1
                )
                code.b.call(function, [a_tile, b_panel, sums, value(k)])
                if last is True:
                    self.finish(block, tile, panel, sums)
                else:
                    with code.b.if_then(last):
                        self.finish(block, tile, panel, sums)
        if self.column_sums is not None:
            self.add_up(block, b, start)

    def add_up(self, block: Block, b: ir.Value, start: Index) -> None:
        """The sums of a block's columns go on by a chunk."""
        code, plan, spec = self.code, self.plan, self.spec
        k = value(code.least(plan.depth, code.add(spec.k, code.mul(start, -1))))

        def panels() -> None:
            for panel in code.loop(*block.panels):
                source, stride = code.at(b, self.column(panel)), spec.b[1]
                if plan.pack_b:
                    source, stride = self.packed(block, panel), self.width

                def columns(
                    full: bool, *, panel: Index = panel, source: ir.Value = source, stride: int = stride
                ) -> None:
                    count = plan.width if full else plan.edge
                    skipped = plan.width - count
                    function = column_sums_function(self.module, self.machine, count, stride)
                    out = code.at(self.column_sums, code.add(self.column(panel), skipped))
                    code.b.call(function, [code.at(source, skipped), out, k, value(start)])

                self.either(self.is_full(panel), columns)

        if block.row is self.begin:  # rows are shared out: whoever has the first one
            first = code.b.icmp_signed("==", value(code.add(block.row, block.tiles[0])), I64(0))
            with code.b.if_then(first):
                panels()
        else:
            panels()

    def top(self, block: Block, tile: Index) -> Index:
        """The first row of a tile that is new: the tile itself may reach back."""
        return self.code.add(block.row, self.code.mul(tile, self.plan.rows))

    def column(self, panel: Index) -> Index:
        """Where a panel starts: the last one reaches back."""
        return self.code.least(self.code.mul(panel, self.plan.width), self.spec.n - self.plan.width)

    def is_full(self, panel: Index) -> ir.Value | bool:
        """Whether all of a panel's columns are new."""
        if not self.plan.edge:
            return True
        return self.code.b.icmp_signed("<", value(panel), I64(self.plan.panels - 1))

    def inside(self, at: Index, span: tuple[Index, Index]) -> Index:
        return self.code.add(at, self.code.mul(span[0], -1))

    def packed(self, block: Block, panel: Index) -> ir.Value:
        size = round_up(self.plan.depth, self.machine.lanes) * self.width
        place = self.code.mul(self.inside(panel, block.panels), size)
        return self.code.at(self.scratch, self.code.add(place, self.layout.b))

    def pack(self, block: Block, b: ir.Value, panel: Index, last: ir.Value | bool) -> None:
        code, plan, (_, along, across) = self.code, self.plan, self.spec.b
        source = code.at(b, code.mul(self.column(panel), across))
        rest = self.spec.k - (self.chunks - 1) * plan.depth

        def emit(is_last: bool) -> None:
            k = rest if is_last else plan.depth
            function = pack_function(self.module, self.machine, along, across, k, plan.width, self.width)
            code.b.call(function, [source, self.packed(block, panel)])

        self.either(last if rest != plan.depth else True, emit)

    def finish(self, block: Block, tile: Index, panel: Index, sums: ir.Value) -> None:
        """The epilogue on what is new in a tile."""
        code, plan, spec = self.code, self.plan, self.spec
        top = self.top(block, tile)
        i = code.least(top, spec.m - plan.rows)
        below = code.least(plan.rows, code.add(block.end, code.mul(i, -1))) if block.end is self.end else plan.rows

        def columns(full: bool) -> None:
            count = plan.width if full else plan.edge
            skipped = plan.width - count
            j = code.add(self.column(panel), skipped)
            for r in code.loop(self.inside(top, (i, 0)), below):
                row = code.at(sums, code.add(code.mul(r, self.width), skipped))
                self.hand_over(block, row, code.add(i, r), j, count)

        self.either(self.is_full(panel), columns)

    def hand_over(self, block: Block, row: ir.Value, i: Index, j: Index, count: int) -> None:
        """`count` finished sums C[i, j:] to the epilogue, one by one and as Cᵀ's if the product was transposed."""
        code, batch = self.code, list(block.batch)
        if self.plan.transposed:
            for c in code.loop(0, count):
                x = code.b.load(code.at(row, c), typ=self.machine.number)
                self.epilogue(code.b, x, batch, value(code.add(j, c)), value(i), 1, None, self.extra)
        else:
            for p in self.machine.pieces(count):
                x, at = code.load(code.at(row, p.offset), whole(p)), code.add(j, p.offset)
                self.epilogue(code.b, x, batch, value(i), value(at), p.lanes, mask_of(p), self.extra)

    # -- dots

    def dots(self, block: Block) -> None:
        code, spec, plan = self.code, self.spec, self.plan
        (_, ai, ak), (_, _, bj) = spec.a, spec.b
        for row in code.loop(*block.tiles):
            i = code.add(block.row, row)
            x = code.at(block.a, code.mul(i, ai))
            if plan.pack_a:  # its numbers must lie side by side
                row = code.at(self.scratch, self.layout.a)
                for k in code.loop(0, spec.k):
                    number = code.b.load(code.at(x, code.mul(k, ak)), typ=self.machine.number)
                    code.b.store(number, code.at(row, k))
                x = row
            for panel in code.loop(*block.panels):
                j = code.mul(panel, plan.width)

                def strip(full: bool, *, x: ir.Value = x, i: Index = i, j: Index = j) -> None:
                    count = plan.width if full else plan.edge
                    function = dot_function(self.module, self.machine, spec.k, bj, count)
                    code.b.call(function, [x, code.at(block.b, code.mul(j, bj)), self.sums])
                    self.hand_over(block, self.sums, i, j, count)

                self.either(self.is_full(panel), strip)


@dataclass(frozen=True)
class Block:
    """One unit, or part of it: where it starts in A and B, and its tiles and panels."""

    batch: tuple[ir.Value, ...]
    a: ir.Value
    b: ir.Value
    tiles: tuple[Index, Index]
    panels: tuple[Index, Index]
    row: Index  # that the tiles are counted from
    end: Index  # of the rows that are wanted
