"""Mean-field theory for a model as it stands: what its weights, measured, let through, without any data.

The model's parts are taken in the order in which they are stated. Beside Schoenholz et al. 2017 this follows residual
blocks (Yang and Schoenholz 2017, *Mean field residual networks: on the edge of chaos*, arXiv 1712.08969) and
normalisation (Yang et al. 2019, *A mean field theory of batch normalization*, arXiv 1902.08129, for large batches).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from wengert import nn
from wengert.errors import ArgumentError
from wengert.flow.depth import Activation, DepthScales, depth_scales
from wengert.nn.activation import GLU, LogSoftmax, PReLU, Softmax, Softmin, _Activation
from wengert.nn.conv import _Conv
from wengert.nn.dropout import _Dropout
from wengert.nn.module import Module
from wengert.nn.normalization import _InstanceNorm, _RunningNorm
from wengert.source import at_user_line

SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity)
NOT_ELEMENTWISE = (GLU, Softmax, Softmin, LogSoftmax)
CHAINS = (nn.Sequential, nn.ModuleList, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder)
OPAQUE = (
    *(nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.MultiheadAttention),
    *(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
)  # parts of another theory


class Layer(NamedTuple):
    """One part of a model in mean-field theory.

    Attributes:
        name, kind: its dotted name, and "weight", "activation", "normalisation", "residual" or "dropout".
        variance: the second moment of its outputs.
        correlation: that of the outputs for two inputs.
        decades: log10 of the gain of the gradient's norm on its way back through this part.
        weight_variance, bias_variance: σ_w² and σ_b² measured, of a layer with weights.
    """

    name: str
    kind: str
    variance: float
    correlation: float
    decades: float
    weight_variance: float | None = None
    bias_variance: float | None = None


class Signal(NamedTuple):
    """Moments of the values at one place: second moment, covariance between two examples, mean over features."""

    q: float
    k: float
    mean: float
    gain: float = 1.0  # of the gradient's squared norm, from here back to where this began


class MeanField(NamedTuple):
    """What mean-field theory says about a model.

    Attributes:
        layers: the parts in order, with predicted variance, correlation and gain of the gradient.
        scales: fixed point and depth scales for layers like the model's typical hidden one; None where there is no
            such layer, or residual blocks or normalisation make them meaningless.
        depth: how many layers with weights a signal crosses.
        decades: log10 of the gain of the gradient's norm from the last layer with weights back to the first's output.
        not_covered: names of parts that the theory says nothing about; they count as if they were not there.
        in_order: names of parts whose `forward` is the user's: their own parts count in the order of the attributes.
    """

    layers: list[Layer]
    scales: DepthScales | None
    depth: int
    decades: float
    not_covered: list[str]
    in_order: list[str]

    @property
    def passes(self) -> bool | None:
        """Whether a signal gets through, by `depth <= 6 ξ_c`; None if there are no scales."""
        return None if self.scales is None else self.depth <= self.scales.depth

    def data(self) -> dict[str, Any]:
        """As plain data; None for what is not finite."""
        scales = None if self.scales is None else {**_plain(self.scales._asdict()), "phase": self.scales.phase}
        return {
            "depth": self.depth,
            "decades": _finite(self.decades),
            "passes": self.passes,
            "scales": scales,
            "layers": [_plain(layer._asdict()) for layer in self.layers],
            "not_covered": self.not_covered,
            "in_order": self.in_order,
        }

    def __str__(self) -> str:
        lines = [f"{self.depth} layers with weights; the gradient changes by {self.decades:+.2f} decades over them"]
        if self.scales is not None:
            lines += [str(self.scales)]
        lines += [
            f"  {layer.name or '(model)':24} {layer.kind:14} q = {layer.variance:<10.4g} c = {layer.correlation:<8.4f} "
            f"gradient {layer.decades:+.3f}"
            for layer in self.layers
        ]
        if self.not_covered:
            lines += ["not covered by the theory: " + ", ".join(self.not_covered)]
        if self.in_order:
            lines += ["taken part by part in the order of attributes: " + ", ".join(self.in_order)]
        return "\n".join(lines)


def _finite(v: Any) -> Any:
    return v if not isinstance(v, float) or math.isfinite(v) else None


def _plain(entries: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) for k, v in entries.items()}


def mean_field(model: Module, activation: Any = None, variance: float = 1.0, correlation: float = 0.0) -> MeanField:
    """How far a signal and its gradient get in this model at its present weights, by theory, without data.

    Args:
        model: a module. What `forward` does is not looked at: parts count in the order of their attributes, one after
            the other, `nn.Residual` with its shortcut.
        activation: the function behind every layer with weights but the last, for a model that calls functions instead
            of having activation modules.
        variance, correlation: of the inputs (second moment of an element; correlation between two examples).

    Weights are taken to be independent of each other and of what arrives, as after initialisation; layers to be wide;
    convolutions to be without borders. `σ_w²` is the mean square of a weight times its fan-in. Recurrent layers,
    attention, pooling and other parts are named in `not_covered`.

    Raises:
        ArgumentError: the model has no linear layer and no convolution.

    Example:
        >>> model = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(64, 64), nn.Sigmoid())])
        >>> flow.mean_field(model).decades < -5
        True
    """
    walk = _Walk(model, None if activation is None else Activation(activation))
    walk.through("", model, Signal(variance, variance * correlation, 0.0))
    weights = [i for i, layer in enumerate(walk.layers) if layer.kind == "weight"]
    if not walk.depth:
        raise ArgumentError(f"{type(model).__name__} has no linear layer and no convolution{at_user_line()}")
    between = walk.layers[weights[0] + 1 : weights[-1] + 1] if weights else walk.layers
    top = [layer for layer in between if layer.name not in walk.inside]
    return MeanField(
        walk.layers, walk.scales(), walk.depth, sum(x.decades for x in top), walk.not_covered, walk.in_order
    )


def decades(gain: float) -> float:
    """log10 of a norm's gain, from that of its square."""
    return math.log10(gain) / 2 if gain > 0 else -math.inf


class _Walk:
    def __init__(self, model: Module, activation: Activation | None):
        self.activation = activation
        self.layers: list[Layer] = []
        self.inside: set[str] = set()  # names of layers in branches, which the block's own entry sums up
        self.not_covered: list[str] = []
        self.in_order: list[str] = []
        self.depth = 0
        self.special = False
        self.found: Counter[str] = Counter()
        self.kinds: dict[str, Activation] = {}
        self.weighted = [id(m) for m in model.modules() if isinstance(m, (nn.Linear, _Conv))]

    def note(self, name: str, kind: str, s: Signal, gain: float, *measured: float) -> Signal:
        self.layers.append(Layer(name, kind, s.q, s.k / s.q if s.q > 0 else 1.0, decades(gain), *measured))
        return s._replace(gain=s.gain * gain)

    def through(self, name: str, m: Module, s: Signal) -> Signal:
        if isinstance(m, (nn.Linear, _Conv)):
            s = self.weight(name, m, s)
            last = id(m) == self.weighted[-1]
            return s if self.activation is None or last else self.nonlinear(name, self.activation, s)
        if isinstance(m, (_RunningNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)) and not isinstance(m, _InstanceNorm):
            return self.normalised(name, m, s)
        if isinstance(m, (_Activation, PReLU)) and not isinstance(m, NOT_ELEMENTWISE):
            if isinstance(m, PReLU) and m.weight.size > 1:
                slope = float(np.asarray(m.weight).mean())
                return self.nonlinear(name, Activation(nn.LeakyReLU(slope)), s)
            return self.nonlinear(name, Activation(m), s)
        if isinstance(m, _Dropout) and not isinstance(m, nn.AlphaDropout):
            return self.dropped(name, m, s)
        if isinstance(m, SHAPES):
            return s
        if isinstance(m, nn.Residual):
            return self.residual(name, m, s)
        children = list(m.named_children())
        if not children or hasattr(m, "key") or isinstance(m, OPAQUE):
            self.not_covered.append(f"{name or 'model'} ({type(m).__name__})")
            return s
        if any(hasattr(v, "shape") for v in vars(m).values()):
            self.not_covered.append(f"parameters of {name or 'model'} ({type(m).__name__}) itself")
        if not isinstance(m, CHAINS):
            self.in_order.append(f"{name or 'model'} ({type(m).__name__})")
        for child, part in children:
            s = self.through(f"{name}.{child}" if name else child, part, s)
        return s

    def weight(self, name: str, m: Any, s: Signal) -> Signal:
        self.depth += 1
        values = np.asarray(m.weight, np.float64)
        fan_in = int(np.prod(values.shape[1:]))
        w = fan_in * float(np.mean(values**2))
        b = 0.0 if m.bias is None else float(np.mean(np.asarray(m.bias, np.float64) ** 2))
        return self.note(name, "weight", s._replace(q=w * s.q + b, k=w * s.k + b, mean=0.0), w, w, b)

    def nonlinear(self, name: str, phi: Activation, s: Signal) -> Signal:
        self.found[phi.name] += 1
        self.kinds[phi.name] = phi
        v = max(s.q - s.mean**2, 0.0)
        c = (s.k - s.mean**2) / v if v > 0 else 1.0
        new = Signal(phi.moment(v, s.mean), phi.product(v, c, s.mean), phi.moment(v, s.mean, power=1), s.gain)
        return self.note(name, "activation", new, phi.moment(v, s.mean, slope=True))

    def normalised(self, name: str, m: Any, s: Signal) -> Signal:
        self.special = True
        scale = 1.0 if getattr(m, "weight", None) is None else float(np.mean(np.asarray(m.weight, np.float64) ** 2))
        bias = np.zeros(1) if getattr(m, "bias", None) is None else np.asarray(m.bias, np.float64)
        shift, mean = float(np.mean(bias**2)), float(np.mean(bias))
        eps = float(m.eps) if getattr(m, "eps", None) is not None else 0.0
        if isinstance(m, _RunningNorm):  # over examples: what all of them share goes
            v, k = s.q - s.k, 0.0
        elif isinstance(m, nn.RMSNorm):
            v, k = s.q, s.k
        else:
            v, k = s.q - s.mean**2, s.k - s.mean**2
        v = max(v, 0.0) + eps
        new = Signal(scale * (v - eps) / v + shift, scale * k / v + shift, mean, s.gain)
        return self.note(name, "normalisation", new, scale / v)

    def dropped(self, name: str, m: Any, s: Signal) -> Signal:
        keep = 1 - float(m.p) if m.training else 1.0
        if keep in (0.0, 1.0):
            return s
        return self.note(name, "dropout", s._replace(q=s.q / keep), 1 / keep)

    def residual(self, name: str, m: Any, s: Signal) -> Signal:
        self.special = True
        start = len(self.layers)
        branch = self.through(f"{name}.branch" if name else "branch", m.branch, s._replace(gain=1.0))
        inner, short = self.depth, s._replace(gain=1.0)
        if m.shortcut is not None:
            short = self.through(f"{name}.shortcut" if name else "shortcut", m.shortcut, short)
            self.depth = inner
        self.inside |= {layer.name for layer in self.layers[start:]}
        cross = short.mean * branch.mean
        total = Signal(short.q + branch.q + 2 * cross, short.k + branch.k + 2 * cross, short.mean + branch.mean, s.gain)
        total = self.note(name, "residual", total, short.gain + branch.gain)
        if isinstance(m.activation, Module):
            return self.through(f"{name}.activation", m.activation, total)
        return total if m.activation is None else self.nonlinear(f"{name}.activation", Activation(m.activation), total)

    def scales(self) -> DepthScales | None:
        """Of a layer like the typical hidden one; None where nets of this kind have no such scales."""
        hidden = [layer for layer in self.layers if layer.kind == "weight"][1:-1]
        if self.special or not hidden or not self.found:
            return None
        phi = self.kinds[self.found.most_common(1)[0][0]]
        w = float(np.median([layer.weight_variance for layer in hidden]))  # type: ignore[arg-type]
        b = float(np.median([layer.bias_variance for layer in hidden]))  # type: ignore[arg-type]
        return depth_scales(phi, w, b)
