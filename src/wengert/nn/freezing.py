"""Parameters held fixed: their module names them in `_frozen`, a setting, which derivative functions heed."""

from __future__ import annotations

import fnmatch

from wengert.errors import ArgumentError
from wengert.module import Module
from wengert.nn.naming import entries
from wengert.source import at_user_line


def hold(model: Module, patterns: tuple[str, ...], held: bool) -> None:
    """Freeze (or unfreeze) the parameters of `model` that the patterns name; all without any."""
    mine = [e for e in entries(model) if not e.buffer]
    for pattern in patterns or ("*",):
        chosen = [e for e in mine if fnmatch.fnmatchcase(e.name, pattern) or e.name.startswith(f"{pattern}.")]
        if patterns and not chosen:
            raise ArgumentError(
                f"no parameter of {type(model).__name__} is called {pattern!r}; there are "
                f"{', '.join(e.name for e in mine) or 'none'}{at_user_line()}"
            )
        for e in chosen:
            names = e.owner._frozen | {e.attribute} if held else e.owner._frozen - {e.attribute}
            if names:
                object.__setattr__(e.owner, "_frozen", names)
            else:
                vars(e.owner).pop("_frozen", None)
