"""Sigmoid against ReLU, with and without batch normalisation, in a net of eight layers.

    python examples/activations.py [folder]

Pictures, in `out/` or the folder given: the losses, and for every layer the range of its weights over training: least,
mean and largest. With sigmoids the first layers hardly move: each derivative is at most 1/4.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from chart import bands, lines

import wengert as wg
from wengert import data, nn, optim, train

LAYERS, WIDTH, EPOCHS = 8, 64, 6
NETS = {
    "sigmoid": (nn.Sigmoid, False),
    "sigmoid, batch norm": (nn.Sigmoid, True),
    "ReLU": (nn.ReLU, False),
    "ReLU, batch norm": (nn.ReLU, True),
}


def net(activation, normalised: bool) -> nn.Module:
    layers, width = [], 64
    for _ in range(LAYERS - 1):
        layers += [nn.Linear(width, WIDTH), *([nn.BatchNorm1d(WIDTH)] if normalised else []), activation()]
        width = WIDTH
    return nn.Sequential(*layers, nn.Linear(width, 10))


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


class Ranges(train.Callback):
    """Least, mean and largest weight of each layer, at every step, and the gradients' sizes at the first look."""

    every = 1

    def __init__(self):
        self.ranges, self.sizes = [], None

    def watch(self, model, grads, loss):
        weights = [(a.weight, g.weight) for a, g in zip(model, grads, strict=True) if isinstance(a, nn.Linear)]
        ranges = wg.stack([wg.stack([wg.min(w), wg.mean(w), wg.max(w)]) for w, _ in weights])
        return ranges, wg.stack([wg.sqrt(wg.mean(g**2)) for _, g in weights])

    def on_step(self, run, seen):
        ranges, sizes = seen
        self.ranges.append(np.asarray(ranges))
        if self.sizes is None:
            self.sizes = np.asarray(sizes)


def main(folder: Path) -> None:
    (x, y), (x_test, y_test) = data.digits()
    losses, ranges = {}, {}
    print(f"{'net':<20}  {'gradient, first / last layer':>28}  {'loss':>6}  {'test accuracy':>13}")
    for name, (activation, normalised) in NETS.items():
        nn.manual_seed(0)
        model = net(activation, normalised)
        look = Ranges()
        history = train.fit(
            model, optim.SGD(model, 0.05, momentum=0.9), loss_fn, data.Batches(x, y, batch_size=64, shuffle=1), EPOCHS,
            [look], validation=(x_test, y_test), metrics={"accuracy": train.accuracy}, executor="native",
        )  # fmt: skip
        losses[name] = history["loss"]
        ranges[name] = list(np.stack(look.ranges, axis=1))
        ratio, right = look.sizes[0] / look.sizes[-1], history["val_accuracy"][-1]
        print(f"{name:<20}  {ratio:28.2g}  {history['loss'][-1]:6.3f}  {100 * right:11.1f} %")
    lines(folder / "activations_losses.svg", "Digits, eight layers", losses, across="epoch", up="loss")
    bands(folder / "activations_ranges.svg", "Range of the weights in each layer", ranges, across="step")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
