"""Derives the polynomials of `wengert.execute.native.vmath.tables` by Remez' exchange algorithm, in 60 digits.

    python tools/vmath_coefficients.py > src/wengert/execute/native/vmath/tables.py

It needs mpmath, which Wengert itself does not. Each row below states a function g, the interval of its argument, the
weight that turns an error of the polynomial into a relative error of the result, and the numbers of coefficients for
float32 computed in float32, for float32 computed in float64 (`wide`), and for float64. The polynomial with the least
weighted error is found by Remez, its coefficients are then rounded to the type that it is evaluated in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Real = Callable[[mp.mpf], mp.mpf]


def remez(g: Real, weight: Real, low: mp.mpf, high: mp.mpf, count: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients (from the constant upwards) that minimise the largest weight·|p - g|, and that error."""
    low, high = mp.mpf(low), mp.mpf(high)
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle - half * mp.cos(mp.pi * k / count) for k in range(count + 1)]
    grid = [middle - half * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / (24 * count)) for k in range(24 * count)]
    grid = [low, *grid, high]
    values = [(g(x), weight(x)) for x in grid]
    largest = mp.mpf(0)
    coefficients: list[mp.mpf] = []
    for _ in range(30):
        rows = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for i, x in enumerate(points):
            scaled, power = (x - middle) / half, mp.mpf(1)
            for k in range(count):
                rows[i, k] = power
                power *= scaled
            rows[i, count] = (-1) ** i / weight(x)
            right[i] = g(x)
        solution = mp.lu_solve(rows, right)
        scaled_coefficients, level = list(solution)[:count], abs(solution[count])
        errors = [w * (mp.polyval(scaled_coefficients[::-1], (x - middle) / half) - v)
                  for x, (v, w) in zip(grid, values, strict=True)]  # fmt: skip
        largest = max(abs(e) for e in errors)
        # one extremum from each run of equal sign
        chosen: list[int] = []
        for i, e in enumerate(errors):
            if chosen and (errors[chosen[-1]] > 0) == (e > 0):
                if abs(e) > abs(errors[chosen[-1]]):
                    chosen[-1] = i
            else:
                chosen.append(i)
        while len(chosen) > count + 1:
            chosen.pop(0 if abs(errors[chosen[0]]) < abs(errors[chosen[-1]]) else -1)
        # back to powers of x
        shifted = [mp.mpf(0)]
        for c in reversed(scaled_coefficients):
            up, down = [mp.mpf(0), *[s / half for s in shifted]], [*[-s * middle / half for s in shifted], mp.mpf(0)]
            shifted = [a + b for a, b in zip(up, down, strict=True)]
            shifted[0] += c
        coefficients = shifted[:count]
        if len(chosen) < count + 1 or largest < level * mp.mpf("1.01"):
            break
        points = [grid[i] for i in chosen]
    return coefficients, largest


def root(f: Real) -> Real:
    """g(z) with z = x²."""
    return lambda z: f(mp.sqrt(z))


def away(f: Real, limit: float) -> Real:
    """f with its limit at a removable singularity at 0."""
    return lambda x: f(x) if abs(x) > mp.mpf(10) ** -9 else mp.mpf(limit)


THIRD, SIXTH, TWENTYFOURTH = mp.mpf(1) / 3, mp.mpf(1) / 6, mp.mpf(1) / 24
LN2_HALF = mp.log(2) / 2 * mp.mpf("1.001")
QUARTER = mp.pi / 4 * mp.mpf("1.0005")
ATANH = (3 - 2 * mp.sqrt(2)) ** 2 * mp.mpf("1.01")
ATAN = (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001")
ERFC_CENTRE = 4
TINY = mp.mpf(10) ** -9  # so that a weight is nowhere 0


def from_t(t: mp.mpf) -> mp.mpf:
    """x of t = (x - c)/(x + c)."""
    return ERFC_CENTRE * (1 + t) / (1 - t)


def to_t(x: float) -> mp.mpf:
    return (mp.mpf(x) - ERFC_CENTRE) / (mp.mpf(x) + ERFC_CENTRE)


def scaled_erfc(t: mp.mpf) -> mp.mpf:
    x = from_t(t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def lifted(z: mp.mpf) -> mp.mpf:
    return z + TINY


def flat(x: mp.mpf) -> mp.mpf:
    return mp.mpf(1)


# name, comment, g, weight, low, high, counts (float32, wide, float64)
ROWS: list[tuple[str, str, Real, Real, object, object, tuple[int, int, int]]] = [
    ("EXP", "(eʳ - 1 - r)/r² of r, |r| <= log(2)/2",
     away(lambda r: (mp.expm1(r) - r) / r**2, 0.5), lambda r: mp.mpf("0.1"),
     -LN2_HALF, LN2_HALF, (5, 6, 10)),
    ("LOG", "(log((1+s)/(1-s)) - 2s)/s³ of s², where |s| <= 3 - 2√2",
     root(away(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3, 2 * THIRD)),
     lambda z: z / 2 + TINY, 0, ATANH, (3, 4, 7)),
    ("LOG_REST", "(log((1+s)/(1-s)) - 2s - 2s³/3)/s⁵ of s², where |s| <= 3 - 2√2",
     root(away(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * THIRD * s**3) / s**5, mp.mpf(2) / 5)),
     lambda z: z * z / 2 + TINY, 0, ATANH, (0, 0, 7)),
    ("SINH", "(sinh r - r)/r³ of r², |r| <= log(2)/2",
     root(away(lambda r: (mp.sinh(r) - r) / r**3, SIXTH)), lifted, 0, LN2_HALF**2, (3, 3, 5)),
    ("COSH", "(cosh r - 1)/r² of r², |r| <= log(2)/2",
     root(away(lambda r: (mp.cosh(r) - 1) / r**2, 0.5)), lifted, 0, LN2_HALF**2, (3, 3, 5)),
    ("TANH", "(tanh x - x)/x³ of x², |x| <= 0.55",
     root(away(lambda x: (mp.tanh(x) - x) / x**3, -THIRD)), lifted, 0, mp.mpf("0.3026"), (4, 4, 11)),
    ("SIN", "(sin r - r)/r³ of r², |r| <= π/4",
     root(away(lambda r: (mp.sin(r) - r) / r**3, -SIXTH)), lifted, 0, QUARTER**2, (3, 4, 6)),
    ("COS", "(cos r - 1 + r²/2)/r⁴ of r², |r| <= π/4",
     root(away(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4, TWENTYFOURTH)),
     lambda z: z * z / mp.cos(mp.sqrt(z)) + TINY, 0, QUARTER**2, (3, 4, 6)),
    ("ATAN", "(atan u - u)/u³ of u², |u| <= √2 - 1",
     root(away(lambda u: (mp.atan(u) - u) / u**3, -THIRD)), lifted, 0, ATAN, (5, 6, 11)),
    ("ASIN", "(asin u - u)/u³ of u², |u| <= 1/2",
     root(away(lambda u: (mp.asin(u) - u) / u**3, SIXTH)), lifted, 0, mp.mpf("0.2501"), (5, 7, 13)),
    ("CBRT", "the cube root of m, 1 <= m < 2", mp.cbrt, lambda m: 1 / mp.cbrt(m), 1, 2, (4, 4, 6)),
    ("ERF", "erf(x)/x - 1 of x², |x| <= 1",
     root(away(lambda x: mp.erf(x) / x - 1, 2 / mp.sqrt(mp.pi) - 1)), flat, 0, mp.mpf("1.001"), (7, 8, 13)),
    ("LOG_ERFC", "(log erfc(x))/x of x, 0.99 <= x <= 4; only for float32",
     lambda x: mp.log(mp.erfc(x)) / x, lambda x: x * mp.erfc(x) / mp.erf(x), mp.mpf("0.99"), 4, (8, 8, 8)),
    ("ERFC", f"(1 + 2x)·exp(x²)·erfc(x) of (x - {ERFC_CENTRE})/(x + {ERFC_CENTRE}), 0.49 <= x <= 10.1 and 27.3",
     scaled_erfc, flat, to_t(0.49), to_t(27.3), (0, 13, 22)),
]  # fmt: skip


def show(numbers: list[mp.mpf], dtype: type) -> str:
    words = [
        repr(float(dtype(float(c)))) if dtype is np.float64 else repr(float(np.float32(float(c)))) for c in numbers
    ]
    if dtype is np.float32:
        words = [str(np.float32(w)) for w in words]
    lines, line = [], "           "
    for w in words:
        if len(line) + len(w) + 2 > 116:
            lines.append(line)
            line = "           "
        line += f" {w},"
    return "\n".join([*lines, line])


HEADER = '''"""The polynomials of the vector functions: made by tools/vmath_coefficients.py, not written by hand.

Each is the polynomial of its length with the least weighted error (E. Y. Remez, 1934), coefficients from the constant
upwards, rounded to the type in which it is evaluated. `SINGLE` serves float32 computed in float32, `WIDE` float32
computed in float64, `DOUBLE` float64. A comment gives the largest relative error that each leaves in its function.
"""

# fmt: off
'''


def main() -> None:
    tables: dict[str, list[str]] = {"SINGLE": [], "WIDE": [], "DOUBLE": []}
    for name, comment, g, weight, low, high, counts in ROWS:
        for table, count in zip(tables, counts, strict=True):
            if count == 0 or (name == "LOG_ERFC" and table != "SINGLE"):
                continue
            end = to_t(10.1) if name == "ERFC" and table == "WIDE" else high
            coefficients, error = remez(g, weight, low, end, count)
            bits = float(-mp.log(error, 2))
            dtype = np.float32 if table == "SINGLE" else np.float64
            tables[table].append(f'    "{name}": (  # {comment}: 2^-{bits:.1f}\n{show(coefficients, dtype)}\n    ),\n')
            print(f"{name} {table} {count}: 2^-{bits:.1f}", file=sys.stderr, flush=True)
    print(HEADER, end="")
    for table, rows in tables.items():
        print(f"\n{table} = {{\n{''.join(rows)}}}")


if __name__ == "__main__":
    main()
