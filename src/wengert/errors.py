"""Every error that Wengert raises on purpose.

Each message says what was given, what was expected and what to do, and ends with the user's own line.
"""

from __future__ import annotations


class WengertError(Exception):
    """Base of all errors raised by Wengert."""


class ShapeError(WengertError, ValueError):
    """Shapes that do not fit together."""


class OutOfRangeError(ShapeError, IndexError):
    """An axis or an index that does not exist."""


class DTypeError(WengertError, TypeError):
    """An element type that the operation is not defined for."""


class ArgumentError(WengertError, TypeError):
    """An argument of the wrong kind."""


class NoAttributeError(WengertError, AttributeError):
    """An attribute that an object, or an array of this shape, doesn't have."""


class EscapedTraceError(WengertError, RuntimeError):
    """A value was used after the transformation that made it had ended."""


class AbstractValueError(WengertError, TypeError):
    """The number inside an abstract value was asked for: inside `jit`, only its type is known."""


class UnsupportedError(WengertError, NotImplementedError):
    """A primitive says, with its reason, that it has no such facet."""


class TreeError(WengertError, ValueError):
    """Containers that do not match, or that contain themselves."""


class GraphError(WengertError, ValueError):
    """A graph that breaks a rule of the intermediate representation, or a question it can't answer."""


class NonFiniteError(WengertError, ArithmeticError):
    """A NaN or an infinity arose while `wg.debug_nonfinite()` was watching."""


class CheckpointError(WengertError, ValueError):
    """A file that is damaged, or holds something else than was asked for."""


class MissingExtraError(WengertError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""
