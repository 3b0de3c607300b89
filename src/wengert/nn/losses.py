"""Losses as modules; formulas stand with the functions in `nn.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.ir.array import Array
from wengert.nn import functional as F
from wengert.nn.functional.reducing import check_reduction
from wengert.nn.module import Module
from wengert.ops.promote import as_array


class _Loss(Module):
    """A function of input and target with settings that are attributes of the same names."""

    _buffers = frozenset(("weight", "pos_weight"))
    function: Any  # one of nn.functional
    settings: tuple[str, ...] = ()

    def _start(self, reduction: str, **settings: Any) -> None:
        if reduction != "batchmean":
            check_reduction(reduction, type(self).__name__)
        for name, value in settings.items():
            if name in self._buffers and value is not None:
                value = as_array(value, f"{type(self).__name__}: {name}")
            setattr(self, name, value)
        self.settings = (*settings, "reduction")
        self.reduction = reduction

    def forward(self, *inputs: Any) -> Array:
        return self.function(*inputs, **{n: getattr(self, n) for n in self.settings})

    def extra_repr(self) -> str:
        return ", ".join(f"{n}={getattr(self, n)!r}" for n in self.settings if n not in self._buffers)


class CrossEntropyLoss(_Loss):
    """The cross entropy of `softmax(input)` against class indices or probabilities."""

    function = staticmethod(F.cross_entropy)

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        self._start(reduction, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)


class NLLLoss(_Loss):
    """`-w_y · input_y` for log probabilities."""

    function = staticmethod(F.nll_loss)

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        self._start(reduction, weight=weight, ignore_index=ignore_index)


class BCELoss(_Loss):
    """`-w (y log p + (1 - y) log(1 - p))` for probabilities."""

    function = staticmethod(F.binary_cross_entropy)

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        self._start(reduction, weight=weight)


class BCEWithLogitsLoss(_Loss):
    """Binary cross entropy of logits, stable for all of them."""

    function = staticmethod(F.binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        self._start(reduction, weight=weight, pos_weight=pos_weight)


class MSELoss(_Loss):
    """`(x - y)²`."""

    function = staticmethod(F.mse_loss)

    def __init__(self, reduction: str = "mean"):
        self._start(reduction)


class L1Loss(_Loss):
    """`|x - y|`."""

    function = staticmethod(F.l1_loss)

    def __init__(self, reduction: str = "mean"):
        self._start(reduction)


class SmoothL1Loss(_Loss):
    """`d²/2β` where `|d| < β`, else `|d| - β/2`."""

    function = staticmethod(F.smooth_l1_loss)

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        self._start(reduction, beta=beta)


class HuberLoss(_Loss):
    """`d²/2` where `|d| ≤ δ`, else `δ (|d| - δ/2)`."""

    function = staticmethod(F.huber_loss)

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        self._start(reduction, delta=delta)


class KLDivLoss(_Loss):
    """`q (log q - input)` for log probabilities; reduction "batchmean" is the mathematical divergence."""

    function = staticmethod(F.kl_div)

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        self._start(reduction, log_target=log_target)


class GaussianNLLLoss(_Loss):
    """`(log v + (x - y)²/v) / 2`; called with input, target and variance."""

    function = staticmethod(F.gaussian_nll_loss)

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        self._start(reduction, full=full, eps=eps)


class PoissonNLLLoss(_Loss):
    """`eˣ - y x`."""

    function = staticmethod(F.poisson_nll_loss)

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"):
        self._start(reduction, log_input=log_input, full=full, eps=eps)


class HingeEmbeddingLoss(_Loss):
    """`x` where the target is 1, `max(0, margin - x)` where it is -1."""

    function = staticmethod(F.hinge_embedding_loss)

    def __init__(self, margin: float = 1.0, reduction: str = "mean"):
        self._start(reduction, margin=margin)


class MarginRankingLoss(_Loss):
    """`max(0, -y (x₁ - x₂) + margin)`; called with two inputs and the target."""

    function = staticmethod(F.margin_ranking_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        self._start(reduction, margin=margin)


class MultiMarginLoss(_Loss):
    """`Σ_{c≠y} max(0, margin - x_y + x_c)ᵖ / C`."""

    function = staticmethod(F.multi_margin_loss)

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"):
        self._start(reduction, p=p, margin=margin, weight=weight)


class SoftMarginLoss(_Loss):
    """`log(1 + e^(-y x))`."""

    function = staticmethod(F.soft_margin_loss)

    def __init__(self, reduction: str = "mean"):
        self._start(reduction)


class CosineEmbeddingLoss(_Loss):
    """`1 - cos(x₁, x₂)` where the target is 1, `max(0, cos(x₁, x₂) - margin)` where it is -1."""

    function = staticmethod(F.cosine_embedding_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        self._start(reduction, margin=margin)


class TripletMarginLoss(_Loss):
    """`max(0, ‖a - p‖ - ‖a - n‖ + margin)`; called with anchor, positive and negative."""

    function = staticmethod(F.triplet_margin_loss)

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ):
        self._start(reduction, margin=margin, p=p, eps=eps, swap=swap)


class TripletMarginWithDistanceLoss(_Loss):
    """`max(0, d(a, p) - d(a, n) + margin)` for any distance d; called with anchor, positive and negative."""

    function = staticmethod(F.triplet_margin_with_distance_loss)

    def __init__(
        self, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean",
    ):  # fmt: skip
        self._start(reduction, distance_function=distance_function, margin=margin, swap=swap)


class MultiLabelMarginLoss(_Loss):
    """Each label's score above every other class's, by 1; labels are integers, ended by -1."""

    function = staticmethod(F.multilabel_margin_loss)

    def __init__(self, reduction: str = "mean"):
        self._start(reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """The mean of the binary cross entropies of all classes, of logits and targets 0 or 1."""

    function = staticmethod(F.multilabel_soft_margin_loss)

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        self._start(reduction, weight=weight)


class CosineSimilarity(Module):
    """`x₁·x₂ / (‖x₁‖ ‖x₂‖)` along `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Array:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """`‖x₁ - x₂ + eps‖ₚ` along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        self.p = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Array:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)
