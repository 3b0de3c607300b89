"""Whole epochs of training on scikit-learn's digits: `train.fit` beside PyTorch's usual loop with a DataLoader.

    python benchmarks/epochs.py            # MLP and a small residual net
    python benchmarks/epochs.py --tiny     # one short epoch, for the tests

Both shuffle, both read the loss of every step (`fit` stops at the first that isn't finite, PyTorch's loop adds up
`loss.item()`), both update by AdamW. Losses of the first epoch, from the same initial weights and one order of the
batches, are compared before anything is timed. What is compiled is compiled before.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from timing import best_in_turns, duration, machine, optional, print_table, times

from wengert import data, nn, optim, train

torch = optional("torch")


def mlp(n: Any) -> Any:
    return n.Sequential(n.Linear(64, 128), n.ReLU(), n.Linear(128, 128), n.ReLU(), n.Linear(128, 10))


def convolutions(n: Any) -> Any:
    layers = [n.Unflatten(1, (1, 8, 8))]
    for channels, out in ((1, 16), (16, 32), (32, 32)):
        layers += [n.Conv2d(channels, out, 3, padding=1), n.BatchNorm2d(out), n.ReLU()]
    return n.Sequential(*layers, n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(32, 10))


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.cross_entropy(model(x), y)


def wengert_epoch(model: Any, x: Any, y: Any, batch: int, shuffle: Any) -> Callable[[], float]:
    optimizer = optim.AdamW(model, learning_rate=1e-3)
    batches = data.Batches(x, y, batch_size=batch, shuffle=shuffle)

    def epoch() -> float:
        return train.fit(model, optimizer, loss_fn, batches, 1, progress=False, executor="native")["loss"][-1]

    return epoch


def torch_epoch(model: Any, x: Any, y: Any, batch: int, shuffle: Any) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    dataset = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=bool(shuffle))

    def epoch() -> float:
        total = 0.0
        for a, b in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(a)
        return total / len(x)

    return epoch


def pair(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    """A model of each, with the same weights."""
    mine = make(nn)
    if torch is None:
        return mine, None
    theirs = make(torch.nn)
    mine.load_state_dict(theirs.state_dict())
    return mine, theirs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if optional("sklearn") is not None:
        (x, y), _ = data.digits()
    else:
        rng = np.random.default_rng(0)
        x, y = rng.random((1438, 64), dtype=np.float32), rng.integers(0, 10, 1438)
    if options.tiny:
        x, y = x[:96], y[:96]
    print(machine(torch), "\n")
    rows = []
    for name, make in (("MLP 64-128-128-10", mlp), ("three convolutions", convolutions)):
        for batch in (32,) if options.tiny else (32, 64, 256):
            mine, theirs = pair(make)
            if theirs is not None:
                losses = [f(m, x, y, batch, False)() for f, m in ((wengert_epoch, mine), (torch_epoch, theirs))]
                assert abs(losses[0] - losses[1]) < 1e-3 * losses[1], f"the losses differ: {losses}"
            calls = {"wengert": wengert_epoch(mine, x, y, batch, 1)}
            if theirs is not None:
                calls["torch"] = torch_epoch(theirs, x, y, batch, True)
            best = best_in_turns(calls, 0.1 if options.tiny else 3.0)
            ratio = times(best["torch"] / best["wengert"]) if theirs is not None else "–"
            peer = duration(best["torch"]) if theirs is not None else "–"
            rows.append([name, str(batch), ratio, duration(best["wengert"]), peer])
    print_table(["epoch of digits", "batch", "PyTorch / Wengert", "Wengert", "PyTorch"], rows)


if __name__ == "__main__":
    main()
