"""Local linear maps: what stands on an edge of the linearised graph.

A map takes a change of one input of a step to the change of its output. `push` applies it to a tangent, `pull`
applies its transpose to a cotangent (no conjugation: `pull` is the transpose with respect to `Re(a·b)`, JAX's
convention). Both are written in primitives, so the result is a graph again.

Almost every map is `Linear`: a primitive that is linear in one argument, with the others fixed. A reshape, a matrix
product with one side fixed, a convolution, a gather, the multiplication by a derivative: all are this one class.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.ir.array import Array
from wengert.ir.primitive import Params, Primitive


class Map:
    """A linear map between two array spaces."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        """What sort of map it is: "identity", "scale", "reshape", "dot_general", …"""
        raise NotImplementedError

    @property
    def factor(self) -> Array | None:
        """The number(s) that the map multiplies by, where it is a multiplication."""
        return None

    def push(self, tangent: Array) -> Array:
        raise NotImplementedError

    def pull(self, cotangent: Array) -> Array:
        raise NotImplementedError


class Identity(Map):
    """The map that changes nothing."""

    __slots__ = ()
    kind = "identity"

    def push(self, tangent: Array) -> Array:
        return tangent

    def pull(self, cotangent: Array) -> Array:
        return cotangent


IDENTITY = Identity()


class Linear(Map):
    """A primitive applied with one argument left open; it must be linear in that argument."""

    __slots__ = ("params", "primitive", "slot", "values")

    def __init__(self, primitive: Primitive, slot: int, values: Sequence[Array], params: Params):
        self.primitive = primitive
        self.slot = slot
        self.values = values
        self.params = params

    @property
    def kind(self) -> str:
        return self.primitive.name

    def push(self, tangent: Array) -> Array:
        args = list(self.values)
        args[self.slot] = tangent
        return self.primitive.bind(*args, **self.params)

    def pull(self, cotangent: Array) -> Array:
        return self.primitive.transpose(self.slot, cotangent, self.values, self.params)


class Compose(Map):
    """Maps one after the other, in the order in which a tangent meets them."""

    __slots__ = ("parts",)

    def __init__(self, *parts: Map):
        self.parts = parts

    @property
    def kind(self) -> str:
        return "∘".join(p.kind for p in reversed(self.parts))

    def push(self, tangent: Array) -> Array:
        for part in self.parts:
            tangent = part.push(tangent)
        return tangent

    def pull(self, cotangent: Array) -> Array:
        for part in reversed(self.parts):
            cotangent = part.pull(cotangent)
        return cotangent
