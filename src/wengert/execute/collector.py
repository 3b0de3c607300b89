"""Python's cyclic garbage collector, held while a program is made.

Tracing and compiling make many objects that live on, which starts collections; each looks through all that the process
holds (a quarter of a second, with other frameworks loaded) and finds nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_held() -> Iterator[None]:
    """No collection inside; afterwards as before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
