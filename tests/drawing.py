"""What a random program is, how it is drawn from a source of choices, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.families import FAMILIES, Family, Pick, Proposal, Shape, Value, limits, size

TAME = 4.0  # a value that may exceed this is scaled down
CONTROL: set[str] = set()  # the families whose steps carry programs


class Step(NamedTuple):
    family: str
    args: tuple[int, ...]
    params: tuple[Any, ...]
    count: int = 1  # of the values that it makes


class Program(NamedTuple):
    """Values are numbered: first the inputs, then what each step makes. The last value is the result."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    out: Value

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, indent: str = "") -> list[str]:
        n = len(self.inputs)
        text = [f"{indent}inputs {', '.join(f'v{i}: {s}' for i, s in enumerate(self.inputs))}"]
        for step in self.steps:
            plain = [f"v{a}" for a in step.args] + [repr(p) for p in step.params if not isinstance(p, Program)]
            made = ", ".join(f"v{k}" for k in range(n, n + step.count))
            text.append(f"{indent}{made} = {step.family}({', '.join(plain)})")
            n += step.count
            for p in step.params:
                if isinstance(p, Program):
                    text += p.lines(indent + "    ")
        return text


def values_of(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """All values of the program for these inputs."""
    values = list(inputs)
    for step in program.steps:
        made = FAMILIES[step.family].apply(*[values[a] for a in step.args], *step.params)
        values += made if isinstance(made, tuple | list) else [made]
    return values


def run(program: Program, inputs: Sequence[Any]) -> Any:
    """The result of the program for these inputs."""
    return values_of(program, inputs)[-1]


def draw(pick: Pick, inputs: Sequence[Value] = (), steps: int = 0, control: bool = True) -> Program:
    """A program of the choices that `pick` makes; zeros give the simplest one."""
    return drawn(pick, inputs, steps, control)[0]


def drawn(
    pick: Pick, inputs: Sequence[Value] = (), steps: int = 0, control: bool = True
) -> tuple[Program, list[Value]]:
    """The same, and what is known of each of its values."""
    values = list(inputs) or [Value(_shape(pick), 1.5) for _ in range(1 + pick(3))]
    n = len(values)
    made: list[Step] = []
    names, loops = [f for f in FAMILIES if control or f not in CONTROL], sorted(CONTROL)

    def add(name: str, p: Proposal) -> None:
        made.append(Step(name, p.args, p.params, 1 + len(p.before)))
        values.extend((*p.before, p.value))

    if not inputs and pick(2):  # a few families only, which so meet each other more often
        names = ["several", loops[pick(len(loops))]] + [names[pick(len(names))] for _ in range(4)]
    wanted = steps or 1 + pick(8)
    for _ in range(4 * wanted):  # a family that finds nothing to work on proposes nothing
        if len(made) >= wanted:
            break
        name = names[pick(len(names))]
        proposal = FAMILIES[name].propose(values, pick)
        if proposal is not None:
            add(name, proposal)
            if values[-1].bound > TAME:
                add("scale", _scaled(len(values) - 1, values[-1]))
    if not made:
        add("unary", Proposal((0,), ("sin",), Value(values[0].shape, 1)))
    return Program(tuple(v.shape for v in values[:n]), tuple(made), values[-1]), values


def _shape(pick: Pick) -> Shape:
    shape = tuple(limits.extents[pick(len(limits.extents))] for _ in range(pick(4)))
    return shape if size(shape) <= limits.size else shape[:1]


def _scaled(i: int, v: Value) -> Proposal:
    return Proposal((i,), (float(f"{2 / v.bound:.2g}"),), Value(v.shape, 2.0))


FAMILIES["scale"] = Family(lambda values, pick: None, lambda x, by: x * by)
