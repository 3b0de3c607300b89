"""Remedies that change how a model is trained: learning rate, schedule, clipping, penalties, what is frozen."""

from __future__ import annotations

from wengert import optim
from wengert.flow.recipe import copied
from wengert.flow.remedies.remedy import Remedy, on_model, on_settings
from wengert.nn.dropout import _Dropout
from wengert.nn.module import Module


def learning_rate(rate: float, why: str) -> Remedy:
    """Another learning rate."""
    return on_settings(f"learning rate {rate:.2g}", why, lambda r: r.but(learning_rate=rate))


def adaptive(rate: float, why: str) -> Remedy:
    """Adam, whose steps have the size of the learning rate whatever the size of the gradient."""
    return on_settings(
        f"Adam with learning rate {rate:.2g}",
        why,
        lambda r: r.but(optimizer=optim.Adam, learning_rate=rate, settings={}),
    )


def warm_up(steps: int, why: str) -> Remedy:
    """A learning rate that rises over the first steps."""
    schedule = optim.schedule.LinearWarmup(steps)
    return on_settings(f"warm-up over {steps} steps", why, lambda r: r.but(schedule=schedule))


def clip_norm(bound: float, why: str) -> Remedy:
    """Gradients clipped by their global norm."""
    return on_settings(f"clip the gradient's norm at {bound:.3g}", why, lambda r: r.but(clip_norm=bound))


def clip_value(bound: float, why: str) -> Remedy:
    """Each number of the gradients clipped."""
    return on_settings(f"clip the gradient's values at {bound:.3g}", why, lambda r: r.but(clip_value=bound))


def l2(weight: float, why: str) -> Remedy:
    """Weights held small by `½λΣw²`."""
    return on_settings(f"L2 regularisation {weight:.2g}", why, lambda r: r.but(l2=weight))


def l1(weight: float, why: str) -> Remedy:
    """Weights held small, and many at 0, by `λΣ|w|`."""
    return on_settings(f"L1 regularisation {weight:.2g}", why, lambda r: r.but(l1=weight))


def weight_decay(weight: float, why: str) -> Remedy:
    """Another weight decay of the optimizer."""
    return on_settings(
        f"weight decay {weight:.2g}", why, lambda r: r.but(settings={**r.settings, "weight_decay": weight})
    )


def dropout(most: float, why: str) -> Remedy:
    """Dropout that leaves out at most this share."""

    def change(model: Module) -> Module:
        model = copied(model)
        for _, part in model.named_modules():
            if isinstance(part, _Dropout) and part.p > most:
                part.p = most
        return model

    return on_model(f"dropout of {100 * most:.0f} %" if most else "no dropout", why, change)


def updated(why: str) -> Remedy:
    """All parameters are the optimizer's to update."""
    return on_settings("an optimizer of all parameters", why, lambda r: r.but(left_out=()))


def unfreeze(patterns: tuple[str, ...], why: str) -> Remedy:
    """Parameters that are held fixed are trained again."""

    def change(model: Module) -> Module:
        model = copied(model)
        return model.unfreeze(*patterns)

    return on_model("unfreeze " + ", ".join(patterns or ("all",)), why, change)
