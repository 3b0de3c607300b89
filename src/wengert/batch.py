"""vmap: a function of one example applied to many at once, by giving every step an extra axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import tree
from wengert.errors import ArgumentError, ShapeError
from wengert.ir.array import Array, Trace, Tracer
from wengert.ir.graph import Graph, replay
from wengert.ir.primitive import Params, Primitive
from wengert.ir.record import stage
from wengert.ir.types import Shape, normalize_axis
from wengert.ops.promote import as_array
from wengert.ops.shape import broadcast_to, move_axis
from wengert.source import at_user_line


class Batched(Tracer):
    """One example out of many; `data` holds them all along `axis`."""

    __slots__ = ("axis",)

    def __init__(self, trace: Trace, data: Array, axis: int):
        self.trace = trace
        self.data = data
        self.axis = axis

    @property
    def shape(self) -> Shape:
        s = self.data.shape
        return s[: self.axis] + s[self.axis + 1 :]

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    def concrete_below(self) -> None:
        return None  # there is no one number: every example has its own


class Batch(Trace):
    """Gives every step its batched form."""

    __slots__ = ("size",)
    what = "`vmap`"

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def process(self, primitive: Primitive, args: tuple[Array, ...], params: Params) -> Any:
        values = [a.data if a.trace is self else a for a in args]
        axes = [a.axis if a.trace is self else None for a in args]  # type: ignore[attr-defined]
        out, out_axes = primitive.batch(values, axes, self.size, params)
        if primitive.multiple:
            return tuple([o if at is None else Batched(self, o, at) for o, at in zip(out, out_axes, strict=True)])
        return out if out_axes is None else Batched(self, out, out_axes)


def batched(
    function: Callable[..., Sequence[Array]], values: Sequence[Array], axes: Sequence[int | None], size: int
) -> tuple[list[Array], list[int | None]]:
    """Run `function` (flat) on batched values; returns the outputs and the batch axis of each (None: it has none)."""
    trace = Batch(size)
    try:
        outs = function(*[v if at is None else Batched(trace, v, at) for v, at in zip(values, axes, strict=True)])
    finally:
        trace.closed = True
    mine = [o.trace is trace for o in outs]
    return (
        [o.data if m else o for o, m in zip(outs, mine, strict=True)],
        [o.axis if m else None for o, m in zip(outs, mine, strict=True)],  # type: ignore[attr-defined]
    )


def place_batch(x: Array, axis: int | None, target: int, size: int) -> Array:
    """`x` with its batch axis at `target`, repeated along it if it has none."""
    if axis is None:
        return move_axis(broadcast_to(x, (size, *x.shape)), 0, target)
    return move_axis(x, axis, target)


def batched_graph(
    graph: Graph, axes: Sequence[bool], size: int, force: Sequence[bool] = ()
) -> tuple[Graph, list[bool]]:
    """`graph` with a leading batch axis on the inputs marked in `axes`; outputs marked in `force` get one in any case.

    Returns the batched graph and which of its outputs are batched (always along axis 0).
    """
    key = ("batched", tuple(axes), size, tuple(force))
    if key not in graph.cache:
        marks: list[bool] = []

        def run(*values: Array) -> list[Array]:
            outs, at = batched(lambda *vs: replay(graph, vs), values, [0 if a else None for a in axes], size)
            must = force or [False] * len(outs)
            marks.extend(a is not None or f for a, f in zip(at, must, strict=True))
            return [place_batch(o, a, 0, size) if m else o for o, a, m in zip(outs, at, marks, strict=True)]

        types = [t.with_shape((size, *t.shape)) if a else t for t, a in zip(graph.in_types, axes, strict=True)]
        result, outer = stage(run, types, f"{graph.name}: batched")
        assert not outer
        graph.cache[key] = result, marks
    return graph.cache[key]


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`f` of one example as a function of a batch of examples.

    Args:
        f: function of pytrees of arrays.
        in_axes: which axis of each argument counts the examples: an integer, None for an argument shared by all, or a
            tuple with one entry an argument, whose entries may be pytrees that match the argument's upper structure.
        out_axes: where the examples are counted in the results, likewise.

    Returns:
        A function with the arguments of `f`. Keyword arguments are batched along axis 0.

    Raises:
        ShapeError: the batched axes have different lengths, or an axis does not exist.
        ArgumentError: no argument is batched.

    Example:
        >>> wg.vmap(wg.grad(lambda x: x**3))(wg.asarray([1.0, 2.0]))
        Array([ 3., 12.], dtype=float32)
    """

    if not callable(f):
        raise ArgumentError(
            f"vmap takes a function, got {type(f).__name__}; write vmap(f)(x), not vmap(f(x)){at_user_line()}"
        )

    @functools.wraps(f)
    def vmapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise ArgumentError(
                f"vmap: in_axes has {len(in_axes)} entries for {len(args)} positional arguments{at_user_line()}"
            )
        opened = tree.Opened((args, kwargs))
        spec = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        axes = _spread(tuple(spec), args) + [0] * len(tree.leaves(kwargs))
        values = [as_array(v, "vmap") for v in opened.leaves]
        if len(axes) != len(values):
            raise ArgumentError(
                "vmap: arguments share a module or an array inside modules, which can have only one batch axis; pass "
                f"it once{at_user_line()}"
            )
        axes = [None if a is None else normalize_axis(a, v.ndim, "vmap") for a, v in zip(axes, values, strict=True)]
        size = _batch_size(values, axes, opened)
        result: list[Any] = []

        def run(*leaves: Array) -> list[Array]:
            new_args, new_kwargs = opened.rebuild(leaves)
            out = f(*new_args, **new_kwargs)
            out_leaves, treedef = tree.flatten(out)
            changed, where = opened.changes()
            result[:] = [out, treedef, len(out_leaves), where]
            return [as_array(o, "the result of a vmapped function") for o in (*out_leaves, *changed)]

        outs, at = batched(run, values, axes, size)
        out, treedef, n, where = result
        if any(a is not None for a in at[n:]):
            raise ArgumentError(
                f"vmap: the function assigned {where[0][1]!r} of a module or dataclass a value that differs from "
                f"example to example; there is one attribute for all of them. Return the value instead.{at_user_line()}"
            )
        opened.write_back(where, outs[n:])
        targets = _spread(out_axes, out)
        return tree.unflatten(
            treedef, [_placed(o, a, t, size) for o, a, t in zip(outs[:n], at[:n], targets, strict=True)]
        )

    return vmapped


def _placed(x: Array, at: int | None, target: int | None, size: int) -> Array:
    if target is None:
        if at is not None:
            raise ArgumentError(
                f"vmap: out_axes is None for a result that differs from example to example{at_user_line()}"
            )
        return x
    ndim = x.ndim + (at is None)
    return place_batch(x, at, normalize_axis(target, ndim, "vmap: out_axes"), size)


def _batch_size(values: Sequence[Array], axes: Sequence[int | None], opened: tree.Opened) -> int:
    sizes = {v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None}
    if not sizes:
        raise ArgumentError(
            f"vmap: no argument has a batch axis; give at least one array with in_axes not None{at_user_line()}"
        )
    if len(sizes) > 1:
        found = ", ".join(
            f"{tree.path_name(p[1:])}: shape {v.shape}, axis {a}"
            for v, a, p in zip(values, axes, opened.paths, strict=True)
            if a is not None
        )
        raise ShapeError(f"vmap: the batch axes have different lengths ({found}){at_user_line()}")
    return sizes.pop()


def _spread(spec: Any, target: Any) -> list[Any]:
    """One axis for every leaf of `target` from a spec that may stop at any level above the leaves."""
    if spec is None or isinstance(spec, int):
        return [spec] * len(tree.leaves(target))
    if isinstance(spec, dict) and isinstance(target, dict) and spec.keys() == target.keys():
        return [a for k in target for a in _spread(spec[k], target[k])]
    if isinstance(spec, (tuple, list)) and isinstance(target, (tuple, list)) and len(spec) == len(target):
        return [a for s, t in zip(spec, target, strict=True) for a in _spread(s, t)]
    raise ArgumentError(
        f"vmap: axes {spec!r} do not match a value of structure {tree.flatten(target)[1]}{at_user_line()}"
    )
