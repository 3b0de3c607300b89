"""Where boxes and lines go: layers from left to right (Sugiyama, Tagawa and Toda 1981), in linear time per sweep.

1. Layers: each operation stands one layer to the right of its last input, or nearer to its use where that shortens the
   lines; inputs stand just left of their first use.
2. Lines that cross layers get a point in each; a label is such a point with a size, in a layer of its own between the
   layers of boxes, so that labels overlap nothing.
3. Order inside a layer: sweeps to the mean position of the neighbours, the order with the fewest crossings is kept.
4. Heights: sweeps to the mean height of the neighbours, under the order and the distances of the layer: a least-squares
   problem that pooling adjacent violators solves in linear time (isotonic regression, Barlow et al. 1972).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
Size = tuple[float, float]

GAP = 22.0  # between boxes above one another
BETWEEN = 26.0  # between layers
POINT = 8.0  # height kept free for a line
SWEEPS = 12
BUDGET = 6  # points for lines, per box, before the longest lines are cut into stubs
MANY = 8  # long lines from one box, before the longest of them are


class Layout:
    """`centers` of the boxes; for each line its points and where its label stands (None without one).

    Lines in `stubs` are too long to draw: a short piece at each end stands for them.
    """

    def __init__(self, sizes: Sequence[Size], lines: Sequence[tuple[int, int]], labels: Sequence[Size | None]):
        self.sizes = list(sizes)
        self.lines = lines
        self.labels = labels
        self.unit = 2 if any(labels) else 1
        self._layers()
        self._points()
        self._order()
        self._across()
        self._down()
        self._routes()

    # 1

    def _layers(self) -> None:
        n = len(self.sizes)
        rank = [0] * n
        arrives: list[list[int]] = [[] for _ in range(n)]
        leaves: list[list[int]] = [[] for _ in range(n)]
        for s, t in sorted(self.lines, key=lambda line: line[1]):  # boxes stand in an order that can be executed
            rank[t] = max(rank[t], rank[s] + self.unit)
            arrives[t].append(s)
            leaves[s].append(t)
        for v in reversed(range(n)):
            if leaves[v]:
                fixed = sum(bool(arrives[s]) or len(leaves[s]) > 1 for s in arrives[v])  # the others come along
                if fixed <= len(leaves[v]):
                    rank[v] = min(rank[t] for t in leaves[v]) - self.unit
        self.rank = rank

    # 2

    def _points(self) -> None:
        rank, unit = self.rank, self.unit
        boxes = len(self.sizes)
        spans = sorted((rank[t] - rank[s], i) for i, (s, t) in enumerate(self.lines))
        budget = BUDGET * boxes * unit + 200
        self.stubs: set[int] = set()
        long: dict[int, int] = {}
        for span, i in spans:
            if span > unit * 4:
                s = self.lines[i][0]
                long[s] = long.get(s, 0) + 1
                if budget < 0 or long[s] > MANY:
                    self.stubs.add(i)
                    continue
            budget -= span - 1
        self.layers: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
        for v, r in enumerate(rank):
            self.layers[r].append(v)
        self.item_rank = list(rank)
        self.chains: list[list[int]] = []  # the items that each line passes, ends included
        self.label_item: list[int | None] = []
        self.neighbours: list[tuple[int, int]] = []
        for i, (s, t) in enumerate(self.lines):
            label = self.labels[i]
            inner = range(rank[s] + 1, rank[t])
            if i in self.stubs:
                inner = range(rank[t] - 1, rank[t]) if label is not None else range(0)
            # the label stands in an odd layer, as near to the middle as may be; of a stub it stands before the target
            middle = rank[t] - 1 if i in self.stubs else rank[s] + 1 + (rank[t] - rank[s] - 2) // 4 * 2
            chain = [s]
            place: int | None = None
            for r in inner:
                item = len(self.sizes)
                is_label = label is not None and r == middle
                self.sizes.append(label if is_label and label is not None else (0.0, POINT))
                self.item_rank.append(r)
                self.layers[r].append(item)
                chain.append(item)
                if is_label:
                    place = item
            chain.append(t)
            self.chains.append(chain)
            self.label_item.append(place)
            pairs = list(pairwise(chain))
            self.neighbours += pairs[1:] if i in self.stubs else pairs

    # 3

    def _order(self) -> None:
        count = len(self.sizes)
        self.before: list[list[int]] = [[] for _ in range(count)]
        self.after: list[list[int]] = [[] for _ in range(count)]
        for a, b in self.neighbours:
            self.after[a].append(b)
            self.before[b].append(a)
        self._depth_first()
        position = [0.0] * count
        for layer in self.layers:
            for p, v in enumerate(layer):
                position[v] = p
        best, fewest = [list(layer) for layer in self.layers], self._crossings(position)
        sweeps = SWEEPS if count < 4000 else 4
        for sweep in range(sweeps):
            down = sweep % 2 == 0
            beside = self.before if down else self.after
            for layer in self.layers if down else reversed(self.layers):
                key = {
                    v: sum(position[u] for u in beside[v]) / len(beside[v]) if beside[v] else position[v] for v in layer
                }
                layer.sort(key=key.__getitem__)
                for p, v in enumerate(layer):
                    position[v] = p
            crossings = self._crossings(position)
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
            if not fewest:
                break
        self.layers = best

    def _depth_first(self) -> None:
        """Begin with the order in which a walk back from the outputs meets the items: neighbours start together."""
        met: dict[int, int] = {}
        ends = [v for v in range(len(self.sizes)) if not self.after[v]]
        for end in ends:
            stack = [end]
            while stack:
                v = stack.pop()
                if v not in met:
                    met[v] = len(met)
                    stack += reversed(self.before[v])
        for layer in self.layers:
            layer.sort(key=lambda v: met.get(v, v))

    def _crossings(self, position: Sequence[float]) -> int:
        total = 0
        for layer in self.layers:
            seen: list[float] = []
            for v in layer:
                ends = [position[u] for u in self.after[v]]
                total += sum(len(seen) - bisect_right(seen, e) for e in ends)
                for e in ends:
                    insort(seen, e)
        return total

    # 4

    def _across(self) -> None:
        self.left: list[float] = []
        self.right: list[float] = []
        x = 0.0
        for r, layer in enumerate(self.layers):
            width = max((self.sizes[v][0] for v in layer), default=0.0)
            if r:
                x += BETWEEN if self.unit == 2 else 2 * BETWEEN
            self.left.append(x)
            x += width
            self.right.append(x)
        self.width = x

    def _down(self) -> None:
        count = len(self.sizes)
        boxes = len(self.rank)
        y = [0.0] * count
        offsets: list[list[float]] = []  # the height of each item above the first of its layer, packed tightly
        for layer in self.layers:
            at, row = 0.0, []
            for k, v in enumerate(layer):
                if k:
                    u = layer[k - 1]
                    gap = GAP if u < boxes and v < boxes else GAP / 2
                    at += (self.sizes[u][1] + self.sizes[v][1]) / 2 + gap
                row.append(at)
            offsets.append(row)
            for v, o in zip(layer, row, strict=True):
                y[v] = o - at / 2
        passes = 24 if count < 4000 else 6
        inner = {v: i for i, chain in enumerate(self.chains) if len(chain) > 3 for v in chain[1:-1]}
        for k in range(passes):
            down = k % 2 == 0
            both = k >= passes // 2
            level = {i: _mean([y[v] for v in self.chains[i][1:-1]]) for i in set(inner.values())} if both else {}
            order = range(len(self.layers))
            for r in order if down else reversed(order):
                layer = self.layers[r]
                wanted, weights = [], []
                for v in layer:
                    if both and v in inner:  # a long line wants to be straight
                        wanted.append(level[inner[v]])
                        weights.append(8.0)
                        continue
                    near = self.before[v] + self.after[v] if both else self.before[v] if down else self.after[v]
                    if not near:
                        near = self.after[v] or self.before[v]
                    weight = 0.0
                    mean = 0.0
                    for u in near:
                        w = 8.0 if u >= boxes and v >= boxes else 2.0 if u >= boxes or v >= boxes else 1.0
                        mean += w * y[u]
                        weight += w
                    wanted.append(mean / weight if weight else y[v])
                    weights.append(weight or 0.01)
                for v, o in zip(layer, separated(wanted, weights, offsets[r]), strict=True):
                    y[v] = o
        top = min((y[v] - self.sizes[v][1] / 2 for v in range(count)), default=0.0)
        self.y = [a - top for a in y]
        self.height = max((self.y[v] + self.sizes[v][1] / 2 for v in range(count)), default=0.0)

    def _routes(self) -> None:
        boxes = len(self.rank)
        self.centers: list[Point] = []
        for v in range(boxes):
            r = self.rank[v]
            self.centers.append(((self.left[r] + self.right[r]) / 2, self.y[v]))
        leaving, arriving = self._ports()
        self.routes: list[list[Point]] = []
        self.label_centers: list[Point | None] = []
        for i, chain in enumerate(self.chains):
            s, t = chain[0], chain[-1]
            points = [(self.centers[s][0] + self.sizes[s][0] / 2, leaving[i])]
            for v in chain[1:-1]:
                r = self.item_rank[v]
                points += [(self.left[r], self.y[v]), (self.right[r], self.y[v])]
            points.append((self.centers[t][0] - self.sizes[t][0] / 2, arriving[i]))
            self.routes.append(points)
            item = self.label_item[i]
            if item is None:
                self.label_centers.append(None)
            else:
                r = self.item_rank[item]
                self.label_centers.append(((self.left[r] + self.right[r]) / 2, self.y[item]))

    def _ports(self) -> tuple[list[float], list[float]]:
        """The heights at which each line leaves its source and arrives at its target: spread, in order."""
        result = []
        for end, inner in ((0, 1), (-1, -2)):
            at: dict[int, list[int]] = {}
            for i, chain in enumerate(self.chains):
                at.setdefault(chain[end], []).append(i)
            heights = [0.0] * len(self.chains)
            for v, mine in at.items():
                mine.sort(key=lambda i: self.y[self.chains[i][inner]])
                room = min(12.0, self.sizes[v][1] * 0.7 / len(mine))
                for k, i in enumerate(mine):
                    heights[i] = self.y[v] + (k - (len(mine) - 1) / 2) * room
            result.append(heights)
        return result[0], result[1]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def separated(wanted: Sequence[float], weights: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The heights nearest to the wanted ones (weighted least squares) that keep order and distances.

    `offsets` are the heights when packed tightly: entry k + 1 stays that much below entry k, or more.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for d, w, o in zip(wanted, weights, offsets, strict=True):
        mean, weight, length = d - o, w, 1
        while blocks and blocks[-1][0] >= mean:
            m, other, n = blocks.pop()
            mean = (mean * weight + m * other) / (weight + other)
            weight += other
            length += n
        blocks.append((mean, weight, length))
    result: list[float] = []
    for mean, _, length in blocks:
        result += [mean + offsets[k] for k in range(len(result), len(result) + length)]
    return result
