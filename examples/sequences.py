"""Memory over time: the adding problem, and digits read row by row, by a plain RNN, a GRU and an LSTM.

    python examples/sequences.py [folder]

In the adding problem two numbers of a sequence are marked, and their sum is asked for; who answers 1 each time has a
squared error of 0.167. A digit is read as a sequence of its 8 rows. Pictures, in `out/` or the folder given: losses
over time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chart import lines

import wengert as wg
from wengert import data, nn, optim, train

KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class Reader(nn.Module):
    """Reads a sequence and answers at its end."""

    def __init__(self, kind: str, inputs: int, hidden: int, outputs: int):
        self.read = KINDS[kind](inputs, hidden, batch_first=True)
        self.answer = nn.Linear(hidden, outputs)
        if kind == "LSTM":  # remember at first: open forget gates
            self.read.bias_ih_l0 = self.read.bias_ih_l0.at[hidden : 2 * hidden].set(1.0)

    def forward(self, x):
        seen, _ = self.read(x)
        return self.answer(seen[:, -1])


def squared(model, x, y):
    return wg.mean((model(x) - y) ** 2)


def cross_entropy(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def fitted(kind, sizes, loss_fn, batches, epochs, rate, **settings):
    nn.manual_seed(0)
    model = Reader(kind, *sizes)
    schedule = optim.schedule.OneCycle(rate, total_steps=epochs * len(batches), cycle_momentum=False)
    optimizer = optim.Adam(model, schedule=schedule)
    history = train.fit(model, optimizer, loss_fn, batches, epochs, clip_norm=1.0, executor="native", **settings)
    return model, history


def main(folder: Path) -> None:
    x, y = data.adding_problem(1, 3000, length=16)
    x_test, y_test = data.adding_problem(2, 1000, length=16)
    losses = {}
    for kind in KINDS:
        batches = data.Batches(x, y, batch_size=50, shuffle=3)
        _, history = fitted(kind, (2, 32, 1), squared, batches, 9, 1e-2, validation=(x_test, y_test))
        losses[kind] = history["val_loss"]
        print(
            f"adding two of 16 numbers, {kind:<4}: squared error {history['val_loss'][-1]:.4f} (0.167 without memory)"
        )
    lines(folder / "adding.svg", "The adding problem", losses, across="epoch", up="squared error", log=True)

    (x, y), (x_test, y_test) = data.digits()
    x, x_test = x.reshape(-1, 8, 8), x_test.reshape(-1, 8, 8)
    losses = {}
    for kind in KINDS:
        batches = data.Batches(x, y, batch_size=64, shuffle=3)
        model, history = fitted(kind, (8, 64, 10), cross_entropy, batches, 10, 1e-2)
        losses[kind] = history["loss"]
        right = train.evaluate(model, None, (x_test, y_test), {"accuracy": train.accuracy}, executor="native")
        print(f"digits row by row, {kind:<4}: test accuracy {100 * right['accuracy']:.1f} %")
    lines(folder / "sequential_digits.svg", "Digits row by row", losses, across="epoch", up="loss", log=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
