"""How a Jacobian will be computed: every way with its sweeps and cost, the choice, and the computation itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wengert.diff.linearize import Linearized
from wengert.diff.sparse.compress import Compression, Pattern
from wengert.diff.sparse.pattern import detect
from wengert.diff.sweep import Block, Blocks, columns, product, rows
from wengert.diff.waist import Cut, Part, Profile
from wengert.ir.graph import Graph
from wengert.ir.types import ArrayType

COLOURING = (
    8000  # flops that could be done in the time in which one line of a matrix is coloured (measured, about 8 µs)
)


class Way(NamedTuple):
    """One way to the Jacobian: how many sweeps it takes and what they cost."""

    name: str
    sweeps: str
    flops: int | None  # None: not possible, or not tried
    note: str
    parts: tuple[Part, ...] = ()
    colours: Compression | None = None


class Plan:
    """The ways to one Jacobian, and the cheapest of them; made and printed by `wg.explain(wg.jacobian(f))(x)`.

    `chosen` is a `Way` (`name`, `sweeps`, `flops`, `note`), `ways` has all of them.
    """

    def __init__(
        self,
        graph: Graph,
        in_types: Sequence[ArrayType],
        out_types: Sequence[ArrayType],
        name: str,
        holomorphic: bool = False,
    ):
        self.graph = graph
        self.in_types, self.out_types = list(in_types), list(out_types)
        self.name = name
        self.profile = Profile(graph)
        forward = self._dense("forward", holomorphic or self.profile.first.real)
        reverse = self._dense("reverse", holomorphic or self.profile.final.real)
        waist = self._waist()
        dense = [w for w in (forward, reverse, waist) if w.flops is not None]
        best = min(dense, key=lambda w: w.flops or 0)
        self.ways = [forward, reverse, waist, self._coloured(best)]
        possible = [w for w in self.ways if w.flops is not None]
        self.chosen = min(possible, key=lambda w: w.flops or 0)  # the first of equals

    def _dense(self, name: str, possible: bool) -> Way:
        if not possible:
            return Way(name, "-", None, "not possible: complex values at that end")
        part = self.profile.part(self.profile.first, self.profile.final, name)
        note = f"one for each number of the {'in' if name == 'forward' else 'out'}put"
        return Way(name, str(part.sweeps), part.flops, note, (part,))

    def _waist(self) -> Way:
        first, final, cut = self.profile.first, self.profile.final, self.profile.narrowest()
        if cut is None or cut.width >= min(first.width, final.width):
            return Way("waist", "-", None, "no place between is narrower than both ends")
        before, after = self.profile.part(first, cut, "reverse"), self.profile.part(cut, final, "forward")
        flops = before.flops + after.flops + 2 * first.width * cut.width * final.width
        note = f"{_cut_text(self.profile, cut)}: {cut.width} pulled, {cut.width} pushed, then multiplied"
        return Way("waist", f"{cut.width} + {cut.width}", flops, note, (before, after))

    def _coloured(self, best: Way) -> Way:
        sweep, limit = self.profile.sweep_flops, best.flops or 0
        n, m = sum(t.size for t in self.in_types), sum(t.size for t in self.out_types)
        overhead = COLOURING * min(n, m)
        if overhead >= limit:
            return Way("coloured", "-", None, "not tried: to colour would cost more than it can save")
        if not all(t.dtype.kind == "f" for t in (*self.in_types, *self.out_types)):
            return Way("coloured", "-", None, "not tried: complex values")
        detected = detect(self.graph)
        count = detected.count
        text = f"{count} of {m} × {n} entries can be nonzero"
        least = -(-count // max(n, m, 1))  # a sweep yields no more than max(n, m) numbers
        if least * sweep + overhead >= limit:
            return Way("coloured", f"≥ {least}", None, f"not tried: {text}")
        found = Compression(Pattern.of(detected))
        groups = " and ".join(f"{c} {w}" for c, w in zip(found.sweeps, ("pushed", "pulled"), strict=True) if c)
        return Way("coloured", str(found.count), found.count * sweep + overhead, f"{groups}; {text}", colours=found)

    def run(self, chunk: int) -> Blocks:
        """The Jacobian, by the chosen way, as blocks."""
        if self.chosen.colours is not None:
            return self.chosen.colours.dense_blocks(Linearized(self.graph), self.in_types, self.out_types, chunk)
        found = self._sweep(self.chosen.parts[0], chunk)
        for part in self.chosen.parts[1:]:
            found = product(self._sweep(part, chunk), found)
        profile = self.profile
        row_of = {v.index: k for k, v in enumerate(profile.outputs)}
        column_of = {v.index: j for j, v in enumerate(profile.inputs)}
        result: Blocks = []
        for o in self.graph.outputs:
            k = row_of.get(o.index) if o.trace is profile.trace else None  # type: ignore[attr-defined]
            row: list[Block] = [None] * len(self.in_types)
            if k is not None:
                row = [found[k][column_of[v.index]] if v.index in column_of else None for v in self.graph.inputs]
            result.append(row)
        return result

    def _sweep(self, part: Part, chunk: int) -> Blocks:
        ins, outs = [v.type for v in part.start.values], [v.type for v in part.stop.values]
        linear = Linearized(self.profile.stretch(part.start, part.stop))
        if part.way == "forward":
            return columns(linear.push, ins, outs, chunk)
        return rows(linear.pull, ins, outs, chunk)

    def __str__(self) -> str:
        n, m = self.profile.first.width, self.profile.final.width
        lines = [
            f"Jacobian of {self.name}: {n} inputs → {m} outputs through {len(self.profile.nodes)} steps; "
            f"one sweep costs about {_flops(self.profile.sweep_flops)}"
        ]
        width = max(len(w.sweeps) for w in self.ways)
        for w in self.ways:
            mark = "→" if w is self.chosen else " "
            cost = "" if w.flops is None else _flops(w.flops)
            lines.append(f" {mark} {w.name:<9} {w.sweeps:>{width}} sweeps  {cost:>12}  {w.note}")
        lines.append(self.reason)
        return "\n".join(lines)

    __repr__ = __str__

    @property
    def reason(self) -> str:
        """Why the chosen way was chosen, in a sentence."""
        others = [w for w in self.ways if w.flops is not None and w is not self.chosen]
        if not others:
            return f"chosen: {self.chosen.name}, the only way that is possible"
        other = min(others, key=lambda w: w.flops or 0)
        mine, its = self.chosen.flops or 0, other.flops or 0
        if mine == its:
            why = f"as cheap as {other.name}, and it keeps no more in memory"
        else:
            why = f"it costs {100 * mine / its:.3g} % of the next best way ({other.name})"
        return f"chosen: {self.chosen.name}, because {why}"


def _cut_text(profile: Profile, cut: Cut) -> str:
    maker = profile.nodes[cut.position - 1].primitive.name
    return f"through the {cut.width} numbers after step {cut.position} ({maker})"


def _flops(n: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}flop"
    return f"{n} flop"
