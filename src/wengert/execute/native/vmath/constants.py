"""Numbers to any precision, and how they are split into floating-point pieces whose sum is more exact than one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

DIGITS = 1400  # binary digits kept of each number


def _inverse_tangent(n: int, sign: int) -> int:
    """2^DIGITS · atan(1/n) for sign -1, atanh(1/n) for sign 1, by the power series."""
    power, total, k = (1 << DIGITS + 32) // n, 0, 1
    while power:
        total += (power if sign > 0 or k % 4 == 1 else -power) // k
        power //= n * n
        k += 2
    return total >> 32


PI = Fraction(16 * _inverse_tangent(5, -1) - 4 * _inverse_tangent(239, -1), 1 << DIGITS)  # J. Machin, 1706
LN2 = Fraction(2 * _inverse_tangent(3, 1), 1 << DIGITS)
LN10 = 3 * LN2 + Fraction(2 * _inverse_tangent(9, 1), 1 << DIGITS)


def rounded(value: Fraction, bits: int) -> float:
    """The number of `bits` binary digits that is nearest to `value`."""
    if value == 0:
        return 0.0
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length() - bits
    unit = Fraction(2) ** exponent
    digits = round(value / unit)
    while abs(digits) >= 1 << bits:
        unit *= 2
        digits = round(value / unit)
    return float(digits * unit)


def pieces(value: Fraction, *bits: int) -> tuple[float, ...]:
    """Numbers of so many binary digits each, the first nearest to `value`, each next one to what is left."""
    result = []
    for b in bits:
        result.append(rounded(value, b))
        value -= Fraction(result[-1])
    return tuple(result)


def bits_of(number: float, width: int) -> int:
    """The representation of a float of 32 or 64 bits, as an integer."""
    dtype, integer = (np.float32, np.uint32) if width == 32 else (np.float64, np.uint64)
    return int(np.array(number, dtype).view(integer))
