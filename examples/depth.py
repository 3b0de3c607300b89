"""How deep can it be? Plain and residual nets of 10 to 1,000 layers on the digits.

    python examples/depth.py [folder]

All layers have the same shape, so they are one stack of weights that `wg.scan` goes through: a thousand layers compile
as fast as ten. Plain: `h = tanh(W h + b)`. Residual: `h = h + tanh(W h + b) / √layers`. Pictures, in `out/` or the
folder given: the size of each layer's gradient before training, and the loss over the steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from chart import lines

import wengert as wg
from wengert import data, nn, optim, train

WIDTH, STEPS, BATCH = 32, 40, 64


class Deep(nn.Module):
    def __init__(self, layers: int, residual: bool):
        self.first = nn.Linear(64, WIDTH)
        drawn = wg.random.normal(wg.random.key(layers), (layers, WIDTH, WIDTH))
        self.weight = drawn / WIDTH**0.5
        self.bias = wg.zeros((layers, WIDTH))
        self.last = nn.Linear(WIDTH, 10)
        self.residual, self.layers = residual, layers

    def forward(self, x):
        def layer(h, parameters):
            weight, bias = parameters
            branch = wg.tanh(h @ weight + bias)
            return (h + branch / self.layers**0.5 if self.residual else branch), None

        h, _ = wg.scan(layer, wg.tanh(self.first(x)), (self.weight, self.bias))
        return self.last(h)


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


class Look(train.Callback):
    """Keeps the loss of every step, and the size of each layer's gradient at the first."""

    every = 1

    def __init__(self):
        self.losses = []
        self.sizes = None

    def watch(self, model, grads, loss):
        return wg.sqrt(wg.sum(grads.weight**2, axis=(1, 2)))

    def on_step(self, run, sizes):
        self.losses.append(float(run.loss))
        if self.sizes is None:
            self.sizes = np.asarray(sizes)
        if run.step == STEPS:
            run.stop("enough seen")


def main(folder: Path) -> None:
    (x, y), (x_test, y_test) = data.digits()
    gradients, losses = {}, {}
    print(f"{'layers':>6}  {'net':<8}  {'first layer gradient':>23}  {'loss':>7}  {'test accuracy':>13}")
    for layers in (10, 100, 1000):
        for residual in (False, True):
            nn.manual_seed(0)
            model = Deep(layers, residual)
            name = f"{layers} {'residual' if residual else 'plain'}"
            look = Look()
            optimizer = optim.Adam(model, learning_rate=2e-3 if layers < 1000 else 5e-4)
            train.fit(
                model, optimizer, loss_fn, data.Batches(x, y, batch_size=BATCH, shuffle=1), 9, [look],
                clip_norm=1.0, executor="native",
            )  # fmt: skip
            right = train.evaluate(model, None, (x_test, y_test), {"accuracy": train.accuracy}, executor="native")
            gradients[name] = ((np.arange(layers) + 0.5) / layers, look.sizes)
            losses[name] = look.losses
            print(
                f"{layers:6}  {'residual' if residual else 'plain':<8}  {look.sizes[0]:23.3g}  {look.losses[-1]:7.3f}  "
                f"{100 * right['accuracy']:11.1f} %"
            )
    lines(
        folder / "depth_gradients.svg", "Size of the gradient in each layer, before training", gradients,
        across="place of the layer, from the input (0) to the output (1)", log=True,
    )  # fmt: skip
    lines(folder / "depth_losses.svg", "Loss", losses, across="step")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
