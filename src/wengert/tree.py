"""Pytrees: tuples, lists, dicts, dataclasses, modules and registered classes seen as a list of array leaves.

`flatten` gives the leaves and a `TreeDef`, a hashable value that describes everything else; `unflatten` puts
them together again. Plain containers are values: an array that stands twice in a tuple is two leaves. Modules
and mutable dataclasses are *objects*: one that stands twice is flattened once, and an array that stands twice
inside modules (a tied weight) is one leaf, so that it has one derivative.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from copy import copy as another
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, TreeError
from wengert.module import Module as Module
from wengert.setting import Setting
from wengert.source import at_user_line

_NUMBERS = (int, float, complex, np.ndarray, np.generic)


class TreeDef:
    """The structure of a pytree without its leaves: hashable, comparable, printable."""

    __slots__ = ("_hash", "children", "kind", "meta", "num_leaves")

    def __init__(self, kind: str, meta: Any = None, children: tuple[TreeDef, ...] = ()):
        self.kind = kind
        self.meta = meta
        self.children = children
        self.num_leaves: int = 1 if kind == "leaf" else sum(c.num_leaves for c in children)
        self._hash = hash((kind, meta, children))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TreeDef) or self._hash != other._hash:
            return False
        return self.kind == other.kind and self.meta == other.meta and self.children == other.children

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.kind == "leaf":
            return "*"
        if self.kind in ("none", "static"):
            return repr(self.meta)
        if self.kind in ("object", "again", "tied"):
            name = self.meta[0].__name__ if self.kind == "object" else self.kind
            return f"{name}({', '.join([repr(c) for c in self.children])})"
        inner = ", ".join([repr(c) for c in self.children])
        if self.kind == "dict":
            inner = ", ".join(f"{k!r}: {c!r}" for k, c in zip(self.meta[1], self.children, strict=True))
            return "{" + inner + "}"
        return f"[{inner}]" if self.meta is list else f"({inner})"


@dataclasses.dataclass(frozen=True)
class _Registered:
    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]]
    unflatten: Callable[[Hashable, Iterable[Any]], Any]


_registered: dict[type, _Registered] = {}


def register(
    cls: type,
    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten: Callable[[Hashable, Iterable[Any]], Any],
) -> type:
    """Make instances of `cls` containers.

    `flatten(instance)` returns `(children, settings)`, the settings hashable; `unflatten(settings, children)`
    builds an instance from them.
    """
    if cls in _registered:
        raise ArgumentError(f"{cls.__name__} is registered already; each class is registered once{at_user_line()}")
    _registered[cls] = _Registered(flatten, unflatten)
    return cls


def is_leaf(x: Any) -> bool:
    """Whether `x` is an array or a number, that is, something that can be differentiated or traced."""
    cls = type(x)
    return isinstance(x, _NUMBERS) or hasattr(cls, "__array_namespace__") or hasattr(cls, "__dlpack__")


def _is_object(x: Any) -> bool:
    if isinstance(x, Module):
        return True
    return dataclasses.is_dataclass(x) and not isinstance(x, type) and not x.__dataclass_params__.frozen  # type: ignore[attr-defined]


class _Flattener:
    def __init__(self, references: dict[int, int] | None = None, call: bool = False):
        self.call = call  # whether the tree is `(args, kwargs)` of a call
        self.leaves: list[Any] = []
        self.objects: list[Any] = []  # every mutable object, in the order met
        self.paths: list[tuple[Any, ...]] = []
        self.in_object: list[bool] = []  # whether a leaf belongs to a module or a dataclass
        self.fixed: list[bool] = []  # whether a leaf is a constant to derivatives: in a buffer or frozen
        self.fixing = 0  # how many such attributes are open
        self.records = 0  # how many dataclasses are open
        self.references = references or {}  # id of an object that stands elsewhere -> its number
        self.seen: dict[int, int] = {}  # likewise of those met here
        self.tied: dict[int, int] = {}  # id of an array inside objects -> its leaf number
        self.open: set[int] = set()
        self.known = len(self.references)

    def walk(self, x: Any, path: tuple[Any, ...] = (), inside: bool = False) -> TreeDef:
        if x is None:
            return _NONE
        if is_leaf(x) and not (inside and isinstance(x, (int, float, complex)) and not isinstance(x, np.generic)):
            if inside:
                if (first := self.tied.get(id(x))) is not None:
                    return TreeDef("tied", first)
                self.tied[id(x)] = len(self.leaves)
            self.leaves.append(x)
            self.paths.append(path)
            self.in_object.append(inside or self.records > 0)
            self.fixed.append(self.fixing > 0)
            return _LEAF
        cls = type(x)
        if isinstance(x, (tuple, list, dict)) or cls in _registered or _composite(x):
            return self._container(x, cls, path, inside)
        setting = Setting(x)
        if not (setting.hashable or inside or self.records):
            raise TreeError(
                f"a {cls.__name__} is neither an array nor a container that is known, so what it holds would be taken "
                f"for a constant. Make it a tuple, list, dict or dataclass, or register its class with "
                f"wg.tree.register.{at_user_line()}"
            )
        return TreeDef("static", setting)

    def _container(self, x: Any, cls: type, path: tuple[Any, ...], inside: bool) -> TreeDef:
        key = id(x)
        if key in self.open:
            where = path_name(path)
            if self.call:
                where = f"argument {path[1]!r}: {path_name(path[2:])}"
            raise TreeError(
                f"a {cls.__name__} contains itself (at {where}); a model must be a tree. Sharing a part in several "
                "places is fine; for a way back to the parent keep a weak reference or a plain function instead."
                + at_user_line()
            )
        self.open.add(key)
        try:
            if isinstance(x, dict) and cls not in _registered:
                keys = tuple(x)
                children = tuple(self.walk(x[k], (*path, k), inside) for k in keys)
                return TreeDef("dict", (cls, keys), children)
            if isinstance(x, (tuple, list)) and cls not in _registered:
                return TreeDef("sequence", cls, tuple(self.walk(c, (*path, i), inside) for i, c in enumerate(x)))
            if cls in _registered:
                parts, settings = _registered[cls].flatten(x)
                children = tuple(self.walk(c, (*path, i), inside) for i, c in enumerate(parts))
                return TreeDef("registered", (cls, settings), children)
            if _is_object(x):
                return self._object(x, cls, path)
            names = tuple(f.name for f in dataclasses.fields(x))
            return TreeDef("record", (cls, names), self._fields(x, cls, names, path, inside))
        finally:
            self.open.discard(key)

    def _object(self, x: Any, cls: type, path: tuple[Any, ...]) -> TreeDef:
        if (number := self.seen.get(id(x), self.references.get(id(x)))) is not None:
            return TreeDef("again", number)
        self.seen[id(x)] = self.known + len(self.objects)
        self.objects.append(x)
        names = tuple(vars(x))
        return TreeDef("object", (cls, names), self._fields(x, cls, names, path, isinstance(x, Module)))

    def _fields(
        self, x: Any, cls: type, names: tuple[str, ...], path: tuple[Any, ...], inside: bool
    ) -> tuple[TreeDef, ...]:
        """The attributes; in a dataclass, truth values and fields marked `metadata={"static": True}` are settings."""
        record = dataclasses.is_dataclass(cls)
        static = {f.name for f in dataclasses.fields(cls) if f.metadata.get("static")} if record else ()
        fixed = x._buffers | x._frozen if isinstance(x, Module) else ()
        self.records += record
        try:
            children = []
            for n in names:
                v = getattr(x, n)
                if n in static or (record and isinstance(v, bool)):
                    children.append(TreeDef("static", Setting(v)))
                    continue
                self.fixing += n in fixed
                children.append(self.walk(v, (*path, n), inside))
                self.fixing -= n in fixed
            return tuple(children)
        finally:
            self.records -= record


def _composite(x: Any) -> bool:
    return isinstance(x, Module) or (dataclasses.is_dataclass(x) and not isinstance(x, type))


_NONE = TreeDef("none")
_LEAF = TreeDef("leaf")


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of `tree`, left to right, and its structure."""
    walker = _Flattener()
    treedef = walker.walk(tree)
    return walker.leaves, treedef


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree with structure `treedef` and the given `leaves`; objects are made anew, never shared with the old."""
    values = list(leaves)
    if len(values) != treedef.num_leaves:
        raise TreeError(
            f"{len(values)} leaves given for a structure of {treedef.num_leaves}, {treedef}{at_user_line()}"
        )
    return _Unflattener(values).build(treedef)


class _Unflattener:
    def __init__(self, leaves: list[Any], objects: list[Any] | None = None):
        self.leaves = leaves
        self.next = 0
        self.objects: list[Any] = list(objects or [])
        self.inside = False  # whether a module is being built
        self.placed: set[int] = set()  # ids of the leaves inside modules

    def build(self, d: TreeDef) -> Any:
        kind = d.kind
        if kind == "leaf":
            n, self.next = self.next, self.next + 1
            if self.inside:
                if id(self.leaves[n]) in self.placed:  # one array given for two leaves; as one object they'd seem tied
                    self.leaves[n] = another(self.leaves[n])
                self.placed.add(id(self.leaves[n]))
            return self.leaves[n]
        if kind == "none":
            return None
        if kind == "static":
            return d.meta.value
        if kind in ("tied", "again"):
            return (self.leaves if kind == "tied" else self.objects)[d.meta]
        if kind == "object":
            cls, names = d.meta
            x = cls.__new__(cls) if issubclass(cls, Module) else object.__new__(cls)
            self.objects.append(x)
            outside, self.inside = self.inside, issubclass(cls, Module)
            for n, c in zip(names, d.children, strict=True):
                object.__setattr__(x, n, self.build(c))
            self.inside = outside
            return x
        children = [self.build(c) for c in d.children]
        if kind == "sequence":
            cls = d.meta
            return cls(*children) if hasattr(cls, "_fields") else cls(children)
        cls, keys = d.meta
        if kind == "dict":
            return cls(dict(zip(keys, children, strict=True)))
        if kind == "registered":
            return _registered[cls].unflatten(keys, children)
        x = object.__new__(cls)
        for n, c in zip(keys, children, strict=True):
            object.__setattr__(x, n, c)
        return x


def leaves(tree: Any) -> list[Any]:
    """The leaves of `tree`, left to right."""
    return flatten(tree)[0]


def leaf_paths(tree: Any) -> list[str]:
    """A readable name for every leaf, such as `layers[0].weight`, in the order of `leaves`."""
    walker = _Flattener()
    walker.walk(tree)
    return [path_name(p) for p in walker.paths]


def path_name(path: tuple[Any, ...]) -> str:
    """`('layers', 0, 'weight')` as `layers[0].weight`."""
    text = "".join(f".{p}" if isinstance(p, str) and p.isidentifier() else f"[{p!r}]" for p in path)
    return text.removeprefix(".")


def map(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`f` applied to every leaf of `tree` (and to the leaves of `rest` beside it, of the same structure)."""
    first, treedef = flatten(tree)
    columns = [first]
    for other in rest:
        its_leaves, its_def = flatten(other)
        if its_def != treedef:
            raise TreeError(f"tree.map needs trees of one structure; got {treedef} and {its_def}{at_user_line()}")
        columns.append(its_leaves)
    return unflatten(treedef, [f(*row) for row in zip(*columns, strict=True)])


class Opened:
    """Arguments opened for a transformation: leaves to trace, and the mutable objects to write back to.

    `rebuild(leaves)` makes the arguments again from other leaves, with copies of the objects. After the function
    has run on the copies, `changes()` lists what it assigned, as leaves and a structure, and `write_back` puts the
    computed values into the caller's own objects.
    """

    __slots__ = ("copies", "fixed", "in_object", "leaves", "numbers", "objects", "paths", "snapshot", "treedef")

    def __init__(self, tree: Any):
        call = type(tree) is tuple and len(tree) == 2 and type(tree[0]) is tuple and type(tree[1]) is dict
        walker = _Flattener(call=call)
        self.treedef = walker.walk(tree)
        self.leaves = walker.leaves
        self.objects = walker.objects
        self.paths = walker.paths
        self.in_object = walker.in_object
        self.fixed = walker.fixed
        self.copies: list[Any] = []
        self.numbers: dict[int, int] = {}  # id of a copy -> its number
        self.snapshot: list[dict[str, Any]] = []

    def rebuild(self, leaves: Iterable[Any]) -> Any:
        builder = _Unflattener(list(leaves))
        tree = builder.build(self.treedef)
        self.copies = builder.objects
        self.numbers = {id(c): i for i, c in enumerate(self.copies)}
        self.snapshot = [{n: self._flat(v, isinstance(c, Module)) for n, v in vars(c).items()} for c in self.copies]
        return tree

    def _flat(self, value: Any, inside: bool) -> tuple[list[Any], TreeDef]:
        walker = _Flattener(self.numbers)
        return walker.leaves, walker.walk(value, inside=inside)

    def changes(self) -> tuple[list[Any], tuple[tuple[int, str, TreeDef | None], ...]]:
        """What the function assigned: all new leaves, and `(object, attribute, structure)` for each of them."""
        found: list[Any] = []
        where: list[tuple[int, str, TreeDef | None]] = []
        tied: dict[int, int] = {}
        for i, (copy, before) in enumerate(zip(self.copies, self.snapshot, strict=True)):
            for name, value in vars(copy).items():
                new, treedef = self._flat(value, isinstance(copy, Module))
                old, old_def = before.get(name, ((), None))
                if treedef == old_def and all(a is b for a, b in zip(new, old, strict=True)):
                    continue
                walker = _Flattener(self.numbers)
                walker.leaves, walker.tied = found, tied  # one array assigned to two attributes stays one
                where.append((i, name, walker.walk(value, inside=isinstance(copy, Module))))
            where += [(i, name, None) for name in before if name not in vars(copy)]
        return found, tuple(where)

    def write_back(self, where: tuple[tuple[int, str, TreeDef | None], ...], leaves: Iterable[Any]) -> None:
        values, done = list(leaves), 0
        placed: set[int] = set()
        for i, name, treedef in where:
            if treedef is None:
                object.__delattr__(self.objects[i], name)
                continue
            builder = _Unflattener(values, self.objects)
            builder.next, builder.inside, builder.placed = done, isinstance(self.objects[i], Module), placed
            object.__setattr__(self.objects[i], name, builder.build(treedef))
            done = builder.next


register(
    defaultdict,
    lambda d: (d.values(), (d.default_factory, tuple(d))),
    lambda settings, values: defaultdict(settings[0], zip(settings[1], values, strict=True)),  # type: ignore[index]
)
register(deque, lambda d: (d, d.maxlen), lambda maxlen, items: deque(items, maxlen))  # type: ignore[arg-type, call-overload]
