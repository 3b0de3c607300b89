"""How a product is cut up: register tiles, panels, chunks of k, and the units that threads share out.

unit   (batch index, block of columns, block of rows)
  chunk of k                      B's part of the block is packed here, if at all
    tile of rows                  A's part of the tile is packed here, if at all
      panel of columns            one register tile: rows × width sums over the chunk
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from wengert.execute.native.product.code import Machine
from wengert.execute.native.product.spec import ProductSpec, Target

UNIT_FLOPS = 1_000_000  # a unit should be worth handing to a thread: some 5 µs
LINE, SETS = 64, 64  # bytes of a line of the first-level cache, and sets that a line's address chooses from
SEVERAL, MANY = 6, 20  # tiles that read the same panel
ROWS_OF_SUMS = 1024  # of a block whose sums are kept between chunks
DOT_ROWS = 6  # up to so many rows, packing Bᵀ costs more than multiplying vectors along k


@dataclass(frozen=True)
class Plan:
    """Every tile has the same height and width: the last reach back over their neighbours.

    Sums that are computed twice are cheaper than a second kernel to compile, and only new ones go to the epilogue.
    """

    spec: ProductSpec
    transposed: bool  # `spec` is the transposed product, and the epilogue is given single elements
    dots: bool  # vectors run along k instead of j
    rows: int  # of a tile
    tiles: int
    width: int  # columns of a panel, whole vectors unless there is only one panel
    panels: int
    depth: int  # k of a chunk
    pack_a: (
        bool  # only a row for dots: a tile reads each of A's numbers for a whole panel, so they may come from anywhere
    )
    pack_b: bool
    tiles_per_unit: int
    panels_per_unit: int

    @property
    def row_blocks(self) -> int:
        return -(-self.tiles // self.tiles_per_unit)

    @property
    def column_blocks(self) -> int:
        return -(-self.panels // self.panels_per_unit)

    @property
    def edge(self) -> int:
        """Columns of the last panel that are new, or 0 if all are."""
        return self.spec.n % self.width


@dataclass(frozen=True)
class Layout:
    """Where things lie in the scratch memory of one call, in elements."""

    a: int  # the packed row of A
    b: int  # the packed block of B
    sums: int  # the sums of a block, between chunks
    total: int


def row_limit(machine: Machine, vectors: int) -> int:
    """Rows that fit the registers: sums, a row of B, an element of A, and a product where there is no multiply-add.

    A single row uses each vector of B once, straight from memory.
    """
    spare = 1 if machine.fma else 2
    return max(2 * vectors <= machine.registers, min(16, (machine.registers - spare - vectors) // vectors))


def cycles(rows: int, vectors: int, k: int, stride: int, machine: Machine) -> float:
    """An estimate for a tile and one step of k.

    Two multiply-adds and two loads a cycle; what a panel costs that must come from the second-level cache for every
    tile; the tile's own cost, shared by the steps. Rows of B that are `stride` bytes apart, a multiple of several lines
    of cache, crowd into a few of the cache's sets.
    """
    row = vectors * machine.vector_bytes
    crowding = math.gcd(SETS, stride // LINE) if stride and stride % LINE == 0 else 1
    far = k * max(row, crowding * LINE) > machine.near
    return (
        max(rows * vectors, 1.1 * (rows + vectors), 10) / 2
        + vectors * far / 2
        + (12 + 0.5 * rows * vectors) / max(k, 1)
    )


def choose_tile(m: int, n: int, k: int, stride: int, machine: Machine) -> tuple[int, int]:
    """Rows and vectors of a tile, with the least estimated time; of equals the larger tile."""
    best = (float("inf"), 0, 1, 1)
    for vectors in range(1, min(machine.registers // 2, -(-n // machine.lanes)) + 1):
        for rows in range(1, min(m, row_limit(machine, vectors)) + 1):
            count = -(-m // rows) * -(-n // (vectors * machine.lanes))
            best = min(best, (count * cycles(rows, vectors, k, stride, machine), -rows * vectors, rows, vectors))
    return best[2], best[3]


@lru_cache(maxsize=4096)
def make_plan(spec: ProductSpec, target: Target) -> Plan:
    machine = Machine(spec.dtype, target)
    lanes, size = machine.lanes, spec.itemsize
    # a column, or so few that most lanes would idle
    transposed = spec.n < spec.m and (spec.n == 1 or 4 * spec.n <= lanes)
    if transposed:
        spec = spec.transposed()
    m, n, k = spec.m, spec.n, spec.k
    ak, (_, bk, bj) = spec.a[2], spec.b
    if bj != 1 and bk == 1 and m <= DOT_ROWS and k >= lanes:
        panels = -(-n // lanes)
        per_unit = max(1, min(panels, UNIT_FLOPS // (2 * m * lanes * k)))
        return Plan(spec, transposed, True, 1, m, lanes, panels, k, ak != 1, False, m, per_unit)

    rows, vectors = choose_tile(spec.rows or m, n, k, abs(bk) * size if bj == 1 else 0, machine)
    width = min(n, vectors * lanes)
    tiles, panels = -(-m // rows), -(-n // width)
    # a panel whose rows lie far apart and that is read again and again misses pages and cache sets
    pack_b = k > 0 and (bj != 1 or (tiles >= MANY and bk > 2 * width and k * bk * size > machine.block))
    # a block of columns: enough work for a thread, and two panels where A comes from afar for each block
    panel_flops = 2 * m * width * max(k, 1)
    far = tiles > 1 and m * k * size > machine.block
    per_unit = 1
    while per_unit < panels and per_unit * panel_flops < UNIT_FLOPS:
        per_unit *= 2
    per_unit = min(max(per_unit, 1 + far), panels)
    # a panel that many tiles read should stay in the first-level cache
    most = machine.near * 5 // 3 if tiles >= SEVERAL else machine.block // 2
    chunks = -(-k * width * size // most) if tiles > 1 else 1
    if chunks == 2 and k * width * size <= machine.block // 2:
        chunks = 1  # sums kept aside would cost as much
    depth = round_up(-(-k // chunks), lanes) if chunks > 1 else k
    # a block of rows: all, unless that leaves too little to share out, or the sums between chunks become large
    per_rows = tiles
    least = 128 if pack_b else 1
    while per_rows * rows > max(least, ROWS_OF_SUMS if depth < k else 0) and per_rows > 1:
        if depth == k and (panels > per_unit or per_rows * rows * n * k < UNIT_FLOPS):
            break
        per_rows = -(-per_rows // 2)
    return Plan(spec, transposed, False, rows, tiles, width, panels, depth, False, pack_b, per_rows, per_unit)


def round_up(x: int, unit: int) -> int:
    return -(-x // unit) * unit


def layout(plan: Plan, machine: Machine) -> Layout:
    lanes = machine.lanes
    depth, width = round_up(plan.depth, lanes), round_up(plan.width, lanes)
    a = depth if plan.pack_a else 0
    b = plan.panels_per_unit * width * depth if plan.pack_b else 0
    sums = plan.tiles_per_unit * plan.panels_per_unit * plan.rows * width if plan.depth < plan.spec.k else 0
    return Layout(0, a, a + b, a + b + sums)


def scratch_bytes(spec: ProductSpec, target: Target) -> int:
    """Bytes of scratch memory, aligned to 64, that each thread in the product needs for itself."""
    if 0 in (spec.m, spec.n, *spec.batch):
        return 0
    return round_up(layout(make_plan(spec, target), Machine(spec.dtype, target)).total * spec.itemsize, 64)


def units(spec: ProductSpec, target: Target) -> int:
    """How many units there are to share out: any range of [0, units) is a call's `begin`, `end`.

    The batch index runs slowest, blocks of columns next, blocks of rows fastest, so that neighbours share most.
    """
    if 0 in (spec.m, spec.n, *spec.batch):
        return 0
    plan = make_plan(spec, target)
    count = plan.row_blocks * plan.column_blocks
    for extent in spec.batch:
        count *= extent
    return count


def panel_width(spec: ProductSpec, target: Target) -> int:
    """Columns of a panel; 0 where the kernel computes the transposed product, whose rows are this one's columns."""
    plan = make_plan(spec, target)
    return 0 if plan.transposed else plan.width


def has_column_sums(spec: ProductSpec, target: Target) -> bool:
    """Whether each part of B comes by once, in panels of its rows."""
    if 0 in (spec.m, spec.n, spec.k) or spec.batch:
        return False
    plan = make_plan(spec, target)
    return not plan.transposed and not plan.dots and plan.row_blocks == 1 and (spec.b[2] == 1 or plan.pack_b)
