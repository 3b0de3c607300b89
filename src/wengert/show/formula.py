"""What an operation and its local derivatives are called in formulas: two small tables, and a printer.

The tables are written in Python's own syntax, so that a test can evaluate each line against the primitive's partial;
`text` and `latex` print such an expression with the user's names in it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from wengert.ir.graph import Graph
from wengert.ir.primitive import Params

# the operation, of inputs a, b, c
OPERATIONS: dict[str, str] = {
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a*b",
    "guarded_multiply": "a*b",
    "annihilating_multiply": "a*b",
    "divide": "a/b",
    "power": "a**b",
    "negative": "-a",
    "positive": "a",
    "square": "a**2",
    "reciprocal": "1/a",
    "logistic": "sigmoid(a)",
    "dot_general": "a @ b",
    "select": "where(a, b, c)",
    "equal": "a == b",
    "not_equal": "a != b",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "maximum": "max(a, b)",
    "minimum": "min(a, b)",
}

# the local derivative by each input, of the output y and the inputs a, b
LOCAL: dict[str, tuple[str, ...]] = {
    "add": ("1", "1"),
    "subtract": ("1", "-1"),
    "multiply": ("b", "a"),
    "guarded_multiply": ("b", "a"),
    "annihilating_multiply": ("b", "a"),
    "divide": ("1/b", "-y/b"),
    "power": ("b*a**(b - 1)", "y*log(a)"),
    "negative": ("-1",),
    "positive": ("1",),
    "square": ("2*a",),
    "reciprocal": ("-y**2",),
    "abs": ("sign(a)",),
    "maximum": ("iverson(a > b)", "iverson(b > a)"),
    "minimum": ("iverson(a < b)", "iverson(b < a)"),
    "hypot": ("a/y", "b/y"),
    "exp": ("y",),
    "exp2": ("y*log(2)",),
    "expm1": ("y + 1",),
    "log": ("1/a",),
    "log1p": ("1/(1 + a)",),
    "log2": ("1/(a*log(2))",),
    "log10": ("1/(a*log(10))",),
    "sqrt": ("1/(2*y)",),
    "rsqrt": ("-y/(2*a)",),
    "cbrt": ("1/(3*y**2)",),
    "sin": ("cos(a)",),
    "cos": ("-sin(a)",),
    "tan": ("1 + y**2",),
    "asin": ("1/sqrt(1 - a**2)",),
    "acos": ("-1/sqrt(1 - a**2)",),
    "atan": ("1/(1 + a**2)",),
    "atan2": ("b/(a**2 + b**2)", "-a/(a**2 + b**2)"),
    "sinh": ("cosh(a)",),
    "cosh": ("sinh(a)",),
    "tanh": ("1 - y**2",),
    "asinh": ("1/sqrt(1 + a**2)",),
    "acosh": ("1/sqrt(a**2 - 1)",),
    "atanh": ("1/(1 - a**2)",),
    "logistic": ("y*(1 - y)",),
    "softplus": ("sigmoid(a)",),
    "logaddexp": ("sigmoid(a - b)", "sigmoid(b - a)"),
}

# maps that are no multiplication of numbers one by one: what the derivative is made of
MAPS: dict[str, tuple[str, ...]] = {"dot_general": ("b", "a"), "sum": ("1",), "reshape": ("1",), "convert": ("1",)}


def operation(primitive: str, inputs: int, params: Params) -> str:
    """The operation as an expression of a, b, c, …"""
    if primitive == "integer_power":
        return f"a**{params['exponent']}"
    known = OPERATIONS.get(primitive)
    if isinstance(body := params.get("graph"), Graph) and body.name.isidentifier():
        primitive = body.name  # a call is written as the function that it calls
    letters = "abcdefghijklmnopqrstuvwx"
    if known is not None:
        return known
    shown = ", ".join(letters[: min(inputs, 6)]) + (", etc" if inputs > 6 else "")
    return f"{primitive}({shown})"


def local_derivative(primitive: str, slot: int, params: Params) -> str | None:
    """The derivative by input `slot` as an expression of y, a, b; None where no short one is known."""
    if primitive == "integer_power":
        n = params["exponent"]
        return {0: "0", 1: "1", 2: "2*a"}.get(n, f"{n}*a**{n - 1}" if n > 0 else f"{n}*a**({n - 1})")
    row = LOCAL.get(primitive) or MAPS.get(primitive)
    return None if row is None or slot >= len(row) else row[slot]


_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(1, 6)
_GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega|"
    "Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega"
)
_LATEX_CALLS = frozenset(("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "max", "min"))
_COMPARE = {ast.Gt: ">", ast.Lt: "<", ast.GtE: "≥", ast.LtE: "≤", ast.Eq: "=", ast.NotEq: "≠"}
_COMPARE_LATEX = {"≥": r"\ge", "≤": r"\le", "≠": r"\ne"}
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def text(expression: str, names: Mapping[str, str]) -> str:
    """`1 - y**2` as `1 - h²`."""
    return _print(_parsed(expression), names, False)[0]


def latex(expression: str, names: Mapping[str, str]) -> str:
    """`1 - y**2` as `1 - h^{2}`; the names are LaTeX already."""
    return _print(_parsed(expression), names, True)[0]


def _print(e: ast.expr, names: Mapping[str, str], tex: bool) -> tuple[str, int]:
    """The expression, and how tightly it binds."""

    def part(x: ast.expr, least: int) -> str:
        s, level = _print(x, names, tex)
        return s if level >= least else rf"\left({s}\right)" if tex else f"({s})"

    if isinstance(e, ast.Name):
        s = names.get(e.id, "…" if e.id == "etc" else e.id)
        return s, _SIGN if s.startswith("-") else _PRODUCT if tex and r"\cdot" in s else _ATOM
    if isinstance(e, ast.Constant):
        return str(e.value), _ATOM
    if isinstance(e, ast.UnaryOp):
        return f"-{part(e.operand, _PRODUCT)}", _SIGN if isinstance(e.operand, (ast.Name, ast.Constant)) else _SUM
    if isinstance(e, ast.Compare):
        sign = _COMPARE[type(e.ops[0])]
        sign = _COMPARE_LATEX.get(sign, sign) if tex else sign
        return f"{part(e.left, _SUM)} {sign} {part(e.comparators[0], _SUM)}", 0
    if isinstance(e, ast.BinOp):
        return _binary(e, part, names, tex)
    assert isinstance(e, ast.Call) and isinstance(e.func, ast.Name)
    args = ", ".join(_print(a, names, tex)[0] for a in e.args)
    return _call(e.func.id, args, tex), _ATOM


def _binary(e: ast.BinOp, part: Any, names: Mapping[str, str], tex: bool) -> tuple[str, int]:
    op = type(e.op)
    if op in (ast.Add, ast.Sub):
        right = part(e.right, _PRODUCT if not isinstance(e.right, ast.Name) else _ATOM)
        return f"{part(e.left, _SUM)} {'+' if op is ast.Add else '-'} {right}", _SUM
    if op is ast.Mult:
        dot = r" \cdot " if tex else "·"
        return f"{part(e.left, _PRODUCT)}{dot}{part(e.right, _POWER)}", _PRODUCT
    if op is ast.MatMult:
        return (
            (rf"{part(e.left, _POWER)} \, {part(e.right, _POWER)}", _PRODUCT)
            if tex
            else (
                f"{part(e.left, _POWER)} @ {part(e.right, _POWER)}",
                _PRODUCT,
            )
        )
    if op is ast.Div:
        if tex:
            sign, top = ("-", e.left.operand) if isinstance(e.left, ast.UnaryOp) else ("", e.left)
            s = rf"{sign}\frac{{{_print(top, names, tex)[0]}}}{{{_print(e.right, names, tex)[0]}}}"
            return s, _SIGN if sign else _ATOM
        return f"{part(e.left, _PRODUCT)}/{part(e.right, _POWER)}", _PRODUCT
    assert op is ast.Pow
    exponent = _print(e.right, names, tex)[0]
    if tex:
        return f"{part(e.left, _ATOM)}^{{{exponent}}}", _POWER
    if exponent.lstrip("-").isdigit():
        return f"{part(e.left, _ATOM)}{exponent.translate(RAISED)}", _POWER
    return f"{part(e.left, _ATOM)}^{part(e.right, _ATOM)}", _POWER


def _call(name: str, args: str, tex: bool) -> str:
    if name == "abs":
        return rf"\left|{args}\right|" if tex else f"|{args}|"
    if name == "iverson":
        return f"[{args}]"
    if not tex:
        return f"{'σ' if name == 'sigmoid' else '√' if name == 'sqrt' else name}({args})"
    if name == "sqrt":
        return rf"\sqrt{{{args}}}"
    head = (
        r"\sigma" if name == "sigmoid" else "\\" + name if name in _LATEX_CALLS else rf"\operatorname{{{plain(name)}}}"
    )
    return rf"{head}\left({args}\right)"


def plain(name: str) -> str:
    """Any text inside LaTeX's text or operator names."""
    special = {"\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&"}
    special |= {"^": r"\hat{\ }", "~": r"\sim "}
    return "".join(special.get(c, c) for c in name)


def latex_name(name: str) -> str:
    """A variable for LaTeX: `w1` is `w_{1}`, `alpha` is Greek, a step of a loop `h.2` is `h^{(2)}`."""
    if name.isidentifier():
        letters = name.rstrip("0123456789").rstrip("_")
        digits = name[len(letters) :].lstrip("_")
        head = (
            "\\" + letters
            if _GREEK.fullmatch(letters)
            else letters
            if len(letters) == 1
            else rf"\mathrm{{{plain(letters)}}}"
        )
        return f"{head}_{{{digits}}}" if digits else head
    stem, dot, number = name.rpartition(".")
    if dot and number.isdigit() and stem.isidentifier():
        return f"{latex_name(stem)}^{{({number})}}"
    return rf"\texttt{{{plain(name)}}}"


def letters(names: Sequence[str], out: str = "") -> dict[str, str]:
    """What stands for a, b, … and y."""
    return dict(zip("abcdefghijklmnopqrstuvwx", names, strict=False)) | {"y": out}
