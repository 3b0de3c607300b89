"""PyTorch as the oracle of layers: state moved across by name, then outputs, gradients and second derivatives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

import wengert as wg
from wengert import tree

TOLERANCE = MappingProxyType({"rtol": 1e-9, "atol": 1e-11})
STEP = 1e-4  # of five-point differences, whose error is about STEP⁴ beside the rounding of 1e-16 / STEP
DIFFERENCES = MappingProxyType({"rtol": 1e-8, "atol": 1e-9})


def generator(name: str) -> np.random.Generator:
    """Random numbers that depend on the name of a case alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def move(theirs: Any, mine: Any) -> tuple[Any, Any]:
    """Both in double precision, with the state of `theirs`; and the other way: mine loads into theirs again."""
    theirs, mine = theirs.double(), mine.double()
    torch = __import__("torch")
    random_state(theirs, torch)
    mine.load_state_dict(theirs.state_dict())
    back = {k: torch.tensor(np.asarray(v)) for k, v in mine.state_dict().items()}
    theirs.load_state_dict(back)
    return theirs, mine


def random_state(theirs: Any, torch: Any) -> None:
    """Scales and biases that are not 1 and 0, so that none can be forgotten."""
    rng = np.random.default_rng(7)
    with torch.no_grad():
        for name, p in theirs.state_dict().items():
            if p.is_floating_point() and p.ndim == 1:
                p.copy_(torch.tensor(rng.uniform(0.5, 1.5, p.shape) * (1 if "var" in name else 0.7)))


def first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


class Comparison:
    """A layer of PyTorch's and ours, one scalar function of both, and a direction to derive it along once more.

    The scalar is `Σ w out + Σ b out² / 2` with random w and b, so that a layer that is linear has a second derivative
    too, and one that only weighs its outputs cannot hide.
    """

    def __init__(self, theirs: Any, mine: Any, inputs: Sequence[np.ndarray], run: Callable[..., Any]):
        self.torch = __import__("torch")
        self.mine, self.run = mine, run
        self.floating = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        self.arrays = [wg.asarray(x) for x in inputs]
        self.parameters = dict(theirs.named_parameters())
        tensors = [self.torch.tensor(x, requires_grad=i in self.floating) for i, x in enumerate(inputs)]
        self.wanted = [tensors[i] for i in self.floating] + list(self.parameters.values())
        rng = np.random.default_rng(11)
        attention = self.torch.nn.attention
        with attention.sdpa_kernel(attention.SDPBackend.MATH):  # the fused one has no second derivative
            out = run(theirs, *tensors)
        self.weights, self.bend = (rng.normal(size=tuple(out.shape)) for _ in range(2))
        self.out, self.loss = out.numpy(force=True), self.scalar(out)
        self.buffers = {k: np.asarray(v) for k, v in theirs.state_dict().items() if k not in self.parameters}
        self.directions = [rng.normal(size=tuple(t.shape)) for t in self.wanted]

    def scalar(self, out: Any) -> Any:
        w, b = self.weights, self.bend
        if isinstance(out, self.torch.Tensor):
            w, b = self.torch.tensor(w), self.torch.tensor(b)
        return (out * w).sum() + 0.5 * (out * out * b).sum()

    def outputs_and_grad(self, model: Any, *xs: Any) -> tuple[Any, Any]:
        """What the layer puts out, and the gradient of the scalar by the model and every floating input."""

        def f(model: Any, *xs: Any) -> Any:
            out = self.run(model, *xs)
            return self.scalar(out), out

        gradient, out = wg.grad(f, argnums=(0, *[i + 1 for i in self.floating]), has_aux=True)(model, *xs)
        return out, gradient

    def gradient(self, model: Any, *xs: Any) -> Any:
        """Of a copy of the model, so that what it assigns is not seen, at other floating inputs."""
        full = list(self.arrays)
        for i, x in zip(self.floating, xs, strict=True):
            full[i] = x
        return self.outputs_and_grad(model.copy(), *full)[1]

    def by_name(self, gradient: Any) -> list[np.ndarray]:
        """A gradient of ours in the order of `wanted`."""
        named = gradient[0].state_dict()
        assert set(named) == set(self.parameters), "a buffer got a gradient, or a parameter got none"
        return [np.asarray(a) for a in (*gradient[1:], *(named[n] for n in self.parameters))]

    def direction(self, gradient: Any) -> tuple[Any, ...]:
        """The random direction as arguments of `gradient`, in the structure of what it returned."""
        tangent = gradient[0].copy()
        tangent.load_state_dict(dict(zip(self.parameters, self.directions[len(self.floating) :], strict=True)))
        return tangent, *self.directions[: len(self.floating)]

    def check(self, found: Sequence[Any], expected: Sequence[Any], what: str, tolerance: Mapping[str, float]) -> None:
        names = [*(f"input {i}" for i in self.floating), *self.parameters]
        for name, a, b, t in zip(names, found, expected, self.wanted, strict=True):
            b = np.zeros(t.shape) if b is None else b.numpy(force=True) if hasattr(b, "numpy") else b
            # what is left where large terms cancel is rounded as they are
            own = {**tolerance, "atol": tolerance["atol"] * max(1.0, np.abs(b).max(initial=0))}
            np.testing.assert_allclose(np.asarray(a), b, err_msg=f"{what} by {name}", **own)

    def their_second(self, gradients: Sequence[Any]) -> list[Any] | None:
        """PyTorch's gradient of its gradient along the direction; None where it says that it has none."""
        terms = [
            (g * self.torch.tensor(d)).sum() for g, d in zip(gradients, self.directions, strict=True) if g is not None
        ]
        along = sum(terms)
        if not getattr(along, "requires_grad", False):
            return [None] * len(self.wanted)
        return list(self.torch.autograd.grad(along, self.wanted, allow_unused=True))

    def differences(self, primals: Sequence[Any], direction: Sequence[Any]) -> list[np.ndarray]:
        """The derivative of our gradient along the direction by five-point differences."""

        def at(h: float) -> list[np.ndarray]:
            model, along = primals[0].copy(), direction[0].state_dict()
            moved = {n: np.asarray(p) + h * np.asarray(along[n]) for n, p in model.state_dict().items() if n in along}
            model.load_state_dict(moved, strict=False)
            return self.by_name(
                self.gradient(model, *(p + h * d for p, d in zip(primals[1:], direction[1:], strict=True)))
            )

        samples = [at(k * STEP) for k in (1, -1, 2, -2)]
        return [(8 * (a - b) - (c - d)) / (12 * STEP) for a, b, c, d in zip(*samples, strict=True)]


def compare_layer(
    theirs: Any, mine: Any, inputs: Sequence[np.ndarray], call: Callable[..., Any] | None = None,
    tolerance: Mapping[str, float] = TOLERANCE, once: str | None = None,
) -> None:  # fmt: skip
    """Outputs, gradients and second derivatives by floating inputs and parameters, against PyTorch.

    The second derivative along a random direction of inputs and parameters is taken forward over reverse and reverse
    over reverse. `once` says why PyTorch has none (or a wrong one) here: then ours is held to finite differences of
    our gradient, which was held to PyTorch's; and that PyTorch has none is checked as well.
    """
    c = Comparison(theirs, mine, inputs, call or (lambda model, *xs: first(model(*xs))))
    before = mine.copy()
    gradients: Any = None
    bent: list[Any] | None = None
    try:
        gradients = c.torch.autograd.grad(c.loss, c.wanted, create_graph=True, allow_unused=True)
        bent = c.their_second(gradients)
    except RuntimeError as error:
        if once is None or not any(s in str(error) for s in ("not implemented", "not differentiable twice")):
            raise
        gradients = gradients or c.torch.autograd.grad(c.loss, c.wanted, allow_unused=True)
    out, grads = c.outputs_and_grad(mine, *c.arrays)
    np.testing.assert_allclose(np.asarray(out), c.out, err_msg="outputs", **tolerance)
    c.check(c.by_name(grads), gradients, "gradient", tolerance)
    for name, b in c.buffers.items():  # assigned in the call above
        np.testing.assert_allclose(np.asarray(mine.state_dict()[name]), b, err_msg=name, **tolerance)
    if not c.wanted:
        return
    primals = [before, *(c.arrays[i] for i in c.floating)]
    direction = c.direction(grads)
    oracle: Any = bent
    if once is not None:
        oracle = c.differences(primals, direction)
        if bent is not None:
            apart = [o - (0 if b is None else b.numpy(force=True)) for o, b in zip(oracle, bent, strict=True)]
            assert max(np.abs(a).max(initial=0) for a in apart) > 1e-6, f"PyTorch has this second derivative: {once}"
        tolerance = {k: max(v, DIFFERENCES[k]) for k, v in tolerance.items()}
    nums = tuple(range(len(primals)))
    forward = wg.jvp(c.gradient, primals, direction)[1]
    c.check(c.by_name(forward), oracle, "second derivative, forward over reverse,", tolerance)

    def along(*args: Any) -> Any:
        pairs = zip(tree.flatten(c.gradient(*args))[0], tree.flatten(direction)[0], strict=True)
        return sum((g * d).sum() for g, d in pairs)

    reverse = wg.grad(along, argnums=nums)(*primals)
    c.check(c.by_name(reverse), oracle, "second derivative, reverse over reverse,", tolerance)
