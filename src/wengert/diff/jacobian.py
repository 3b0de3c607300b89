"""jacfwd, jacrev, jacobian, hessian: all partial derivatives of all outputs by all inputs, over pytrees."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import tree
from wengert.diff.arguments import Chosen, as_result, below, check_function, name_of, positions, split_aux
from wengert.diff.linearize import Linearized
from wengert.diff.plan import Plan
from wengert.diff.push import Dual, Forward
from wengert.diff.sweep import Blocks, columns, default_chunk, rows
from wengert.diff.zeros import ones_like, zeros
from wengert.errors import ArgumentError, DTypeError
from wengert.ir.array import Array, Trace
from wengert.ir.record import Tape
from wengert.ir.types import ArrayType
from wengert.ops.promote import convert
from wengert.ops.shape import reshape
from wengert.source import at_user_line

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]


def jacfwd(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The Jacobian of `f` by forward mode: one push for each number of the input. For tall Jacobians.

    Args:
        f: function of pytrees; with `has_aux`, it returns a pair `(outputs, anything)`.
        argnums: which positional argument(s) to differentiate by: an integer, or a sequence.
        holomorphic: whether `f` is a holomorphic function of complex arrays; its complex derivative is returned.
        chunk_size: how many sweeps to run side by side; memory grows with it. By default what fits 64 MiB.

    Returns:
        A function with the arguments of `f`. Its result has the structure of the output of `f`, each leaf replaced by a
        tree of the structure of the argument (a tuple of such trees if `argnums` is a sequence), with leaves of shape
        `out.shape + in.shape`: `∂out[i…] / ∂in[j…]` at `[i…, j…]`. With `has_aux`, a pair of that and the rest.

    Raises:
        DTypeError: an argument is an integer, or complex without `holomorphic`.

    Example:
        >>> wg.jacfwd(lambda x: wg.stack([x[0] * x[1], x[0]]))(wg.asarray([2.0, 3.0]))
        Array([[3., 2.],
               [1., 0.]], dtype=float32)
    """

    def blocks(point: Point) -> Blocks:
        return columns(point.linear.push, point.in_types, point.out_types, point.chunk(chunk_size))

    return _jacobian_by(f, argnums, has_aux, holomorphic, "jacfwd", blocks)


def jacrev(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The Jacobian of `f` by reverse mode: one pull for each number of the output. For wide Jacobians.

    Arguments, result and errors as for `jacfwd`; complex outputs, too, need `holomorphic`.

    Example:
        >>> wg.jacrev(lambda x: x[0] * x[1])(wg.asarray([2.0, 3.0]))
        Array([3., 2.], dtype=float32)
    """

    def blocks(point: Point) -> Blocks:
        return rows(point.linear.pull, point.in_types, point.out_types, point.chunk(chunk_size))

    return _jacobian_by(f, argnums, has_aux, holomorphic, "jacrev", blocks)


def jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The Jacobian of `f` by whichever way costs least: forward, reverse, from both sides of a waist, or coloured.

    The function is linearised once; the cost of each way is counted in floating-point operations on that graph. By a
    single number, the tangent travels along with the values instead.
    `wg.explain(wg.jacobian(f))(x)` prints the sweeps that each way takes and which is chosen.

    Arguments, result and errors as for `jacfwd`.

    Source: both sides of a cut are a case of preaccumulation (Griewank and Walther, "Evaluating Derivatives", ch. 10);
    colouring: ch. 8 there.

    Example:
        >>> wg.jacobian(lambda x: x**2)(wg.asarray([1.0, 2.0]))
        Array([[2., 0.],
               [0., 4.]], dtype=float32)
    """

    def plan(point: Point) -> Plan:
        return Plan(point.linear.graph, point.in_types, point.out_types, name_of(f), holomorphic)

    def blocks(point: Point) -> Blocks:
        found = plan(point).run(point.chunk(chunk_size))
        return [
            [b if b is None else convert(b, t.dtype, b.weak) for b in row]
            for row, t in zip(found, point.out_types, strict=True)
        ]

    def explain(*args: Any, **kwargs: Any) -> Plan:
        return plan(Point(f, argnums, args, kwargs, has_aux, holomorphic, "jacobian"))

    result = _jacobian_by(f, argnums, has_aux, holomorphic, "jacobian", blocks)
    result.explain = explain  # type: ignore[attr-defined]
    return result


def hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """All second derivatives of `f`, forward over reverse: one Hessian-vector product for each number of the input.

    The result is `jacfwd(jacrev(f))`: for a scalar function of one array of shape s, an array of shape s + s. For a
    sparse Hessian see `sparse_hessian`, for a product with one vector `hvp`.

    Example:
        >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(wg.asarray([1.0, 2.0]))
        Array([[4., 2.],
               [2., 0.]], dtype=float32)
    """
    inner = jacrev(f, argnums, has_aux, holomorphic, chunk_size)
    return jacfwd(inner, argnums, has_aux, holomorphic, chunk_size)


class Point:
    """A function linearised at its arguments: what every kind of Jacobian starts from and is put together by."""

    def __init__(
        self,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        has_aux: bool,
        holomorphic: bool,
        what: str,
        everything: bool = False,
        along: bool = False,
    ):
        nums, self.several = positions(argnums, what)
        self.chosen = chosen = Chosen(f, nums, args, kwargs)
        found: list[Any] = []

        def run(*variables: Array) -> list[Array]:
            out, aux = split_aux(chosen.call(variables), has_aux)
            leaves, treedef = tree.flatten(out)
            found[:] = [treedef, aux, len(leaves)]
            return [as_result(o, f) for o in leaves] + chosen.assigned()

        self.in_types: list[ArrayType] = [v.type for v in chosen.values]
        # the tangent of a single number travels along, so that no loop has to keep anything
        self.tangents: list[Array | None] | None = None
        alone = along and not holomorphic and sum(t.size for t in self.in_types) == 1
        outputs, trace = self._push(run) if alone else self._record(run, everything)
        self.treedef, self.aux, self.n_outs = found
        self.aux = tree.map(lambda a: below(a, trace), self.aux)
        chosen.write_back(outputs[self.n_outs :])
        self.outs = outputs[: self.n_outs]
        self.out_types: list[ArrayType] = [o.type for o in self.outs]
        _check_types(what, name_of(f), self.in_types, self.out_types, holomorphic)

    def _record(self, run: Callable[..., list[Array]], everything: bool) -> tuple[list[Array], Trace]:
        tape = Tape(everything)  # with `everything`, only good for reading
        try:
            self._graph = tape.finish(run(*[tape.input(v) for v in self.chosen.values]))
        finally:
            tape.close()
        return Linearized(self._graph).outputs, tape

    def _push(self, run: Callable[..., list[Array]]) -> tuple[list[Array], Trace]:
        trace = Forward()
        try:
            outs = run(*[Dual(trace, v, ones_like(v)) if v.size else v for v in self.chosen.values])
        finally:
            trace.closed = True
        self.tangents = [o.tangent if o.trace is trace else None for o in outs]  # type: ignore[attr-defined]
        return [below(o, trace) for o in outs], trace

    def column(self, tangents: Sequence[Array | None]) -> Blocks:
        """The Jacobian by the one number of the input."""
        sized = [t.size == 1 for t in self.in_types]
        return [[reshape(t, (t.size, 1)) if t is not None and one else None for one in sized] for t in tangents]

    @functools.cached_property
    def linear(self) -> Linearized:
        self._graph.outputs = self._graph.outputs[: self.n_outs]
        return Linearized(self._graph)

    def chunk(self, chunk_size: int | None) -> int:
        if chunk_size is None:
            return default_chunk(self.linear.graph)
        if not isinstance(chunk_size, int) or chunk_size < 1:
            raise ArgumentError(f"chunk_size is the number of sweeps at once, got {chunk_size!r}{at_user_line()}")
        return chunk_size

    def assemble(self, blocks: Blocks) -> Any:
        """Blocks as the tree that users see."""
        per_output = []
        for row, o in zip(blocks, self.out_types, strict=True):
            shaped = []
            for block, i in zip(row, self.in_types, strict=True):
                shape = (*o.shape, *i.shape)
                shaped.append(
                    zeros(ArrayType(shape, o.dtype, o.weak and i.weak)) if block is None else reshape(block, shape)
                )
            trees = self.chosen.unpack(shaped)
            per_output.append(tuple(trees) if self.several else trees[0])
        return tree.unflatten(self.treedef, per_output)


def _jacobian_by(
    f: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    holomorphic: bool,
    what: str,
    blocks: Callable[[Point], Blocks],
) -> Any:
    check_function(f, what)

    @functools.wraps(f)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        point = Point(f, argnums, args, kwargs, has_aux, holomorphic, what, along=what != "jacrev")
        found = blocks(point) if point.tangents is None else point.column(point.tangents[: point.n_outs])
        answer = point.assemble(found)
        return (answer, point.aux) if has_aux else answer

    jacobian_of.__dict__.pop("explain", None)  # that of f, which functools.wraps copied
    return jacobian_of


def _check_types(what: str, name: str, ins: Sequence[ArrayType], outs: Sequence[ArrayType], holomorphic: bool) -> None:
    for t in outs:
        if t.dtype.kind not in "fc":
            raise DTypeError(
                f"{what} of {name}: an output is {t!r}; only real and complex floats have derivatives. Convert it, or "
                f"return it beside the others with has_aux=True.{at_user_line()}"
            )
    if holomorphic:
        if not all(t.dtype.kind == "c" for t in (*ins, *outs)):
            raise DTypeError(
                f"{what} of {name} with holomorphic=True: all inputs and outputs are complex, but there is "
                f"{next(t for t in (*ins, *outs) if t.dtype.kind != 'c')!r}{at_user_line()}"
            )
        return
    wrong = [t for t in ins if t.dtype.kind == "c"]
    if what == "jacrev":
        wrong += [t for t in outs if t.dtype.kind == "c"]
    if wrong:
        raise DTypeError(
            f"{what} of {name}: {wrong[0]!r} has two real directions, and one number holds their derivatives only if "
            "the function is holomorphic: then say holomorphic=True. Otherwise differentiate by the real and imaginary "
            f"parts as two real arrays (for a complex output of real inputs, wg.jacfwd).{at_user_line()}"
        )
