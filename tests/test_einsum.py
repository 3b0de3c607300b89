"""Einstein's summation against NumPy's, its derivative against differences, and the order of its products."""

import itertools
import math

import numpy as np
import pytest

import wengert as wg
from wengert.array.contraction_path import contraction_path
from wengert.errors import ArgumentError, ShapeError

rng = np.random.default_rng(1916)
X = rng.normal(size=(3, 4))


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


SPECS = (
    "ij,jk->ik", "ij,jk", "ij,ij->", "ii->i", "ii", "iij->j", "ij->ji", "ij->", "i,j->ij", "bij,bjk->bik",
    "...ij,...jk->...ik", "...i->...", "i...,i...->...", "ij,jk,kl->il", "ij,jk,kl,lm->im", "ijk,jil->kl",
    "abc,cd,bd->a", "i,i,i->i", "ab,cd->", "ab,b,c->ca", "iji->j", "ijij->ij", "bhqd,bhkd->bhqk",
    "a,b,c,d,e->ace", "ij,kj->ijk",
)  # fmt: skip
LENGTHS = dict(zip("abcdefghijklmqk", (2, 3, 4, 5, 2, 3, 2, 2, 3, 4, 2, 3, 2, 3, 5), strict=True)) | {"l": 3}


def operands(spec, dots=(2, 3)):
    terms = spec.split("->", maxsplit=1)[0].split(",")
    shapes = []
    for term in terms:
        head, _, tail = term.partition("...")
        middle = dots if "..." in term else ()
        shapes.append((*(LENGTHS[c] for c in head), *middle, *(LENGTHS[c] for c in tail)))
    return [rng.normal(size=s) for s in shapes]


@pytest.mark.parametrize("spec", SPECS)
def test_einsum_is_numpys_and_its_derivative_too(spec):
    xs = operands(spec)
    f = lambda *xs: wg.sum(wg.sin(wg.einsum(spec, *xs)))  # noqa: E731
    close(wg.einsum(spec, *xs), np.einsum(spec, *xs), 1e-11)
    ts = [rng.normal(size=x.shape) for x in xs]
    _, slope = wg.jvp(f, tuple(xs), tuple(ts))
    h = 1e-6
    up, down = ([x + s * h * t for x, t in zip(xs, ts, strict=True)] for s in (1, -1))
    close(slope, (float(f(*up)) - float(f(*down))) / (2 * h), 3e-7)
    grads = wg.grad(f, tuple(range(len(xs))))(*xs)
    close(sum(float(np.sum(np.asarray(g) * t)) for g, t in zip(grads, ts, strict=True)), slope, 1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_random_einsums_are_numpys(seed):
    random = np.random.default_rng(seed)
    for _ in range(25):
        sizes = {c: int(random.integers(1, 4)) for c in "abcdef"}
        terms = [
            "".join(random.choice(list("abcdef"), size=random.integers(0, 4))) for _ in range(random.integers(1, 7))
        ]
        letters = sorted(set("".join(terms)))
        spec = f"{','.join(terms)}->{''.join(c for c in random.permutation(letters) if random.uniform() < 0.4)}"
        xs = [random.normal(size=[1 if len(set(t)) == len(t) == 2 else sizes[c] for c in t]) for t in terms]
        close(wg.einsum(spec, *xs), np.einsum(spec, *xs), 1e-10)


def test_einsum_takes_other_forms():
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    close(wg.einsum(x, [0, 1], y, [1, 2]), x @ y)
    close(wg.einsum(x, [0, 1], y, [1, 2], [2, 0]), (x @ y).T)
    close(wg.einsum(x, [..., 1], y, [1, 5], [..., 5]), x @ y)
    stretched = rng.normal(size=(1, 3)), rng.normal(size=(4, 3))
    close(wg.einsum("ij,ij->ij", *stretched), np.einsum("ij,ij->ij", *stretched))
    close(wg.einsum("...ij,...j->...i", np.ones((5, 1, 2, 3)), np.ones((4, 3))), np.full((5, 4, 2), 3.0))
    close(wg.einsum("ij,j", wg.ones((2, 3)), wg.asarray(np.arange(3))), [3.0, 3.0])
    assert wg.einsum("ij->ji", wg.arange(6).reshape(2, 3)).dtype == wg.int64


def test_einsum_takes_the_cheap_order():
    # (x y) z costs n³, x (y z) costs n²: the path must start with the vector
    sizes = dict.fromkeys("ijk", 100)
    terms = [frozenset("ij"), frozenset("jk"), frozenset("k")]
    assert contraction_path(terms, frozenset("i"), sizes)[0] == (1, 2)
    chain = [frozenset((k, k + 1)) for k in range(12)]
    sizes = {k: 2 + k % 3 for k in range(13)}
    assert len(contraction_path(chain, frozenset((0, 12)), sizes)) == 11  # beyond the exact search
    xs = [rng.normal(size=(2 + k % 3, 2 + (k + 1) % 3)) for k in range(12)]
    args = [v for k, x in enumerate(xs) for v in (x, [k, k + 1])]
    close(wg.einsum(*args, [0, 12]), np.linalg.multi_dot(xs), 1e-10)


def work(terms, output, sizes, path):
    """The multiplications of a path, counted by doing as it says."""
    left, total = list(terms), 0
    for i, j in path:
        others = output.union(*(t for k, t in enumerate(left) if k not in (i, j)))
        both = left[i] | left[j]
        total += math.prod(sizes[c] for c in both)
        left = [t for k, t in enumerate(left) if k not in (i, j)] + [both & others]
    return total


def every_path(n):
    if n == 1:
        yield ()
    for i, j in itertools.combinations(range(n), 2):
        for rest in every_path(n - 1):
            yield ((i, j), *rest)


@pytest.mark.parametrize("seed", range(6))
def test_no_order_is_cheaper_than_the_path(seed):
    random = np.random.default_rng(seed)
    terms = [frozenset(random.choice(list("abcdef"), size=random.integers(1, 4), replace=False)) for _ in range(5)]
    sizes = {c: int(random.integers(1, 20)) for c in "abcdef"}
    output = frozenset(c for c in frozenset().union(*terms) if random.uniform() < 0.3)
    least = min(work(terms, output, sizes, path) for path in every_path(5))
    assert work(terms, output, sizes, contraction_path(terms, output, sizes)) == least


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wg.einsum("ij,jk", X), ArgumentError),
        (lambda: wg.einsum("ijk", X), ShapeError),
        (lambda: wg.einsum("ij,ij->i", X, X.T), ShapeError),
        (lambda: wg.einsum("ii->i", np.ones((1, 2))), ShapeError),
        (lambda: wg.einsum("ij->k", X), ArgumentError),
        (lambda: wg.einsum("ij->ii", X), ArgumentError),
        (lambda: wg.einsum("i.j", X), ArgumentError),
        (lambda: wg.einsum(X, X), ArgumentError),
    ],
)
def test_mistakes_are_explained_at_the_users_line(call, error):
    with pytest.raises(error, match=r"test_einsum\.py"):
        call()
