"""Running statistics taken anew: for a model whose parameters were averaged or loaded."""

from __future__ import annotations

from typing import Any

from wengert.data.arrays import arguments
from wengert.data.streams import batches as as_source
from wengert.errors import ArgumentError
from wengert.execute.jit import jit
from wengert.source import at_user_line


def update_statistics(model: Any, batches: Any, executor: str | None = None) -> None:
    """Set the running means and variances of batch normalisation to their averages over some batches, in place.

    Averaged parameters (`optim.SWA`, `optim.EMA`) belong to no step of training, so the statistics gathered there are
    not theirs. PyTorch calls this `update_bn`.

    Args:
        model: an `nn.Module`; called in training mode, as it is called otherwise, with the first array of each batch.
        batches: whatever `data.batches` takes.
        executor: see `wg.jit`.

    Raises:
        ArgumentError: there is no batch.

    Example:
        >>> smooth = average.averaged(model)
        >>> train.update_statistics(smooth, batches)
    """
    found = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not found:
        return
    before = [(m, m.momentum) for m in found]
    modes = [(m, m.training) for m in model.modules()]

    def forward(model: Any, x: Any) -> None:
        model(x)

    run = jit(forward, executor)
    model.train()
    for m in found:
        m.reset_running_stats()
        m.momentum = None  # the plain average over all batches
    try:
        count = 0
        for batch in as_source(batches, batch_size=256):
            run(model, arguments(batch)[0])
            count += 1
        if not count:
            raise ArgumentError(f"update_statistics: there is no batch{at_user_line()}")
    finally:
        for m, momentum in before:
            m.momentum = momentum
        for m, mode in modes:
            object.__setattr__(m, "training", mode)
