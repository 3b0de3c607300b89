"""Handwritten digits, 8 × 8 pixels, read by a net of two hidden layers: 97.5 % of the test images, in seconds.

    python examples/digits_mlp.py [folder]

The data are scikit-learn's. Pictures, in `out/` or the folder given: the curves of training, and what is misread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from chart import images, lines

from wengert import data, nn, optim, train


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def main(folder: Path) -> None:
    (x, y), (x_test, y_test) = data.digits()
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    epochs = 40
    batches = data.Batches(x, y, batch_size=64, shuffle=1)
    schedule = optim.schedule.OneCycle(5e-3, total_steps=epochs * len(batches))
    optimizer = optim.AdamW(model, weight_decay=0.05, schedule=schedule)
    history = train.fit(
        model, optimizer, loss_fn, batches, epochs,
        validation=(x_test, y_test), metrics={"accuracy": train.accuracy}, executor="native",
    )  # fmt: skip
    scores = np.asarray(train.predict(model, x_test))
    read = scores.argmax(axis=1)
    wrong = np.flatnonzero(read != y_test)
    print(f"{len(x)} images to learn from, {len(x_test)} to be tested with")
    print(f"test accuracy {100 * history['val_accuracy'][-1]:.2f} %, {len(wrong)} misread")
    lines(
        folder / "digits_mlp.svg", "Digits, a net of two hidden layers",
        {"loss": history["loss"], "loss on the test images": history["val_loss"]}, across="epoch", log=True,
    )  # fmt: skip
    shown = np.concatenate([wrong, np.flatnonzero(read == y_test)])[:30]
    captions = [f"{'!' if read[i] != y_test[i] else ''}{y_test[i]} read as {read[i]}" for i in shown]
    images(folder / "digits_mlp_read.svg", "What was read", x_test[shown].reshape(-1, 8, 8), captions)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
