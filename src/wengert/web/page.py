"""A diagnosis as one HTML file: style, script and data inside, nothing fetched, no name taken for markup.

The page is put together from short files beside this one. What it may do is said by a content security policy: run this
one script and use this one style sheet, known by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_STYLES = ("colours", "page", "parts")
_SCRIPTS = (
    *("store", "dom", "words", "chinese", "sentences", "numbers", "colours"),
    *("tree", "layout", "scene", "draw", "stage", "table"),
    *("charts", "details", "causes", "training", "repair", "live", "main"),
)


def page(data: dict[str, Any], live: bool = False) -> str:
    """The page of a diagnosis, as text.

    `data` is what `Report.to_json` writes (format "wengert-flow"); every part may be missing, and the page leaves out
    what is not there. With `live` the page asks the server that it came from for what is new.

    >>> "<!doctype html>" in page({"format": "wengert-flow", "title": "a net"})
    True
    """
    style, script = _style(), _script()
    connect = "'self'" if live else "'none'"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; connect-src {connect}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "LIVE": " data-live" if live else "",
        "POLICY": policy,
        "TITLE": escape(str(data.get("title") or "Wengert")),
        "STYLE": style,
        "DATA": _json(data),
        "SCRIPT": script,
    }
    # split once, so that no text of the user's is taken for a place holder
    pieces = re.split(f"@({'|'.join(parts)})@", (_HERE / "page.html").read_text("utf-8"))
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


@cache
def _style() -> str:
    return "\n" + "".join((_HERE / "style" / f"{name}.css").read_text("utf-8") for name in _STYLES)


@cache
def _script() -> str:
    text = "".join((_HERE / "script" / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)
    return f'\n"use strict";\n(() => {{\n{text}}})();\n'


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: Any) -> str:
    """JSON that may stand in a script element: "<" would end it; a number that is not finite becomes null."""
    text = json.dumps(_finite(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return text.replace("<", "\\u003c")


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {str(k): _finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(v) for v in x]
    if isinstance(x, float):
        return float(x) if math.isfinite(x) else None
    return x


def _plain(x: Any) -> Any:
    """NumPy's numbers and arrays, and last of all anything's own text."""
    if hasattr(x, "tolist"):
        return _finite(x.tolist())
    return str(x)
