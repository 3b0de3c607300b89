"""Statements as text, for a person who wants to see what became of a graph."""

from __future__ import annotations

from collections.abc import Iterator

from wengert.execute.native.conv.formula import formula_text
from wengert.execute.native.statements import (
    Barrier,
    Block,
    Branch,
    Convolution,
    Direct,
    Evaluate,
    Expr,
    Loop,
    Nest,
    Product,
    Program,
    Reduction,
    Root,
    Rows,
    Scatter,
    Single,
    Split,
    Statement,
)
from wengert.execute.native.views import Chosen, Counter, View


def program_text(program: Program) -> str:
    """One statement a line, expressions in place, the results last."""
    printer = Printer()
    lines = [line for s in program.statements for line in printer.statement(s, "")]
    return "\n".join([*lines, f"return {', '.join(printer.window(v) for v in program.results)}"])


class Printer:
    """Names buffers in the order met: `input0`, `constant0`, `output0`, and `t0`, `t1`, … in the workspace."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.loops: dict[int, str] = {}
        self.values: dict[int, str] = {}  # of rows: the names of expressions

    def window(self, view: View) -> str:
        buffer = view.buffer
        if buffer.kind in ("input", "constant", "output"):
            name = f"{buffer.kind}{buffer.index}"
        else:
            name = self.names.setdefault(id(buffer), f"t{len(self.names)}")
        moving = "".join(f"[{self.step(what)}·{stride}]" for what, stride in view.steps)
        if view.contiguous and view.offset == 0:
            return name + moving
        start = f"+{view.offset}" if view.offset else ""
        return f"{name}{start}{moving}⟨{','.join(map(str, view.strides))}⟩"

    def step(self, what: Counter | Chosen) -> str:
        if isinstance(what, Chosen):
            return self.window(what.position)
        return self.loops.setdefault(id(what), f"i{len(self.loops)}")

    def expression(self, e: Expr) -> str:
        if id(e) in self.values:
            return self.values[id(e)]
        if e.view is not None:
            return self.window(e.view)
        if e.op == "number":
            return format(e.params, "g") if isinstance(e.params, float) else str(e.params)
        if e.op in ("copy", "broadcast", "squeeze"):
            return self.expression(e.args[0])
        if e.op == "product":
            return "Σ"
        if e.op == "fold":
            return f"{e.params[0]} over {e.params[1]} of {self.expression(e.args[0])}"
        return f"{e.op}({', '.join(self.expression(a) for a in e.args)})"

    def roots(self, roots: list[Root], indent: str, named: bool = False) -> Iterator[str]:
        for r in roots:
            name = self.window(r.target) + ("" if r.stored else " (in registers)")
            over = "" if r.over is None else f"{r.over} over the rows: "
            yield f"{indent}  {name} = {over}{self.expression(r.expr)}"
            if named and r.over is None:
                self.values[id(r.expr)] = self.window(r.target)
        self.values = {}

    def statement(self, s: Statement, indent: str) -> Iterator[str]:
        if isinstance(s, Nest):
            what = f"{s.shape[0]} rows" if isinstance(s, Rows) else f"{list(s.shape)}"
            yield f"{indent}for {what}{dealt(s.split)}:"
            yield from self.roots(s.roots, indent, isinstance(s, Rows))
        elif isinstance(s, Scatter):
            updates, *places = map(self.expression, s.expr.args)
            over = f"{list(s.expr.shape)}{dealt(s.split)}"
            yield f"{indent}{self.window(s.target)}[{', '.join(places)}] {s.op} {updates}, over {over}"
        elif isinstance(s, Direct):
            yield f"{indent}{self.window(s.target)} = {self.expression(s.expr)}{dealt(s.split)}"
        elif isinstance(s, Reduction):
            over = f"{s.op} over axes {s.axes} of {list(s.expr.shape)}{dealt(s.split)}"
            yield f"{indent}{self.window(s.target)} = {over}: {self.expression(s.expr)}"
        elif isinstance(s, Product):
            sizes = f"{'×'.join(map(str, s.shape))}, depth {s.x.shape[-1]}"
            if isinstance(s, Convolution):
                sizes = f"{'×'.join(map(str, s.shape))} of {s.x.shape} with kernel {s.y.shape}"
            what, x = type(s).__name__.lower(), self.window(s.x)
            if isinstance(s, Convolution) and s.spec is not None and s.spec.formula is not None:
                x = formula_text(s.spec.formula, x)
            yield f"{indent}{what} {sizes}{dealt(s.split)}: Σ = {x} @ {self.window(s.y)}, then"
            yield from self.roots(s.roots, indent)
            if s.sums is not None:
                yield f"{indent}  {self.window(s.sums)} = sum over the rows of {self.window(s.y)}"
        elif isinstance(s, Loop):
            name = self.loops.setdefault(id(s.counter), f"i{len(self.loops)}")
            if s.turns is None:
                yield f"{indent}while:"
                for inner in s.test:
                    yield from self.statement(inner, indent + "  ")
                assert s.test_value is not None
                yield f"{indent}  stop unless {self.window(s.test_value)}"
            else:
                turns = f"{s.turns} turns" if isinstance(s.turns, int) else f"the records of store{s.turns.index}"
                yield f"{indent}for {name} in {turns}{', last first' if s.reverse else ''}:"
            for inner in s.body:
                yield from self.statement(inner, indent + "  ")
        elif isinstance(s, Barrier):
            yield f"{indent}barrier"
        elif isinstance(s, (Block, Single)):
            yield f"{indent}{'in registers' if isinstance(s, Block) else 'by the first thread'}:"
            for inner in s.body:
                yield from self.statement(inner, indent + "  ")
        elif isinstance(s, Branch):
            for k, body in enumerate(s.bodies):
                yield f"{indent}if {self.window(s.index)} is {k}:"
                for inner in body:
                    yield from self.statement(inner, indent + "  ")
        elif isinstance(s, Evaluate):
            outs, ins = (", ".join(map(self.window, views)) for views in (s.outputs, s.inputs))
            yield f"{indent}{outs} = NumPy: {s.node.primitive.name}({ins})"


def dealt(split: Split | None) -> str:
    """How the threads share a kernel."""
    if split is None:
        return ""
    where = "units" if split.axis is None else "parts" if split.axis < 0 else f"axis {split.axis}"
    return f", {where} in {split.grains} grains"
