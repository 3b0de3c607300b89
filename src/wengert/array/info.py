"""What the standard lets other libraries ask: capabilities, devices, types."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.array.dtypes import isdtype, require_cpu
from wengert.ir.types import DEFAULT_COMPLEX, DEFAULT_FLOAT, DEFAULT_INT, DTYPES, bool_, float16


class NamespaceInfo:
    """The answers of `wg.__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Boolean indexing and data-dependent shapes work eagerly; NumPy bounds the number of dimensions by 64."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device that new arrays live on."""
        return "cpu"

    def devices(self) -> list[str]:
        """Every device."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The types of arrays made of Python numbers."""
        require_cpu(device, "default_dtypes")
        return {
            "real floating": DEFAULT_FLOAT,
            "complex floating": DEFAULT_COMPLEX,
            "integral": DEFAULT_INT,
            "indexing": DEFAULT_INT,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The element types of a kind (see `wg.isdtype`) that the standard names; all of them where it is None."""
        require_cpu(device, "dtypes")
        standard = sorted(DTYPES - {float16}, key=lambda d: d.num)
        return {"bool" if d == bool_ else d.name: d for d in standard if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> NamespaceInfo:
    """Capabilities, devices and types of this implementation of the array API standard.

    Example:
        >>> wg.__array_namespace_info__().default_dtypes()["real floating"]
        dtype('float32')
    """
    return NamespaceInfo()
