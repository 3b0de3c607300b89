"""Where threads wait for each other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite.ir")
from wengert.execute.native.barriers import Barriers
from wengert.execute.native.lower import load
from wengert.execute.native.statements import Barrier, Expr, Loop, Nest, Root, Split
from wengert.execute.native.views import Buffer, Counter, Store, dense


@pytest.mark.parametrize("turns", [3, None, Store(0, 64)])
def test_threads_meet_after_a_loop_that_may_take_no_turn(turns):
    """A meeting inside of it counts only if there is a turn."""

    def whole():
        return dense(Buffer("work", -1, np.dtype("f8"), 8), (8,))

    def nest(source, target):
        expr = Expr("copy", (load(source),), (8,), np.dtype("f8"))
        return Nest((8,), [Root(expr, target, load(target))], Split(0, 8, 2, 4))

    a, b, c, d, test = (whole() for _ in range(5))
    body = [nest(a, b), nest(b.flipped((0,)), c)]  # between these two, threads meet
    loop = Loop(Counter(), turns, False, [], None if turns else test.sliced((0,), (1,), (1,)).reshaped(()), body)
    placed = Barriers({}).placed([nest(a, d), loop, nest(d.flipped((0,)), whole())])
    assert sum(isinstance(s, Barrier) for s in loop.body) >= 1
    after = placed[placed.index(loop) + 1 :]
    assert isinstance(after[0], Barrier) == (turns != 3)
