"""The loops around the register tile, and the function that a program calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate as running
from typing import Any

from llvmlite import ir

from wengert.execute.native.product.code import I64, Code, Index, Machine, Piece, mask_of, value
from wengert.execute.native.product.dot import dot_function
from wengert.execute.native.product.pack import pack_function
from wengert.execute.native.product.plan import Plan, layout, make_plan, round_up
from wengert.execute.native.product.spec import ProductSpec, Target
from wengert.execute.native.product.tile import row_stride, tile_function, whole

# epilogue(builder, value, batch indices, i, j, lanes, mask, extra arguments)
Epilogue = Callable[
    [ir.IRBuilder, ir.Value, list[ir.Value], ir.Value, ir.Value, int, "ir.Value | None", Sequence[ir.Value]], Any
]
SMALL = 4  # fewer columns than lanes / SMALL: the transposed product, given to the epilogue by single elements


def emit_product(
    module: ir.Module,
    name: str,
    spec: ProductSpec,
    epilogue: Epilogue,
    extra_args: Sequence[ir.Type],
    target: Target,
) -> ir.Function:
    """Emit the internal function `void name(T* A, T* B, T* scratch, i64 begin, i64 end, <extra_args…>)`.

    It computes the units [begin, end) of the `units(spec, target)` that the product is cut into; each finished piece
    `C[b, i, j : j + lanes]` is handed to `epilogue(builder, value, batch_indices, i, j, lanes, mask, extra)` once, after the
    whole sum over k: `value` is a vector of `lanes` numbers, or a number if `lanes` is 1; `mask` says which lanes count,
    None if all do. What the epilogue emits runs in a loop over the rows of a tile, so it is emitted only once or twice;
    it may add blocks and must leave the builder where its work ends. k = 0 gives zeros.

    `scratch` points to `scratch_bytes(spec, target)` bytes, aligned to 64, for this call alone: threads that share a product need
    one each. The operands may not overlap the scratch memory, nor what the epilogue writes.
    """
    number = Machine(spec.dtype, target).number.as_pointer()
    kinds = [number, number, number, I64, I64, *extra_args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    if 0 not in (spec.m, spec.n, *spec.batch):
        Drive(function, builder, spec, epilogue, target).emit()
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
        mask: ir.Value | None,
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
        self, function: ir.Function, builder: ir.IRBuilder, spec: ProductSpec, epilogue: Epilogue, target: Target
    ):
        self.machine = Machine(spec.dtype, target)
        self.module = function.module
        self.code = Code(builder, self.machine)
        self.spec = spec
        self.epilogue = epilogue
        self.plan: Plan = make_plan(spec, target)
        self.layout = layout(self.plan, self.machine, spec.k)
        self.a, self.b, self.scratch, self.begin, self.end, *self.extra = function.args
        self.batch: list[ir.Value] = []

    def emit(self) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        count = plan.rows * plan.width
        self.tile = code.b.alloca(ir.ArrayType(self.machine.number, count))
        self.tile.align = 64
        self.tile = code.b.bitcast(self.tile, self.machine.number.as_pointer())
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
            self.batch = [value(index) for index in indices]
            tiles = code.mul(rows, plan.tiles_per_unit)
            panels = code.mul(columns, plan.panels_per_unit)
            tile_range = (tiles, code.least(code.add(tiles, plan.tiles_per_unit), plan.tiles))
            panel_range = (panels, code.least(code.add(panels, plan.panels_per_unit), plan.panels))
            if plan.dots:
                self.dots(a, b, tile_range, panel_range)
            else:
                self.tiles(a, b, tile_range, panel_range)

    def divide(self, x: Index, count: int) -> tuple[Index, Index]:
        if count == 1:
            return x, 0
        b = self.code.b
        return b.udiv(value(x), I64(count)), b.urem(value(x), I64(count))

    # -- tiles

    def tiles(self, a: ir.Value, b: ir.Value, tiles: tuple[Index, Index], panels: tuple[Index, Index]) -> None:
        code, plan, spec = self.code, self.plan, self.spec
        chunks = -(-spec.k // plan.depth) if plan.depth else 1
        if chunks > 1:
            zero = self.machine.zero(self.machine.lanes)
            sums = code.at(self.scratch, self.layout.sums)
            for at in code.loop(0, self.layout.total - self.layout.sums, self.machine.lanes):
                code.store(zero, code.at(sums, at), Piece(0, self.machine.lanes, self.machine.lanes))
        for chunk in code.loop(0, chunks):
            start = code.mul(chunk, plan.depth)
            k = code.least(plan.depth, code.add(spec.k, code.mul(start, -1)))
            last = None if chunks == 1 else code.b.icmp_signed("==", value(chunk), I64(chunks - 1))
            a_here, b_here = code.at(a, code.mul(start, spec.a[2])), code.at(b, code.mul(start, spec.b[1]))
            if plan.pack_b:
                for panel in code.loop(*panels):
                    self.by_width(
                        panel, lambda columns, panel=panel: self.pack_panel(b_here, panel, panels[0], columns, last)
                    )
            for tile in code.loop(*tiles):
                # the tall tiles come first: what the others lack is counted off
                short = code.least(code.add(plan.tall, code.mul(tile, -1)), 0) if plan.tall < plan.tiles else 0
                i = code.add(code.mul(tile, plan.rows), short)
                a_tile = code.at(a_here, code.mul(i, spec.a[1]))
                if plan.pack_a:
                    self.by_height(tile, lambda rows, a_tile=a_tile: self.pack_tile(a_tile, rows, last))
                    a_tile = code.at(self.scratch, self.layout.a)
                for panel in code.loop(*panels):
                    sums = self.tile
                    if chunks > 1:
                        row = code.mul(code.add(tile, code.mul(tiles[0], -1)), plan.panels_per_unit)
                        place = code.add(row, code.add(panel, code.mul(panels[0], -1)))
                        sums = code.at(
                            self.scratch, code.add(code.mul(place, plan.rows * plan.width), self.layout.sums)
                        )

                    def finish(columns: int, *, panel: Index = panel, sums: ir.Value = sums) -> None:
                        self.panel(a_tile, b_here, tile, i, panel, panels[0], columns, sums, k, last)

                    self.by_width(panel, finish)

    def by_width(self, panel: Index, emit: Callable[[int], None]) -> None:
        """`emit(columns)` for a full panel or for the narrower last one."""
        plan = self.plan
        self.either(panel, plan.panels - 1 if plan.edge else plan.panels, plan.panels, plan.width, plan.edge, emit)

    def by_height(self, tile: Index, emit: Callable[[int], None]) -> None:
        """`emit(rows)` for a tall tile or for one with a row less."""
        plan = self.plan
        self.either(tile, plan.tall, plan.tiles, plan.rows, plan.rows - 1, emit)

    def either(self, at: Index, first: int, count: int, size: int, other: int, emit: Callable[[int], None]) -> None:
        if first == count:
            emit(size)
        elif first == 0:
            emit(other)
        else:
            b = self.code.b
            with b.if_else(b.icmp_signed("<", value(at), I64(first))) as (yes, no):
                with yes:
                    emit(size)
                with no:
                    emit(other)

    def of_chunk(self, last: ir.Value | None, emit: Callable[[int], None]) -> None:
        """`emit(k)` with the static depth of this chunk."""
        depth, rest = self.plan.depth, self.spec.k % self.plan.depth
        if last is None or not rest:
            emit(depth)
        else:
            with self.code.b.if_else(last) as (yes, no):
                with yes:
                    emit(rest)
                with no:
                    emit(depth)

    def panel_at(self, panel: Index, first: Index) -> ir.Value:
        code, plan = self.code, self.plan
        size = round_up(plan.depth, self.machine.lanes) * plan.width
        place = code.mul(code.add(panel, code.mul(first, -1)), size)
        return code.at(self.scratch, code.add(place, self.layout.b))

    def pack_panel(self, b: ir.Value, panel: Index, first: Index, columns: int, last: ir.Value | None) -> None:
        code, (_, along, across), width = self.code, self.spec.b, self.plan.width
        source = code.at(b, code.mul(panel, width * across))

        def emit(k: int) -> None:
            function = pack_function(self.module, self.machine, along, across, k, columns, width)
            code.b.call(function, [source, self.panel_at(panel, first), I64(k)])

        self.of_chunk(last, emit)

    def pack_tile(self, a: ir.Value, rows: int, last: ir.Value | None) -> None:
        code, (_, across, along) = self.code, self.spec.a
        width = round_up(self.plan.rows, self.machine.lanes)

        def emit(k: int) -> None:
            function = pack_function(self.module, self.machine, along, across, k, rows, width)
            code.b.call(function, [a, code.at(self.scratch, self.layout.a), I64(k)])

        self.of_chunk(last, emit)

    def panel(
        self,
        a: ir.Value,
        b: ir.Value,
        tile: Index,
        i: Index,
        panel: Index,
        first: Index,
        columns: int,
        sums: ir.Value,
        k: Index,
        last: ir.Value | None,
    ) -> None:
        """One register tile, and the epilogue on its rows."""
        code, plan, spec = self.code, self.plan, self.spec
        pieces = self.machine.pieces(columns)
        j = code.mul(panel, plan.width)
        strides = (1, round_up(plan.rows, self.machine.lanes)) if plan.pack_a else spec.a[1:]
        if plan.pack_b:
            source, along, read = self.panel_at(panel, first), plan.width, [whole(p) for p in pieces]
        else:
            source, along, read = code.at(b, j), spec.b[1], list(pieces)
        depth = None if last is not None else spec.k

        def run(rows: int) -> None:
            function = tile_function(self.module, self.machine, rows, read, strides, along, depth, last is not None)
            code.b.call(function, [a, source, sums, value(k)])

        self.by_height(tile, run)

        def end() -> None:
            rows: Index = plan.rows
            if plan.tall < plan.tiles:
                is_tall = code.b.icmp_signed("<", value(tile), I64(plan.tall))
                rows = code.b.select(is_tall, I64(plan.rows), I64(plan.rows - 1))
            for r in code.loop(0, rows):
                row = code.at(sums, code.mul(r, row_stride(self.machine, pieces)))
                for p in pieces:
                    x = code.load(code.at(row, p.offset), whole(p), aligned=True)
                    self.finish(x, code.add(i, r), code.add(j, p.offset), p)

        if last is None:
            end()
        else:
            with code.when(last):
                end()

    def finish(self, x: ir.Value, i: Index, j: Index, piece: Piece) -> None:
        b = self.code.b
        self.epilogue(b, x, self.batch, value(i), value(j), piece.lanes, mask_of(piece), self.extra)

    # -- dots

    def dots(self, a: ir.Value, b: ir.Value, rows: tuple[Index, Index], panels: tuple[Index, Index]) -> None:
        code, spec, plan = self.code, self.spec, self.plan
        (_, ai, ak), (_, _, bj) = spec.a, spec.b
        for i in code.loop(*rows):
            x = code.at(a, code.mul(i, ai))
            if plan.pack_a:  # its numbers must lie side by side
                row = code.at(self.scratch, self.layout.a)
                for k in code.loop(0, spec.k):
                    number = code.b.load(code.at(x, code.mul(k, ak)), typ=self.machine.number)
                    code.b.store(number, code.at(row, k))
                x = row
            for panel in code.loop(*panels):
                j = code.mul(panel, plan.width)

                def strip(columns: int, *, x: ir.Value = x, i: Index = i, j: Index = j) -> None:
                    y = code.at(b, code.mul(j, bj))
                    code.b.call(dot_function(self.module, self.machine, spec.k, bj, columns), [x, y, self.tile])
                    for p in self.machine.pieces(columns):
                        value_here = code.load(code.at(self.tile, p.offset), whole(p), aligned=True)
                        self.finish(value_here, i, code.add(j, p.offset), p)

                self.by_width(panel, strip)
