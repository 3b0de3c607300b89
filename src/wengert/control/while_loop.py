"""The loop whose number of turns is known only when it runs.

It may emit a value each turn, like a scan; how many there are is a `Length`. That is all reverse mode needs: the
forward loop emits its residuals, and the backward loop is a scan over them in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import tree
from wengert.batch import batched_graph
from wengert.control.call import floating
from wengert.control.carry import follow_types, settle_carry
from wengert.control.checkpoint import checkpoint as recompute
from wengert.control.functions import Staged, check_types, flatten_arrays, stage_function
from wengert.control.residuals import BodyDerivative, active_carry
from wengert.control.scan import LoopDerivative, forward_body
from wengert.diff.sparse.pattern import union, walk
from wengert.diff.zeros import zeros
from wengert.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from wengert.ir.array import Array
from wengert.ir.graph import Graph, evaluate, replay
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import stage
from wengert.ir.types import ArrayType, Length
from wengert.ops.compare import logical_and
from wengert.ops.shape import broadcast_to, to_front
from wengert.source import at_user_line


class While(Primitive):
    """`while test(*test_consts, *carry): carry, *y = body(*body_consts, *carry)`.

    Inputs are the constants of the test, those of the body, and the carry; outputs the carry and, with `emit`, what the
    body emits and last whether each turn took place (for a batch, example by example), all stacked.
    """

    multiple = True

    def type(self, *types: ArrayType, test: Graph, body: Graph, num_test: int, num_body: int, emit: bool) -> Any:
        num_carry = len(types) - num_test - num_body
        check_types(body, types[num_test:], "while_loop")
        check_types(test, [*types[:num_test], *types[num_test + num_body :]], "while_loop: test")
        outs = body.out_types
        if not emit:
            return outs
        turns: Any = Length()
        emitted = [*outs[num_carry:], test.out_types[0]]
        return (*outs[:num_carry], *(t.with_shape((turns, *t.shape)) for t in emitted))

    def weak_result(self, args: Sequence[Any], params: Params) -> tuple[bool, ...]:
        return (*(t.weak for t in params["body"].out_types), *([False] if params["emit"] else []))

    def evaluate(self, *values: Any, test: Graph, body: Graph, num_test: int, num_body: int, emit: bool) -> Any:
        test_consts, consts = values[:num_test], values[num_test : num_test + num_body]
        carry: Sequence[Any] = values[num_test + num_body :]
        n = len(carry)
        types = [*body.out_types[n:], test.out_types[0]]
        emitted: list[list[Any]] = [[] for _ in types]
        while True:
            alive = evaluate(test, [*test_consts, *carry])[0]
            if not np.any(alive):
                break
            outs = evaluate(body, [*consts, *carry])
            if np.ndim(alive):
                carry = [_choose(alive, new, old) for new, old in zip(outs[:n], carry, strict=True)]
            else:
                carry = outs[:n]
            if emit:
                for store, value in zip(emitted, [*outs[n:], alive], strict=True):
                    store.append(value)
        if not emit:
            return tuple(carry)
        stacks = [np.stack(s) if s else np.empty((0, *t.shape), t.dtype) for s, t in zip(emitted, types, strict=True)]
        return (*carry, *stacks)

    def linearize(self, values: Sequence[Array], params: Params, active: Sequence[bool]) -> Any:
        body, nt, nb = params["body"], params["num_test"], params["num_body"]
        nk = len(values) - nt - nb
        derivative = BodyDerivative(
            body, active_carry(body, floating(values, active)[nt:], nb, nk), nb, nk, params["test"].out_types[0]
        )
        outs = self.bind(*values, **{**params, "body": derivative.primal, "emit": True})
        n = len(body.outputs)
        fixed, stacked = derivative.residuals(values[nt : nt + nb], (), outs[n:])
        loop = LoopDerivative(derivative, fixed, stacked, length=None, reverse=False)
        primal = (*outs[:n], outs[-1]) if params["emit"] else outs[:n]
        return primal, WhileDerivative(loop, nt, params["emit"])

    def forward(self, values: Sequence[Array], tangents: Sequence[Array | None], params: Params) -> Any:
        body, nt, nb = params["body"], params["num_test"], params["num_body"]
        nk = len(values) - nt - nb
        marks = active_carry(body, [t is not None for t in tangents[nt:]], nb, nk)
        both, y_marks = forward_body(body, marks, nb, nk)
        given = [
            zeros(v.type) if t is None and m else t for v, t, m in zip(values[nt:], tangents[nt:], marks, strict=True)
        ]
        n_const, n_carry = sum(marks[:nb]), sum(marks[nb:])
        args = [*values[: nt + nb], *(t for t in given[:nb] if t is not None)]
        args += [*values[nt + nb :], *(t for t in given[nb:] if t is not None)]
        test = widened(params["test"], [body.in_types[nb + k] for k in range(nk) if marks[nb + k]])
        outs = self.bind(*args, **{**params, "test": test, "body": both, "num_body": nb + n_const})
        ny = len(y_marks)
        carry_t, y_t = iter(outs[nk : nk + n_carry]), iter(outs[nk + n_carry + ny :])
        pushed = [next(carry_t) if m else None for m in marks[nb:]] + [next(y_t) if m else None for m in y_marks]
        primal = (*outs[:nk], *outs[nk + n_carry : nk + n_carry + ny])
        return ((*primal, outs[-1]), [*pushed, None]) if params["emit"] else (primal, pushed)

    def batch(self, values: Sequence[Array], axes: Sequence[int | None], size: int, params: Params) -> Any:
        test, body, nt, nb = params["test"], params["body"], params["num_test"], params["num_body"]
        flags = [a is not None for a in axes]
        nk = len(values) - nt - nb
        while True:
            wide_test, (each,) = batched_graph(test, [*flags[:nt], *flags[nt + nb :]], size)
            must = [f or each for f in flags[nt + nb :]]  # a test for each example makes every carry its own
            graph, marks = batched_graph(body, flags[nt:], size, [*must, *[False] * (len(body.outputs) - nk)])
            if marks[:nk] == flags[nt + nb :]:
                break
            flags[nt + nb :] = marks[:nk]
        moved = [
            v if not f else broadcast_to(v, (size, *v.shape)) if a is None else to_front(v, a)
            for v, a, f in zip(values, axes, flags, strict=True)
        ]
        outs = self.bind(*moved, **{**params, "test": wide_test, "body": graph})
        places: list[int | None] = [0 if m else None for m in marks[:nk]] + [1 if m else None for m in marks[nk:]]
        return outs, [*places, 1 if each else None] if params["emit"] else places

    def sparsity(self, patterns: Sequence[Any], types: Sequence[ArrayType], params: Params) -> Any:
        if params["emit"]:
            raise UnsupportedError("the pattern of a while_loop that emits values: how many there are is not known")
        nt, nb = params["num_test"], params["num_body"]
        consts, carry = patterns[nt : nt + nb], list(patterns[nt + nb :])
        while True:  # a turn can only add dependences, so they settle
            grown = [union(c, p) for c, p in zip(carry, walk(params["body"], [*consts, *carry]), strict=True)]
            if all(np.array_equal(c, g) for c, g in zip(carry, grown, strict=True)):  # type: ignore[arg-type]
                return carry
            carry = grown


def _choose(alive: Any, new: Any, old: Any) -> Any:
    return np.where(alive.reshape(alive.shape + (1,) * (np.ndim(new) - alive.ndim)), new, old)


class WhileDerivative:
    """A loop's derivative, behind inputs (the constants of the test) and an output (the turns) that have none."""

    __slots__ = ("emit", "loop", "num_test")

    def __init__(self, loop: LoopDerivative, num_test: int, emit: bool):
        self.loop = loop
        self.num_test = num_test
        self.emit = emit

    def push(self, tangents: Sequence[Array | None]) -> list[Array | None]:
        return self.loop.push(tangents[self.num_test :]) + ([None] if self.emit else [])

    def pull(self, cotangents: Sequence[Array | None]) -> list[Array | None]:
        mine = cotangents[:-1] if self.emit else cotangents
        return [None] * self.num_test + self.loop.pull(mine)


def widened(test: Graph, extra: Sequence[ArrayType]) -> Graph:
    """`test` with further inputs that it does not look at: the tangents of the carry."""
    if not extra:
        return test
    key = ("widened", tuple(extra))
    if key not in test.cache:
        n = len(test.inputs)
        test.cache[key] = stage(lambda *args: replay(test, args[:n]), [*test.in_types, *extra], test.name)[0]
    return test.cache[key]


while_p = While("while_loop")


def while_loop(
    test: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, checkpoint: str | int | None = None
) -> Any:
    """`while test(carry): carry = body(carry)`; returns the last carry.

    Differentiable in forward *and* reverse mode, however many turns there are: reverse mode keeps what each turn's
    derivative needs in a store that grows.

    Args:
        test: function of the carry that returns one boolean.
        body: function of the carry that returns a carry of the same structure and types. Both are traced once, on
            types.
        init: the first carry, a pytree.
        checkpoint: what reverse mode keeps. None: the residuals of every turn. "sqrt": about √(2T) carries and the
            residuals of as many turns, for one more run forward (groups of 1, 2, 3, … turns, since T is not known).
            "log": about 8·log₈ T carries, for up to seven more runs forward. An integer k: a carry every k turns.

    Raises:
        DTypeError, ShapeError, ArgumentError: the test returns no boolean, or the carry changes its type.

    Example:
        >>> wg.grad(lambda x: wg.while_loop(lambda y: y < 100, lambda y: y * x, x))(2.0)  # x⁷ at 2
        Array(448., weak)
    """
    if checkpoint is not None:
        return _checkpointed(test, body, init, checkpoint)
    carry, carry_tree = flatten_arrays(init, "while_loop")
    in_tree = tree.flatten((init,))[1]

    def stage_body(types: list[ArrayType]) -> Staged:
        return stage_function(lambda c: follow_types(body(c), types), in_tree, types, "while_loop")

    carry, staged = settle_carry(stage_body, carry, carry_tree, "while_loop")
    check = stage_function(test, in_tree, [c.type for c in carry], "while_loop")
    outs = check.graph.out_types
    if len(outs) != 1 or outs[0].shape != () or outs[0].dtype.kind != "b":
        raise (ArgumentError if len(outs) != 1 else ShapeError if outs[0].shape else DTypeError)(
            f"while_loop: the test returned {', '.join(map(repr, outs)) or 'nothing'}; expected one boolean of shape "
            f"(). Compare numbers (x > 0), and reduce arrays with wg.any or wg.all.{at_user_line()}"
        )
    result = while_p.bind(
        *check.captured,
        *staged.captured,
        *carry,
        test=check.graph,
        body=staged.graph,
        num_test=len(check.captured),
        num_body=len(staged.captured),
        emit=False,
    )
    return tree.unflatten(carry_tree, result)


FAN, _LEVELS = 8, 7  # 8⁷ turns, two million, before memory grows again


def _checkpointed(test: Any, body: Any, init: Any, how: str | int) -> Any:
    """A loop of loops: the inner ones are run again for their derivative."""

    def bounded(step: Callable[[Any], Any], limit: Any) -> Callable[[Any], Any]:
        def go_on(state: Any) -> Any:
            return logical_and(state[0] < limit, test(state[1]))

        return lambda s: while_loop(go_on, lambda state: (state[0] + 1, step(state[1])), (0, s))[1]

    if how == "sqrt":

        def group(state: Any) -> Any:
            turns, carry = state
            return turns + 1, recompute(lambda n, c: bounded(body, n)(c))(turns, carry)

        return while_loop(lambda state: test(state[1]), group, (1, init))[1]
    if how == "log":
        step = body
        for _ in range(_LEVELS):
            step = recompute(bounded(step, FAN))
        return while_loop(test, step, init)
    if isinstance(how, int) and not isinstance(how, bool) and how > 0:
        return while_loop(test, recompute(bounded(body, how)), init)
    raise ArgumentError(
        f'while_loop: checkpoint={how!r}; expected "sqrt", "log" or a positive number of turns{at_user_line()}'
    )
