"""NumPy's floating-point warnings, off: log(0) is a legitimate value here, and `debug_nonfinite` finds it.

`token = quiet.set(SILENCE)` … `quiet.reset(token)` costs a tenth of `np.errstate`, because it sets NumPy's context
variable directly; where a NumPy has no such variable, `np.errstate` does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class _ErrorState:
    """The same interface by public means."""

    def set(self, state: dict[str, str]) -> Any:
        manager = np.errstate(**state)  # type: ignore[arg-type]
        manager.__enter__()
        return manager

    def reset(self, manager: Any) -> None:
        manager.__exit__(None, None, None)


quiet: Any
SILENCE: Any
try:
    from numpy._core import umath

    quiet, SILENCE = umath._extobj_contextvar, umath._make_extobj(all="ignore")
except (ImportError, AttributeError):  # a NumPy that keeps its error state elsewhere
    quiet, SILENCE = _ErrorState(), {"all": "ignore"}
