"""The smallest net that learns: one weight, used twice, driven to zero by gradient descent.

    python examples/one_weight.py [folder]

The net is `y = w²` with the cost `½ y²`, that is `½ w⁴`, so that the derivative is `2w³`. From w = 2, with learning
rate 0.02, 30 steps lead to w ≈ 0.597. Pictures, in `out/` or the folder given: the graph with every value and local
derivative, and the descent.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chart import lines

import wengert as wg
from wengert import nn, optim


class OneWeight(nn.Module):
    def __init__(self):
        self.w = wg.asarray(2.0, dtype=wg.float64)

    def forward(self):
        return self.w * self.w


def cost(model):
    return 0.5 * model() ** 2


@wg.jit
def step(model, optimizer):
    value, grads = wg.value_and_grad(cost)(model)
    optimizer.update(model, grads)
    return value


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = OneWeight()
    optimizer = optim.SGD(model, learning_rate=0.02)
    print(f"cost {float(cost(model)):.6g}, derivative by w: {float(wg.grad(cost)(model).w):.6g} = 2·2³")

    def net(w):
        y = w * w
        loss = 0.5 * y**2
        return loss

    graph = wg.graph(net)(2.0)
    print(graph.paths("loss", "w"))
    graph.derivative().save(folder / "one_weight_graph.svg")

    weights, costs = [float(model.w)], []
    for _ in range(30):
        costs.append(float(step(model, optimizer)))
        weights.append(float(model.w))
    print(f"after 30 steps w = {weights[-1]:.6f}, cost {float(cost(model)):.6f}")
    lines(folder / "one_weight.svg", "One weight, 30 steps", {"w": weights, "cost ½w⁴": costs})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
