"""L-BFGS: Newton's direction from the last few steps and changes of the gradient, with a line search.

Runs in Python around a function that may be compiled: how often it is called depends on the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import AbstractValueError, ArgumentError
from wengert.ir.array import Array
from wengert.ir.types import float64, int64
from wengert.module import Module
from wengert.ops.promote import as_array, convert
from wengert.optim.parameters import Chooser, Slot, Where, listed, matching_gradients, parameters
from wengert.source import at_user_line

Vector = np.ndarray


class LBFGS(Module):
    """Limited-memory BFGS. `update` minimises by up to `max_iter` iterations, each at least one evaluation.

    Args:
        model: the module whose parameters (all of one real type) are moved.
        learning_rate: length of a step in units of the quasi-Newton step; `lr` is PyTorch's spelling.
        max_iter: iterations in one `update`.
        max_eval: evaluations in one `update`; 5/4 of `max_iter` unless given.
        tolerance_grad: stop when no gradient is larger.
        tolerance_change: stop when neither parameters nor loss change more.
        history_size: how many former steps are kept.
        line_search_fn: "strong_wolfe", or None for steps of fixed length.
        frozen: parameters that stay as they are; see `Optimizer`.

    Raises:
        ArgumentError: a setting that makes no sense, or parameters of several types.

    Example:
        >>> optimizer = optim.LBFGS(model, line_search_fn="strong_wolfe")
        >>> evaluate = wg.jit(wg.value_and_grad(loss_fn))
        >>> loss = optimizer.update(model, lambda model: evaluate(model, x, y))

    Source: Nocedal and Wright 2006, *Numerical optimization*, algorithms 7.4, 3.5, 3.6; PyTorch's stopping rules.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        lr: Any = None,
        frozen: Where = (),
    ):
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f'LBFGS: line_search_fn is {line_search_fn!r}; expected "strong_wolfe" or None{at_user_line()}'
            )
        is_frozen = Chooser(frozen)
        free = [s for s in parameters(model) if not s.frozen and not is_frozen(s)]
        dtypes = {s.value.dtype for s in free}
        if len(dtypes) != 1 or next(iter(dtypes)).kind == "c":
            found = ", ".join(sorted(d.name for d in dtypes)) or "no parameter at all"
            raise ArgumentError(f"LBFGS needs parameters of one real type; found {found}{at_user_line()}")
        self.names = tuple(s.name for s in free)
        self.model_name = type(model).__name__
        self.max_iter, self.history_size = max_iter, history_size
        self.max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.line_search_fn = line_search_fn
        self.learning_rate = convert(as_array(learning_rate if lr is None else lr), float64, True)
        size = sum(math.prod(s.value.shape) for s in free)
        dtype = free[0].value.dtype
        self.iterations = Array(np.zeros((), int64))
        self.history = Array(np.zeros((0, 2, size), dtype))  # pairs (step, change of the gradient), oldest first
        self.direction = Array(np.zeros(size, dtype))
        self.last_gradient = Array(np.zeros(size, dtype))
        self.length = Array(np.zeros((), float64))
        self.curvature = Array(np.ones((), dtype))  # of the first guess of the inverse Hessian

    _any_shape = ("history",)  # a checkpoint may bring another length

    def update(self, model: Any, closure: Callable[[Any], tuple[Any, Any]]) -> Array:
        """Move the model's parameters, in place.

        Args:
            model: the model that the optimizer was made for.
            closure: `closure(model)` returns the loss and the gradients, as `wg.value_and_grad(loss_fn)` does.

        Returns:
            The loss before the update.

        Raises:
            ArgumentError: the model or the gradients belong to another tree.
            AbstractValueError: called inside `jit`; compile the closure instead.
        """
        if not callable(closure):
            raise ArgumentError(
                "LBFGS evaluates the loss several times: update(model, closure), closure(model) being (loss, "
                f"gradients); got a {type(closure).__name__}{at_user_line()}"
            )
        mine = self._own(model)
        if any(getattr(s.value, "trace", None) is not None for s in mine):
            raise AbstractValueError(
                "LBFGS decides by values how often the loss is evaluated, so it can't run inside a transformation; "
                f"compile what it evaluates: update(model, wg.jit(wg.value_and_grad(loss_fn)))){at_user_line()}"
            )
        run = _Run(self, model, mine, closure)
        return run.go()

    def _own(self, model: Any) -> list[Slot]:
        by_name = {s.name: s for s in parameters(model)}
        missing = [n for n in self.names if n not in by_name]
        if missing:
            raise ArgumentError(
                f"LBFGS was made for a {self.model_name} with {listed(self.names)}; the {type(model).__name__} given "
                f"has no {listed(missing)}, but {listed(list(by_name))}{at_user_line()}"
            )
        return [by_name[n] for n in self.names]


class Point(NamedTuple):
    """A point of a line search: the length of the step, loss and gradient there, and the slope along the line."""

    length: float
    loss: float
    gradient: Vector
    slope: float


class _Run:
    """One call of `update`."""

    def __init__(self, o: LBFGS, model: Any, slots: list[Slot], closure: Callable[[Any], tuple[Any, Any]]):
        self.o = o
        self.model = model
        self.slots = slots
        self.closure = closure
        self.evaluations = 0
        self.first: Any = None

    def parameters(self) -> Vector:
        return np.concatenate([np.asarray(s.value).ravel() for s in self.slots])

    def place(self, x: Vector) -> None:
        at = 0
        for s in self.slots:
            size = math.prod(s.value.shape)
            s.value = Array(x[at : at + size].reshape(s.value.shape).copy())
            s.assign(s.value)
            at += size

    def evaluate(self) -> tuple[float, Vector]:
        loss, grads = self.closure(self.model)
        self.evaluations += 1
        if self.first is None:
            self.first = as_array(loss)
        flat = [
            np.zeros(s.value.shape, s.value.dtype).ravel() if g is None else np.asarray(g).ravel()
            for s, g in zip(self.slots, matching_gradients(self.model, self.slots, grads), strict=True)
        ]
        return float(loss), np.concatenate(flat)

    def go(self) -> Array:
        o = self.o
        loss, gradient = self.evaluate()
        if np.abs(gradient).max(initial=0) <= o.tolerance_grad:
            return self.first
        pairs = [(s, y) for s, y in np.asarray(o.history)]
        direction, last = np.asarray(o.direction), np.asarray(o.last_gradient)
        length, curvature, count = float(o.length), np.asarray(o.curvature)[()], int(o.iterations)
        for iteration in range(1, o.max_iter + 1):
            count += 1
            if count == 1:
                direction = -gradient
                pairs, curvature = [], gradient.dtype.type(1)
            else:
                change, step = gradient - last, direction * length
                product = change @ step
                if product > 1e-10:
                    pairs = [*pairs, (step, change)][-o.history_size :]
                    curvature = product / (change @ change)
                direction = quasi_newton(gradient, pairs, curvature)
            last, last_loss = gradient, loss
            rate = float(o.learning_rate)
            length = min(1.0, 1.0 / float(np.abs(gradient).sum())) * rate if count == 1 else rate
            slope = float(gradient @ direction)
            if slope > -o.tolerance_change:
                break
            before, used = self.parameters(), self.evaluations
            if o.line_search_fn is not None:

                def at(t: float, start: Vector = before, along: Vector = direction) -> Point:
                    self.place(start + t * along)
                    f, g = self.evaluate()
                    return Point(t, f, g, float(g @ along))

                here = Point(0.0, loss, gradient, slope)
                most = o.max_eval - used
                found = strong_wolfe(at, here, length, float(np.abs(direction).max()), o.tolerance_change, most)
                length, loss, gradient = found.length, found.loss, found.gradient
                self.place(before + length * direction)
            else:
                self.place(before + length * direction)
                if iteration != o.max_iter:  # the last point is evaluated by the next call
                    loss, gradient = self.evaluate()
            if self.evaluations >= o.max_eval or np.abs(gradient).max() <= o.tolerance_grad:
                break
            if np.abs(direction * length).max() <= o.tolerance_change or abs(loss - last_loss) < o.tolerance_change:
                break
        o.iterations = Array(np.array(count, int64))
        o.history = Array(np.array(pairs, gradient.dtype).reshape(len(pairs), 2, gradient.size))
        o.direction, o.last_gradient = Array(direction), Array(last)
        o.length, o.curvature = Array(np.array(length, float64)), Array(np.array(curvature, gradient.dtype))
        return self.first


def quasi_newton(gradient: Vector, pairs: list[tuple[Vector, Vector]], curvature: Any) -> Vector:
    """-H·gradient by the two loops over former steps s and changes y: H satisfies H·y = s for the newest pair."""
    q = -gradient
    shares = []
    for s, y in reversed(pairs):
        a = (s @ q) / (y @ s)
        q = q - a * y
        shares.append(a)
    r = q * curvature
    for (s, y), a in zip(pairs, reversed(shares), strict=True):
        r = r + (a - (y @ r) / (y @ s)) * s
    return r


SUFFICIENT, FLAT = 1e-4, 0.9  # Wolfe's two constants


def strong_wolfe(
    at: Callable[[float], Point], start: Point, length: float, size: float, tolerance: float, most: int
) -> Point:
    """A point where the loss has fallen enough and the slope is flat enough: bracket it, then close in."""
    limit = -FLAT * start.slope

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + SUFFICIENT * p.length * start.slope

    previous, point, searched = start, at(length), 0
    while searched < most:
        if too_high(point) or (searched > 1 and point.loss >= previous.loss):
            break
        if abs(point.slope) <= limit:
            return point
        if point.slope >= 0:
            break
        t = point.length
        further = cubic_minimum(previous, point, (t + 0.01 * (t - previous.length), t * 10))
        previous, point = point, at(further)
        searched += 1
    else:
        previous = start
    ends = [previous, point]
    low = 0 if ends[0].loss <= ends[1].loss else 1
    stuck = False
    while searched < most and abs(ends[1].length - ends[0].length) * size >= tolerance:
        left, right = sorted(p.length for p in ends)
        t = cubic_minimum(ends[0], ends[1], (left, right))
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # so close to an end that little would be gained, twice in a row
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = at(t)
        searched += 1
        high = 1 - low
        if too_high(point) or point.loss >= ends[low].loss:
            ends[high] = point
            low = 0 if ends[0].loss <= ends[1].loss else 1
            continue
        if abs(point.slope) <= limit:
            return point
        if point.slope * (ends[high].length - ends[low].length) >= 0:
            ends[high] = ends[low]
        ends[low] = point
    return ends[low]


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is least, kept within bounds; their middle if it isn't."""
    if a.length > b.length:
        a, b = b, a
    d = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length)
    square = d * d - a.slope * b.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2
    root = math.sqrt(square)
    bottom = b.slope - a.slope + 2 * root
    if bottom == 0:
        return (bounds[0] + bounds[1]) / 2
    least = b.length - (b.length - a.length) * ((b.slope + root - d) / bottom)
    return min(max(least, bounds[0]), bounds[1])
