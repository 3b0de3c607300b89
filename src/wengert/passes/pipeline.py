"""The passes in their order, until nothing changes.

All rules about single steps are tried in one walk, since each makes work for the others; then what is dead is left out,
and loops are relieved of what need not be done in them. Bodies of loops, branches and calls go through the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.ir.graph import Graph
from wengert.ir.primitive import Primitive
from wengert.ops.elementwise import Elementwise
from wengert.passes import algebra, centred, constants, hoist, layout, masks, moves, products, remake
from wengert.passes.bodies import body_rules
from wengert.passes.cse import step_key
from wengert.passes.dead import remove_dead
from wengert.passes.early import numbers_first
from wengert.passes.rewrite import Rule, Table, rewrite
from wengert.passes.states import emit_states

ROUNDS = 12  # more than any program seen needs; each costs time linear in the graph


def simplify(graph: Graph) -> Graph:
    """A graph of the same meaning that costs less; the same graph if there is none. Remembered with the graph."""
    if "simplified" not in graph.cache:
        result = _settled(graph)
        result.cache["simplified"] = None  # is its own
        graph.cache["simplified"] = None if result is graph else result
    return graph.cache["simplified"] or graph


def _settled(graph: Graph) -> Graph:
    for _ in range(ROUNDS):
        before = graph
        graph = remove_dead(rewrite(graph, STEPS, step_key))
        if any(node.primitive in LOOPS for node in graph.nodes):
            graph = emit_states(rewrite(graph, LOOPS))
        if graph is before:
            break
    return numbers_first(graph)


def combined(*tables: Table) -> Table:
    """One table of all rules: those of single primitives before those of classes, in the order given."""
    found: dict[Any, Sequence[Rule]] = {}
    for table in tables:
        for key, rules in table.items():
            found[key] = (*found.get(key, ()), *rules)
    general = (Elementwise, Primitive)
    return {**{k: v for k, v in found.items() if k not in general}, **{k: found[k] for k in general if k in found}}


LOOPS = combined(hoist.RULES, products.RULES, remake.RULES)
STEPS = combined(
    body_rules(simplify), centred.RULES, masks.RULES, algebra.RULES, moves.RULES, layout.RULES, constants.RULES
)
