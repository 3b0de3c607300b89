"""Modules made of modules: in a row, in a list or dict, around a shortcut; and any function as a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, overload

from wengert.errors import ArgumentError, OutOfRangeError, ShapeError
from wengert.module import Module as Traced
from wengert.nn.module import Module
from wengert.source import at_user_line


class _Numbered(Module):
    """Modules called "0", "1", …, so that the names of their arrays are PyTorch's."""

    def _parts(self) -> list[Any]:
        return [v for k, v in vars(self).items() if k.isdecimal()]

    def _set(self, modules: Iterable[Any]) -> None:
        for k in [k for k in vars(self) if k.isdecimal()]:
            delattr(self, k)
        for i, m in enumerate(modules):
            setattr(self, str(i), self._checked(m))

    def _checked(self, module: Any) -> Any:
        if not isinstance(module, Traced):
            hint = "; wrap a function in nn.Lambda" if callable(module) else ""
            raise ArgumentError(
                f"{type(self).__name__} takes modules, got a {type(module).__name__}{hint}{at_user_line()}"
            )
        return module

    def _position(self, i: int) -> int:
        n = len(self)
        if not -n <= i < n:
            raise OutOfRangeError(f"{type(self).__name__} of {n} modules has no number {i}{at_user_line()}")
        return i % n

    def __len__(self) -> int:
        return len(self._parts())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts())

    @overload
    def __getitem__(self, i: int) -> Any: ...
    @overload
    def __getitem__(self, i: slice) -> Any: ...
    def __getitem__(self, i: int | slice) -> Any:
        parts = self._parts()
        if isinstance(i, slice):
            chosen: Any = type(self).__new__(type(self))
            chosen._set(parts[i])
            return chosen
        return parts[self._position(i)]

    def __setitem__(self, i: int, module: Any) -> None:
        setattr(self, str(self._position(i)), self._checked(module))

    def __delitem__(self, i: int) -> None:
        parts = self._parts()
        del parts[self._position(i)]
        self._set(parts)

    def append(self, module: Any) -> Any:
        """Add a module at the end; returns this module."""
        setattr(self, str(len(self)), self._checked(module))
        return self

    def extend(self, modules: Iterable[Any]) -> Any:
        """Add modules at the end; returns this module."""
        for m in modules:
            self.append(m)
        return self

    def insert(self, i: int, module: Any) -> Any:
        """Add a module before number `i`; returns this module."""
        parts = self._parts()
        parts.insert(i, self._checked(module))
        self._set(parts)
        return self


class Sequential(_Numbered):
    """Modules one after the other: `Sequential(f, g)(x)` is `g(f(x))`.

    Takes modules, or one dict of names and modules.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    """

    def __init__(self, *modules: Any):
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, m in modules[0].items():
                _check_name(self, name)
                setattr(self, name, self._checked(m))
        else:
            self._set(modules)

    def _parts(self) -> list[Any]:
        return [v for v in vars(self).values() if isinstance(v, Traced)]

    def _set(self, modules: Iterable[Any]) -> None:
        for k in [k for k, v in vars(self).items() if isinstance(v, Traced)]:
            delattr(self, k)
        for i, m in enumerate(modules):
            setattr(self, str(i), self._checked(m))

    def __setitem__(self, i: int, module: Any) -> None:
        names = [k for k, v in vars(self).items() if isinstance(v, Traced)]
        setattr(self, names[self._position(i)], self._checked(module))

    def forward(self, x: Any) -> Any:
        for module in self._parts():
            x = module(x)
        return x


class ModuleList(_Numbered):
    """A list of modules, whose parts are called "0", "1", …; it is not called itself."""

    def __init__(self, modules: Iterable[Any] = ()):
        self._set(modules)


class ModuleDict(Module):
    """A dict of modules; it is not called itself."""

    def __init__(self, modules: Mapping[str, Any] | None = None):
        self.update(modules or {})

    def _items(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if isinstance(v, Traced)}

    def update(self, modules: Mapping[str, Any]) -> None:
        """Add modules, or put others in their places."""
        for name, m in modules.items():
            self[name] = m

    def __setitem__(self, name: str, module: Any) -> None:
        _check_name(self, name)
        if not isinstance(module, Traced):
            raise ArgumentError(f"ModuleDict takes modules, got a {type(module).__name__}{at_user_line()}")
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Any:
        return self._items()[name]

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._items())

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __contains__(self, name: object) -> bool:
        return name in self._items()

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._items().keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._items().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and modules."""
        return self._items().items()


def _check_name(module: Module, name: Any) -> None:
    if not isinstance(name, str) or not name or "." in name or hasattr(type(module), name) or name == "training":
        raise ArgumentError(
            f"{type(module).__name__}: a part can't be called {name!r}; expected a string without dots that is no "
            f"attribute of {type(module).__name__}{at_user_line()}"
        )


class Lambda(Module):
    """Any function as a module; arrays that it closes over are constants.

    Example:
        >>> nn.Lambda(lambda x: x * 2)(3.0)
        Array(6., weak)
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


class Residual(Module):
    """A shortcut around a branch: `y = activation(shortcut(x) + branch(x))`.

    Through the shortcut the gradient arrives with factor 1, however small the branch's derivative is.

    Args:
        branch: a module; several can be given one after the other, as for `Sequential`.
        shortcut: a module that brings `x` into the shape of the branch's result (a projection, such as
            `nn.Conv2d(c, d, 1, stride=2)`); None for `x` itself.
        activation: a module or function for the sum, or None.

    He, Zhang, Ren and Sun 2015, *Deep residual learning for image recognition* (arXiv 1512.03385).

    Example:
        >>> block = nn.Residual(nn.Linear(8, 8), nn.Tanh())
    """

    def __init__(self, *branch: Any, shortcut: Any = None, activation: Any = None):
        if not branch:
            raise ArgumentError(f"Residual needs a branch: nn.Residual(nn.Linear(8, 8)){at_user_line()}")
        self.branch = branch[0] if len(branch) == 1 else Sequential(*branch)
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, x: Any) -> Any:
        y = self.branch(x)
        short = x if self.shortcut is None else self.shortcut(x)
        if tuple(short.shape) != tuple(y.shape):
            raise ShapeError(
                f"Residual: the shortcut has shape {tuple(short.shape)}, the branch {tuple(y.shape)}; give a "
                f"projection of the input, shortcut=nn.Linear(…) or nn.Conv2d(…, 1){at_user_line()}"
            )
        total = short + y
        return total if self.activation is None else self.activation(total)
