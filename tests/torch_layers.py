"""PyTorch as the oracle of layers: state moved across by name, then outputs, gradients and second derivatives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import wengert as wg

TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}


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


def compare_layer(
    theirs: Any, mine: Any, inputs: Sequence[np.ndarray], second: bool = True, call: Callable[..., Any] | None = None,
    tolerance: dict[str, float] = TOLERANCE, **kwargs: Any,
) -> None:  # fmt: skip
    """Outputs, gradients by floating inputs and parameters, and a second derivative along a random direction."""
    torch = __import__("torch")
    rng = np.random.default_rng(11)
    floating = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    tensors = [torch.tensor(x, requires_grad=i in floating) for i, x in enumerate(inputs)]
    run = call or (lambda model, *xs: first(model(*xs, **kwargs)))
    expected = run(theirs, *tensors)
    weights = rng.normal(size=tuple(expected.shape))
    bend = rng.normal(size=tuple(expected.shape))

    def scalar(out: Any, lib: Any) -> Any:
        w, b = (torch.tensor(weights), torch.tensor(bend)) if lib is torch else (weights, bend)
        return (out * w).sum() + 0.5 * (out * out * b).sum()

    loss = scalar(expected, torch)
    parameters = dict(theirs.named_parameters())
    wanted = [tensors[i] for i in floating] + list(parameters.values())
    gradients = torch.autograd.grad(loss, wanted, create_graph=second, allow_unused=True)

    def f(model: Any, *xs: Any) -> Any:
        return scalar(run(model, *xs), wg)

    buffers = {k: np.asarray(v) for k, v in theirs.state_dict().items() if k not in parameters}
    arrays = [wg.asarray(x) for x in inputs]
    value, grads = wg.value_and_grad(f, argnums=(0, *[i + 1 for i in floating]))(mine, *arrays)
    np.testing.assert_allclose(float(value), float(loss.detach()), **tolerance)
    for g, t in zip(grads[1:], gradients, strict=False):
        np.testing.assert_allclose(np.asarray(g), t.numpy(force=True), **tolerance)
    named = grads[0].state_dict()
    for (name, p), t in zip(parameters.items(), gradients[len(floating) :], strict=True):
        expected_gradient = np.zeros(p.shape) if t is None else t.numpy(force=True)
        np.testing.assert_allclose(np.asarray(named[name]), expected_gradient, err_msg=name, **tolerance)
    for name, b in buffers.items():  # assigned in the call above
        np.testing.assert_allclose(np.asarray(mine.state_dict()[name]), b, err_msg=name, **tolerance)
        assert name not in named, "a buffer got a gradient"
    if second and floating:
        directions = [rng.normal(size=inputs[i].shape) for i in floating]
        along = sum((g * torch.tensor(d)).sum() for g, d in zip(gradients, directions, strict=False))
        bent = torch.autograd.grad(along, [tensors[i] for i in floating], allow_unused=True)
        fixed = mine.copy().eval() if not mine.training else mine

        def gradient(*xs: Any) -> Any:
            full = list(arrays)
            for i, x in zip(floating, xs, strict=True):
                full[i] = x
            return wg.grad(lambda m, *ys: f(m, *ys), argnums=tuple(i + 1 for i in floating))(fixed.copy(), *full)

        mine_bent = wg.jvp(gradient, [arrays[i] for i in floating], directions)[1]
        for a, b in zip(mine_bent, bent, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.zeros(a.shape) if b is None else b.numpy(), **tolerance)
