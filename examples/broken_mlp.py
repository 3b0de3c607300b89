"""A network of twenty sigmoid layers that learns nothing, to be diagnosed and mended.

    wengert diagnose examples/broken_mlp.py
    wengert diagnose examples/broken_mlp.py --repair --html flow.html
    python examples/broken_mlp.py [folder]

The command runs this file, and finds `model`, `loss_fn`, `batch` and `optimizer` by their names. Run as a program, it
trains the model, mends it and trains again, and leaves a page in `out/` or in the folder given.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wengert import data, flow, nn, optim, train

LAYERS, WIDTH = 20, 64

nn.manual_seed(0)
hidden = [layer for _ in range(LAYERS - 1) for layer in (nn.Linear(WIDTH, WIDTH), nn.Sigmoid())]
model = nn.Sequential(*hidden, nn.Linear(WIDTH, 10))
optimizer = optim.Adam(model, learning_rate=1e-3)
(x, y), (x_test, y_test) = data.digits()
batch = x[:256], y[:256]


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def learn(model, optimizer, epochs):
    """The test accuracy after some epochs."""
    train.fit(model, optimizer, loss_fn, (x, y), epochs, batch_size=64, shuffle=0)
    return train.evaluate(model, loss_fn, (x_test, y_test), {"accuracy": train.accuracy})["accuracy"]


def main(folder: Path) -> None:
    before = learn(model, optimizer, epochs=6)
    print(f"before: test accuracy {100 * before:.1f} %")
    mended = flow.repair(model, loss_fn, *batch, batches=(x, y), optimizer=optimizer)
    print(mended.record.before)
    print(mended)
    after = learn(mended.model, mended.recipe.make_optimizer(mended.model), epochs=30)
    print(f"after: test accuracy {100 * after:.1f} %")
    folder.mkdir(parents=True, exist_ok=True)
    mended.save(folder / "broken_mlp.html", metric=("test accuracy", before, after))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
