"""The same digits read by a small residual net of convolutions: 98.5 % of the test images.

    python examples/digits_resnet.py [folder]

Three blocks of two convolutions, each with a shortcut around it; while training, images are shifted by up to a pixel,
anew in each epoch. Pictures, in `out/` or the folder given: the curves of training, and what is misread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from chart import images, lines

from wengert import data, nn, optim, train

EPOCHS, BATCH = 12, 64


def block(channels: int, out: int, stride: int = 1) -> nn.Module:
    """relu(shortcut(x) + branch(x)); the shortcut is a projection where the shape changes."""
    branch = [
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out),
    ]  # fmt: skip
    same = channels == out and stride == 1
    shortcut = None if same else nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride), nn.BatchNorm2d(out))
    return nn.Residual(*branch, shortcut=shortcut, activation=nn.ReLU())


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        block(16, 16), block(16, 32, stride=2), block(32, 32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def loss_fn(model, x, y):
    return nn.functional.cross_entropy(model(x), y, label_smoothing=0.05)


def shifted(x: np.ndarray, y: np.ndarray):
    """A function of the epoch: batches in a new order, each image shifted by up to a pixel both ways."""

    def epoch(number: int):
        rng = np.random.default_rng(number)
        order = rng.permutation(len(x))
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), axis=(2, 3))  # (n, 1, 3, 3, 8, 8)
        for i in range(0, len(x) - BATCH + 1, BATCH):
            which = order[i : i + BATCH]
            down, right = rng.integers(0, 3, (2, BATCH))
            yield np.ascontiguousarray(windows[which, :, down, right]), y[which]

    return epoch


def main(folder: Path) -> None:
    (x, y), (x_test, y_test) = data.digits(flat=False)
    nn.manual_seed(0)
    model = resnet()
    schedule = optim.schedule.OneCycle(1e-2, total_steps=EPOCHS * (len(x) // BATCH))
    optimizer = optim.AdamW(model, weight_decay=0.05, schedule=schedule)
    history = train.fit(
        model, optimizer, loss_fn, data.prefetch(shifted(x, y)), EPOCHS,
        validation=(x_test, y_test), metrics={"accuracy": train.accuracy}, executor="native",
    )  # fmt: skip
    read = np.asarray(train.predict(model, x_test, executor="native")).argmax(axis=1)
    wrong = np.flatnonzero(read != y_test)
    size = sum(p.size for p in model.parameters())
    print(f"{size} parameters, {len(x)} images to learn from, {len(x_test)} to be tested with")
    print(f"test accuracy {100 * history['val_accuracy'][-1]:.2f} %, {len(wrong)} misread")
    lines(
        folder / "digits_resnet.svg", "Digits, a residual net",
        {"loss": history["loss"], "loss on the test images": history["val_loss"]}, across="epoch", log=True,
    )  # fmt: skip
    shown = np.concatenate([wrong, np.flatnonzero(read == y_test)])[:30]
    captions = [f"{'!' if read[i] != y_test[i] else ''}{y_test[i]} read as {read[i]}" for i in shown]
    images(folder / "digits_resnet_read.svg", "What was read", x_test[shown, 0], captions)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
