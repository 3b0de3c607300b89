"""Layers against PyTorch: outputs, gradients, second derivatives and state dicts, over shapes and settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.torch_layers import TOLERANCE, compare_layer, generator, move
from wengert import nn

torch = pytest.importorskip("torch")

T = torch.nn

# name: (class name, positional arguments, keyword arguments, shapes of inputs)
LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], list[tuple[int, ...]]]] = {
    "linear": ("Linear", (5, 3), {}, [(4, 5)]),
    "linear, no bias, deep": ("Linear", (5, 3, False), {}, [(2, 3, 5)]),
    "linear, one example": ("Linear", (5, 3), {}, [(5,)]),
    "bilinear": ("Bilinear", (4, 5, 3), {}, [(6, 4), (6, 5)]),
    "bilinear, deep": ("Bilinear", (4, 5, 3), {"bias": False}, [(2, 3, 4), (2, 3, 5)]),
    "flatten": ("Flatten", (), {}, [(2, 3, 4)]),
    "flatten, some": ("Flatten", (1, 2), {}, [(2, 3, 4, 5)]),
    "unflatten": ("Unflatten", (1, (2, 3)), {}, [(2, 6, 3)]),
    "identity": ("Identity", (), {}, [(2, 3)]),
    "conv1d": ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}, [(2, 4, 11)]),
    "conv1d, one example": ("Conv1d", (4, 6, 3), {}, [(4, 7)]),
    "conv2d": ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, [(2, 3, 7, 6)]),
    "conv2d, same": ("Conv2d", (3, 4, (4, 3)), {"padding": "same", "dilation": (1, 2)}, [(2, 3, 7, 6)]),
    "conv2d, depthwise": ("Conv2d", (4, 4, 3), {"groups": 4, "bias": False}, [(2, 4, 6, 5)]),
    "conv3d": ("Conv3d", (2, 3, 2), {"stride": 2, "padding": 1}, [(2, 2, 4, 5, 4)]),
    "conv1d, reflect": ("Conv1d", (2, 3, 3), {"padding": 2, "padding_mode": "reflect"}, [(2, 2, 6)]),
    "conv2d, circular": ("Conv2d", (2, 3, 3), {"padding": (1, 2), "padding_mode": "circular"}, [(2, 2, 5, 6)]),
    "conv2d, replicate": ("Conv2d", (2, 3, 3), {"padding": "same", "padding_mode": "replicate"}, [(2, 2, 5, 6)]),
    "conv3d, circular": ("Conv3d", (1, 2, 2), {"padding": 1, "padding_mode": "circular"}, [(1, 1, 3, 4, 3)]),
    "conv_transpose1d": (
        "ConvTranspose1d", (4, 6, 3),
        {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 2}, [(2, 4, 5)],
    ),
    "conv_transpose2d": ("ConvTranspose2d", (3, 2, (3, 2)), {"stride": (2, 1), "padding": (1, 0)}, [(2, 3, 4, 5)]),
    "conv_transpose3d": ("ConvTranspose3d", (2, 2, 2), {"stride": 2, "bias": False}, [(1, 2, 3, 2, 3)]),
    "max_pool1d": ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 10)]),
    "max_pool2d": ("MaxPool2d", (2,), {}, [(2, 3, 6, 5)]),
    "max_pool2d, dilated": ("MaxPool2d", ((3, 2),), {"stride": (2, 3), "dilation": (2, 1)}, [(2, 9, 8)]),
    "max_pool2d, ceil": ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True, "padding": 1}, [(1, 2, 6, 8)]),
    "max_pool3d": ("MaxPool3d", (2,), {"stride": 1}, [(1, 2, 3, 4, 3)]),
    "avg_pool1d": ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [(2, 3, 8)]),
    "avg_pool2d": ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, [(2, 3, 7, 6)]),
    "avg_pool2d, inside": ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, [(2, 3, 7, 6)]),
    "avg_pool2d, ceil": ("AvgPool2d", ((2, 3), 3), {"padding": (1, 0), "ceil_mode": True}, [(2, 3, 6, 8)]),
    "avg_pool2d, divisor": ("AvgPool2d", (2,), {"divisor_override": 3}, [(2, 4, 4)]),
    "avg_pool3d": ("AvgPool3d", (2,), {"padding": 1, "count_include_pad": False}, [(1, 2, 4, 3, 4)]),
    "adaptive_avg_pool1d": ("AdaptiveAvgPool1d", (3,), {}, [(2, 3, 7)]),
    "adaptive_avg_pool2d": ("AdaptiveAvgPool2d", ((3, None),), {}, [(2, 3, 7, 4)]),
    "adaptive_avg_pool2d, one": ("AdaptiveAvgPool2d", (1,), {}, [(2, 3, 5, 4)]),
    "adaptive_avg_pool3d": ("AdaptiveAvgPool3d", ((2, 1, 3),), {}, [(2, 2, 4, 3, 6)]),
    "adaptive_max_pool1d": ("AdaptiveMaxPool1d", (2,), {}, [(2, 3, 8)]),
    "adaptive_max_pool2d": ("AdaptiveMaxPool2d", ((3, 2),), {}, [(2, 3, 7, 5)]),
    "adaptive_max_pool3d": ("AdaptiveMaxPool3d", (2,), {}, [(1, 2, 4, 3, 5)]),
    "batch_norm1d": ("BatchNorm1d", (4,), {}, [(6, 4)]),
    "batch_norm1d, long": ("BatchNorm1d", (4,), {"momentum": None, "eps": 1e-3}, [(3, 4, 5)]),
    "batch_norm1d, untracked": ("BatchNorm1d", (4,), {"track_running_stats": False}, [(6, 4)]),
    "batch_norm2d": ("BatchNorm2d", (3,), {"momentum": 0.3, "affine": False}, [(2, 3, 4, 5)]),
    "batch_norm3d": ("BatchNorm3d", (2,), {}, [(2, 2, 3, 2, 3)]),
    "instance_norm1d": ("InstanceNorm1d", (3,), {"affine": True}, [(2, 3, 6)]),
    "instance_norm1d, one example": ("InstanceNorm1d", (3,), {}, [(3, 6)]),
    "instance_norm2d": ("InstanceNorm2d", (3,), {"track_running_stats": True, "affine": True}, [(2, 3, 4, 5)]),
    "instance_norm3d": ("InstanceNorm3d", (2,), {}, [(2, 2, 3, 2, 3)]),
    "layer_norm": ("LayerNorm", (5,), {}, [(2, 3, 5)]),
    "layer_norm, axes": ("LayerNorm", ((3, 5),), {"bias": False, "eps": 1e-3}, [(2, 3, 5)]),
    "rms_norm": ("RMSNorm", (5,), {}, [(2, 3, 5)]),
    "rms_norm, axes": ("RMSNorm", ((3, 5),), {"eps": 1e-3, "elementwise_affine": False}, [(2, 3, 5)]),
    "group_norm": ("GroupNorm", (2, 6), {}, [(2, 6, 5)]),
    "group_norm, flat": ("GroupNorm", (3, 6), {"affine": False}, [(4, 6)]),
    "zero_pad1d": ("ZeroPad1d", ((1, 2),), {}, [(2, 3, 4)]),
    "constant_pad2d": ("ConstantPad2d", (2, 1.5), {}, [(2, 3, 4, 5)]),
    "reflection_pad2d": ("ReflectionPad2d", ((1, 2, 0, 1),), {}, [(2, 3, 4, 5)]),
    "replication_pad3d": ("ReplicationPad3d", (1,), {}, [(1, 2, 2, 3, 2)]),
    "circular_pad1d": ("CircularPad1d", ((2, 1),), {}, [(2, 3, 4)]),
    "upsample": ("Upsample", (), {"scale_factor": 2}, [(1, 2, 3, 4)]),
    "upsample, uneven": ("Upsample", ((5, 7),), {}, [(1, 2, 3, 4)]),
    "upsample, exact": ("Upsample", (), {"scale_factor": 1.7, "mode": "nearest-exact"}, [(1, 2, 5)]),
    "upsample, linear": ("Upsample", (), {"scale_factor": 1.6, "mode": "linear"}, [(1, 2, 5)]),
    "upsample, linear, same length": ("Upsample", (), {"scale_factor": 1.3, "mode": "linear"}, [(1, 2, 3)]),
    "upsample, bilinear": ("Upsample", ((6, 2),), {"mode": "bilinear", "align_corners": True}, [(1, 2, 4, 5)]),
    "upsample, bilinear down": ("Upsample", ((3, 2),), {"mode": "bilinear"}, [(1, 2, 4, 5)]),
    "upsample, trilinear": ("Upsample", (), {"scale_factor": 2, "mode": "trilinear"}, [(1, 1, 2, 3, 2)]),
    "upsample, bicubic": ("Upsample", ((7, 9),), {"mode": "bicubic"}, [(1, 2, 4, 5)]),
    "upsample, bicubic corners": ("Upsample", ((7, 9),), {"mode": "bicubic", "align_corners": True}, [(1, 2, 4, 5)]),
    "circular_pad2d": ("CircularPad2d", ((1, 2, 0, 1),), {}, [(2, 3, 4, 5)]),
    "circular_pad3d": ("CircularPad3d", (1,), {}, [(1, 2, 2, 3, 2)]),
    "constant_pad1d": ("ConstantPad1d", ((1, 2), 0.5), {}, [(2, 3, 4)]),
    "constant_pad3d": ("ConstantPad3d", (1, -1.5), {}, [(1, 2, 2, 3, 2)]),
    "reflection_pad1d": ("ReflectionPad1d", ((1, 2),), {}, [(2, 3, 4)]),
    "reflection_pad3d": ("ReflectionPad3d", (1,), {}, [(1, 2, 2, 3, 2)]),
    "replication_pad1d": ("ReplicationPad1d", ((3, 0),), {}, [(2, 3, 4)]),
    "replication_pad2d": ("ReplicationPad2d", ((1, 2, 0, 1),), {}, [(2, 3, 4, 5)]),
    "zero_pad2d": ("ZeroPad2d", ((1, 2, 0, 1),), {}, [(2, 3, 4, 5)]),
    "zero_pad3d": ("ZeroPad3d", (1,), {}, [(1, 2, 2, 3, 2)]),
    "pixel_shuffle": ("PixelShuffle", (2,), {}, [(2, 8, 3, 2)]),
    "pixel_unshuffle": ("PixelUnshuffle", (2,), {}, [(2, 3, 4, 6)]),
    "unfold": ("Unfold", ((2, 3),), {"dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}, [(2, 3, 5, 7)]),
    "unfold, one": ("Unfold", (2,), {"stride": 2}, [(3, 5, 4)]),
    "fold": ("Fold", ((5, 6), (2, 3)), {"dilation": (2, 1), "padding": (1, 0), "stride": (1, 2)}, [(2, 12, 10)]),
    "fold, gaps": ("Fold", ((6, 5), 2), {"stride": 3}, [(8, 4)]),
    "channel_shuffle": ("ChannelShuffle", (3,), {}, [(2, 6, 3, 2)]),
    "lp_pool1d": ("LPPool1d", (2, 3), {"stride": 2}, [(2, 3, 8)]),
    "lp_pool2d": ("LPPool2d", (3.0, (2, 3)), {"stride": 2}, [(2, 2, 6, 7)]),
    "lp_pool3d": ("LPPool3d", (2, 2), {}, [(1, 2, 4, 4, 5)]),
    "local_response": ("LocalResponseNorm", (3,), {"alpha": 0.3, "beta": 0.6, "k": 2.0}, [(2, 5, 3)]),
    "local_response, even": ("LocalResponseNorm", (4,), {"alpha": 0.3}, [(2, 6, 3, 2)]),
    "softmax2d": ("Softmax2d", (), {}, [(2, 3, 4, 2)]),
    "cosine": ("CosineSimilarity", (), {}, [(3, 4), (3, 4)]),
    "distance": ("PairwiseDistance", (3.0,), {"keepdim": True}, [(3, 4), (3, 4)]),
    "prelu": ("PReLU", (3,), {}, [(2, 3, 4)]),
    "prelu, one": ("PReLU", (), {"init": 0.1}, [(2, 3)]),
}  # fmt: skip
EVALUATED = [n for n in LAYERS if n.startswith(("batch_norm", "instance_norm"))]


def make(name: str) -> tuple[Any, Any, list[np.ndarray]]:
    cls, args, kwargs, shapes = LAYERS[name]
    rng = generator(name)
    theirs, mine = move(getattr(T, cls)(*args, **kwargs), getattr(nn, cls)(*args, **kwargs))
    return theirs, mine, [rng.normal(size=s) for s in shapes]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    theirs, mine, inputs = make(name)
    compare_layer(theirs, mine, inputs)


@pytest.mark.parametrize("name", EVALUATED)
def test_in_use_running_statistics_are_taken(name: str) -> None:
    theirs, mine, inputs = make(name)
    compare_layer(theirs.eval(), mine.eval(), inputs)


@pytest.mark.parametrize("name", LAYERS)
def test_repr_is_like_pytorchs(name: str) -> None:
    cls, args, kwargs, _ = LAYERS[name]
    mine, theirs = repr(getattr(nn, cls)(*args, **kwargs)), repr(getattr(T, cls)(*args, **kwargs))
    assert mine.split("(")[0] == theirs.split("(")[0]
    if not cls.startswith(("AvgPool", "Upsample")):
        assert mine == theirs


def test_running_statistics_over_many_batches() -> None:
    rng = np.random.default_rng(0)
    for momentum in (0.1, None):
        theirs, mine = move(T.BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum))
        for _ in range(5):
            x = rng.normal(1.0, 2.0, size=(4, 3, 2, 2))
            theirs(torch.tensor(x))
            mine(x)
        for k, v in theirs.state_dict().items():
            np.testing.assert_allclose(np.asarray(mine.state_dict()[k]), v.numpy(), rtol=1e-12, err_msg=k)


def test_max_pool_says_where() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 9, 7))
    settings = {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "dilation": (2, 1)}
    theirs = T.functional.max_pool2d(torch.tensor(x), return_indices=True, **settings)
    mine = nn.functional.max_pool2d(x, return_indices=True, **settings)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b.numpy())


def test_conv_transpose_to_a_wanted_size() -> None:
    theirs, mine = move(T.ConvTranspose2d(2, 3, 3, stride=2), nn.ConvTranspose2d(2, 3, 3, stride=2))
    x = np.random.default_rng(2).normal(size=(1, 2, 4, 4))
    expected = theirs(torch.tensor(x), output_size=(10, 9)).detach().numpy()
    np.testing.assert_allclose(np.asarray(mine(x, output_size=(10, 9))), expected, rtol=1e-12)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    x = np.random.default_rng(3).normal(size=(2, 3, 4, 5))
    for pads in ((1, 2, 0, 1), (2, 0, 1, 3)):
        kwargs = {"value": 1.5} if mode == "constant" else {}
        expected = T.functional.pad(torch.tensor(x), pads, mode, **kwargs).numpy()
        np.testing.assert_array_equal(np.asarray(nn.functional.pad(x, pads, mode, **kwargs)), expected)
    cut = np.asarray(nn.functional.pad(x, (-1, 2, 0, -1)))
    np.testing.assert_array_equal(cut, T.functional.pad(torch.tensor(x), (-1, 2, 0, -1)).numpy())


def test_embedding() -> None:
    positions = np.random.default_rng(4).integers(0, 7, size=(3, 4))
    for kwargs in ({}, {"padding_idx": 2}, {"padding_idx": -1}):
        theirs, mine = move(T.Embedding(7, 5, **kwargs), nn.Embedding(7, 5, **kwargs))
        compare_layer(theirs, mine, [positions])
    fixed = nn.Embedding.from_pretrained(np.eye(3))
    assert not fixed.trainable and nn.Embedding.from_pretrained(np.eye(3), freeze=False).trainable
    np.testing.assert_array_equal(np.asarray(fixed(np.array([2, 0]))), np.eye(3)[[2, 0]])


ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Sigmoid": {}, "Tanh": {}, "ReLU": {}, "ReLU6": {}, "SELU": {}, "SiLU": {}, "Mish": {}, "Softsign": {},
    "Hardsigmoid": {}, "Hardswish": {}, "LogSigmoid": {}, "Tanhshrink": {}, "LeakyReLU": {"negative_slope": 0.2},
    "ELU": {"alpha": 0.7}, "CELU": {"alpha": 0.5}, "GELU": {}, "GELU tanh": {"approximate": "tanh"},
    "Softplus": {"beta": 1.5, "threshold": 2.0}, "Hardtanh": {"min_val": -0.5, "max_val": 1.2}, "Softshrink": {},
    "Hardshrink": {"lambd": 0.3}, "Threshold": {"threshold": 0.1, "value": 2.0}, "GLU": {"dim": 1},
    "Softmax": {"dim": 1}, "Softmin": {"dim": 0}, "LogSoftmax": {"dim": -1},
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    cls, kwargs = name.split(maxsplit=1)[0], ACTIVATIONS[name]
    theirs, mine = getattr(T, cls)(**kwargs), getattr(nn, cls)(**kwargs)
    x = 3 * np.random.default_rng(5).normal(size=(4, 6, 5))
    # PyTorch rounds 1/6 (and α) to single precision on the way
    kwargs = {"rtol": 1e-7} if cls == "Hardsigmoid" else {}
    once = "its backward has no derivative" if cls == "Hardsigmoid" else None
    compare_layer(theirs, mine, [x], tolerance={**TOLERANCE, **kwargs}, once=once)
    if cls not in ("GLU", "Softmax", "Softmin", "LogSoftmax"):
        far = np.array([-800.0, -30.0, 0.0, 30.0, 800.0])
        np.testing.assert_allclose(np.asarray(mine(far)), theirs(torch.tensor(far)).numpy(), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Hardtanh", "LeakyReLU", "ELU", "Hardsigmoid", "Softsign", "PReLU"])
def test_derivative_at_a_kink(name: str) -> None:
    x = np.array([0.0, 6.0, -1.0, 1.0, -3.0, 3.0])
    t = torch.tensor(x, requires_grad=True)
    theirs, mine = move(getattr(T, name)(), getattr(nn, name)())
    theirs(t).sum().backward()

    def f(x: Any) -> Any:
        return mine(x).sum()

    np.testing.assert_allclose(np.asarray(wg.grad(f)(x)), t.grad.numpy(), rtol=1e-7)


def test_normalize() -> None:
    x = np.random.default_rng(6).normal(size=(3, 4, 5))
    for kwargs in ({}, {"p": 3.0, "dim": 2}, {"p": 1.0}):
        expected = T.functional.normalize(torch.tensor(x), **kwargs).numpy()
        np.testing.assert_allclose(np.asarray(nn.functional.normalize(x, **kwargs)), expected, rtol=1e-12)
