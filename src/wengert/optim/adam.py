"""Adam and its kin: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from wengert.array.elementwise import abs as absolute
from wengert.array.elementwise import maximum, sign, sqrt
from wengert.array.searching import where
from wengert.ir.array import Array
from wengert.ops.promote import as_array
from wengert.optim.optimizer import Optimizer, Settings, State, zeros_like

Betas = tuple[float, float]


class Moments(Optimizer):
    """What Adam and its kin share: weight decay, and running means m of the gradient and v of its square."""

    decoupled = False  # whether weight decay shrinks the parameter itself instead of entering the gradient

    def start(self, p: Any, settings: Settings) -> State:
        return {"exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        beta1, beta2 = settings["betas"]
        return {
            "rate": rate,
            "shrink": 1 - rate * settings["weight_decay"],
            "correction1": 1 - beta1**t,
            "root_correction2": sqrt(1 - beta2**t),
        }

    def decay(self, p: Array, g: Array, c: State, settings: Settings) -> tuple[Array, Array]:
        """Weight decay, in the parameter or in the gradient."""
        if not settings["weight_decay"]:
            return p, g
        if settings.get("decoupled_weight_decay", self.decoupled):
            return p * c["shrink"], g
        return p, g + settings["weight_decay"] * p

    def moments(self, g: Array, state: State, settings: Settings) -> tuple[Array, Array]:
        beta1, beta2 = settings["betas"]
        m = state["exp_avg"] + (1 - beta1) * (g - state["exp_avg"])
        return m, beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)


class Adam(Moments):
    """Adam: `m += (1-β₁)(g - m); v = β₂v + (1-β₂)g²; p -= rate · m̂ / (√v̂ + eps)`.

    m̂ = m/(1-β₁ᵗ) and v̂ = v/(1-β₂ᵗ) make up for the start at 0.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`.
        betas: how much of the running means of g and of g² is kept.
        eps: added to the root, so that the quotient stays bounded.
        weight_decay: `weight_decay·p` is added to g (see `AdamW` for the other way).
        amsgrad: divide by the largest v̂ so far.

    Example:
        >>> optimizer = optim.Adam(model, learning_rate=1e-3)

    Source: Kingma and Ba 2015, *Adam: a method for stochastic optimization* (arXiv 1412.6980); Reddi et al. 2018 for
    amsgrad.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        **common: Any,
    ):
        settings = {"betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(model, learning_rate, settings, **common)

    def start(self, p: Any, settings: Settings) -> State:
        return super().start(p, settings) | ({"max_exp_avg_sq": zeros_like(p)} if settings["amsgrad"] else {})

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        c = super().coefficients(rate, t, settings, shared)
        return c | {"step": rate / c["correction1"], "scale": 1 / c["root_correction2"]}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        p, g = self.decay(p, g, c, settings)
        m, v = self.moments(g, state, settings)
        new = {"exp_avg": m, "exp_avg_sq": v}
        if settings["amsgrad"]:
            v = new["max_exp_avg_sq"] = maximum(state["max_exp_avg_sq"], v)
        return p - c["step"] * (m / (sqrt(v) * c["scale"] + settings["eps"])), new


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves: `p *= 1 - rate·weight_decay`, then Adam's step.

    Arguments as for `Adam`; weight_decay is 0.01 unless given.

    Example:
        >>> optimizer = optim.AdamW(model, learning_rate=1e-3, weight_decay=1e-2)

    Source: Loshchilov and Hutter 2019, *Decoupled weight decay regularization* (arXiv 1711.05101).
    """

    decoupled = True

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **common: Any,
    ):
        super().__init__(model, learning_rate, betas, eps, weight_decay, amsgrad, **common)


class Adamax(Moments):
    """Adam with the largest size in place of the root mean square: `u = max(β₂u, |g| + eps); p -= rate/(1-β₁ᵗ) · m/u`.

    Arguments as for `Adam`, without amsgrad.

    Source: Kingma and Ba 2015, section 7.1.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **common: Any,
    ):
        settings = {"betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(model, learning_rate, settings, **common)

    def start(self, p: Any, settings: Settings) -> State:
        return {"exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        p, g = self.decay(p, g, c, settings)
        beta1, beta2 = settings["betas"]
        m = state["exp_avg"] + (1 - beta1) * (g - state["exp_avg"])
        u = maximum(beta2 * state["exp_inf"], absolute(g) + settings["eps"])
        return p - (c["rate"] / c["correction1"]) * (m / u), {"exp_avg": m, "exp_inf": u}


class NAdam(Moments):
    """Adam with Nesterov's momentum, whose coefficient μₜ = β₁(1 - ½·0.96^(t·momentum_decay)) grows over time.

    `p -= rate·(1-μₜ)/(1-Πμ) · g/d + rate·μₜ₊₁/(1-Πμ·μₜ₊₁) · m/d`, `d = √v̂ + eps`.

    Args:
        decoupled_weight_decay: whether weight decay shrinks the parameters themselves, as in AdamW.
        model, learning_rate, betas, eps, weight_decay: see `Adam`.
        momentum_decay: see above.

    Source: Dozat 2016, *Incorporating Nesterov momentum into Adam*; PyTorch's form.
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **common: Any,
    ):
        settings = {
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(model, learning_rate, settings, **common)

    def begin(self, settings: Settings) -> State:
        return {"mu_product": as_array(1.0)}

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        beta1, decay = settings["betas"][0], settings["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
        product = shared["mu_product"] = shared["mu_product"] * mu
        return super().coefficients(rate, t, settings, shared) | {
            "by_gradient": rate * (1 - mu) / (1 - product),
            "by_mean": rate * mu_next / (1 - product * mu_next),
        }

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        p, g = self.decay(p, g, c, settings)
        m, v = self.moments(g, state, settings)
        d = sqrt(v) / c["root_correction2"] + settings["eps"]
        return p - c["by_gradient"] * (g / d) - c["by_mean"] * (m / d), {"exp_avg": m, "exp_avg_sq": v}


class RAdam(Moments):
    """Adam whose scaling by v̂ is rectified for its variance, and left out in the first steps, where that is unbounded.

    Arguments as for `NAdam`, without momentum_decay.

    Source: Liu et al. 2020, *On the variance of the adaptive learning rate and beyond* (arXiv 1908.03265).
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **common: Any,
    ):
        settings = {
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(model, learning_rate, settings, **common)

    def coefficients(self, rate: Array, t: Array, settings: Settings, shared: State) -> State:
        c = super().coefficients(rate, t, settings, shared)
        beta2 = settings["betas"][1]
        most = 2 / (1 - beta2) - 1
        length = most - 2 * t * beta2**t / (1 - beta2**t)
        sound = length > 5
        safe = where(sound, length, most)
        rectified = sqrt((safe - 4) * (safe - 2) * most / ((most - 4) * (most - 2) * safe))
        return c | {"sound": sound, "scale": rectified * c["root_correction2"], "step": rate / c["correction1"]}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        p, g = self.decay(p, g, c, settings)
        m, v = self.moments(g, state, settings)
        scaled = c["scale"] / (sqrt(v) + settings["eps"])
        return p - c["step"] * m * where(c["sound"], scaled, 1.0), {"exp_avg": m, "exp_avg_sq": v}


class Lion(Optimizer):
    """Lion: steps of equal size, `p -= rate · sign(β₁m + (1-β₁)g)`, then `m = β₂m + (1-β₂)g`.

    Args:
        model, learning_rate, groups, frozen, schedule, maximize: see `Optimizer`; the rate is best some ten times
            smaller than Adam's.
        betas: how much of m enters the step, and how much of it is kept.
        weight_decay: shrinks the parameters themselves: `p *= 1 - rate·weight_decay`.

    Source: Chen et al. 2023, *Symbolic discovery of optimization algorithms* (arXiv 2302.06675).
    """

    def __init__(
        self,
        model: Any,
        learning_rate: Any = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        **common: Any,
    ):
        super().__init__(model, learning_rate, {"betas": tuple(betas), "weight_decay": weight_decay}, **common)

    def start(self, p: Any, settings: Settings) -> State:
        return {"exp_avg": zeros_like(p)}

    def rule(self, p: Array, g: Array, state: State, c: State, settings: Settings) -> tuple[Array, State]:
        beta1, beta2 = settings["betas"]
        if settings["weight_decay"]:
            p = p * (1 - c["rate"] * settings["weight_decay"])
        m = state["exp_avg"]
        new = {"exp_avg": beta2 * m + (1 - beta2) * g}
        return p - c["rate"] * sign(beta1 * m + (1 - beta1) * g), new
