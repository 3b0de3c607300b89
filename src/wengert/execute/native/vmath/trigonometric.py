"""sin, cos, tan: `x = q·π/2 + r` with |r| ≤ π/4, and polynomials for the sine and the cosine of r.

π/2 is subtracted in pieces (Cody and Waite, 1980). For larger arguments the product of x with the right
192 binary digits of 2/π is computed in integers, lane by lane (M. H. Payne and R. N. Hanek, *Radian reduction for
trigonometric functions*, SIGNUM 18, 1983).
"""

from __future__ import annotations

import math

from llvmlite import ir

from wengert.execute.native.vmath.constants import DIGITS, PI, pieces
from wengert.execute.native.vmath.lanes import Code, Lanes, fma, polynomial, where, whole
from wengert.execute.native.vmath.twofold import Pair, ordered_sum, product, quotient, two_product, two_sum

# pieces of π/2, and the largest argument that they serve; without a fused multiply-add the products of all but the
# last with the whole number must be exact
HALF_PI = {
    (32, True): (pieces(PI / 2, 24, 24, 24), 1e5),
    (64, True): (pieces(PI / 2, 53, 53, 53), 1e9),
    (32, False): (pieces(PI / 2, 12, 12, 12, 24), 6000.0),
    (64, False): (pieces(PI / 2, 33, 33, 33, 53), 1.5e6),
}
I32, I64, F64 = ir.IntType(32), ir.IntType(64), ir.DoubleType()
WINDOW, KEPT = ir.IntType(256), ir.IntType(192)
FRACTION = 190  # digits behind the point of the fixed-point product, which is known modulo 4
TABLE = "wengert.two_over_pi"
TABLE_BYTES = 176


def sin(x: Lanes) -> Lanes:
    q, r = reduced(abs(x), paired=not x.code.has_fma)
    return (circular(q, r).bits ^ (x.bits & (1 << x.format.width - 1))).as_float


def cos(x: Lanes) -> Lanes:
    q, r = reduced(abs(x), paired=not x.code.has_fma)
    return circular(q + 1, r)


def tan(x: Lanes) -> Lanes:
    """The quotient of sine and cosine as pairs."""
    q, (r, rest) = reduced(abs(x), paired=True)
    z, z_low = two_product(r, r)
    s = ordered_sum(r, fma(r * z, polynomial(z, x.table["SIN"]), rest))
    cosine, lost = ordered_sum(x.like(1.0), z * -0.5)
    c = ordered_sum(cosine, fma(z * z, polynomial(z, x.table["COS"]), lost - fma(z_low, 0.5, r * rest)))
    odd = (q & 1).equals(1)
    over = where(odd, -c[0], s[0]), where(odd, -c[1], s[1])
    under = where(odd, s[0], c[0]), where(odd, s[1], c[1])
    high, low = quotient(over, under)
    return ((high + low).bits ^ (x.bits & (1 << x.format.width - 1))).as_float


def circular(q: Lanes, pair: Pair) -> Lanes:
    """sin(q·π/2 + r). Of the pair r the second part is used only where it is needed: where products are rounded."""
    r, rest = pair
    z = r * r
    s, c = polynomial(z, r.table["SIN"]), polynomial(z, r.table["COS"])
    if r.code.has_fma:
        s, c = fma(r * z, s, r), fma(z * z, c, fma(z, -0.5, 1.0))
    else:
        one, lost = ordered_sum(r.like(1.0), z * -0.5)
        s, c = r + (r * z * s + rest), one + (lost + (z * z * c - r * rest))
    y = where((q & 1).equals(1), c, s)
    return (y.bits ^ ((q & 2) << r.format.width - 2)).as_float


def reduced(x: Lanes, paired: bool = False) -> tuple[Lanes, Pair]:
    """For x ≥ 0: (q in the low two bits of an integer, (r, what r lacks)); the latter is 0 unless `paired`."""
    parts, limit = HALF_PI[x.format.width, x.code.has_fma]
    n, q = whole(x, 2 / math.pi)
    r, rest = fma(n, -parts[0], x), x.like(0.0)
    for part in parts[1:-1]:
        if paired:
            p = n * part
            r, lost = two_sum(r, -p)
            rest = rest + (lost - fma(n, part, -p) if x.code.has_fma else lost)
        else:
            r = fma(n, -part, r)
    if paired:
        r, rest = two_sum(r, fma(n, -parts[-1], rest))
    else:
        r = fma(n, -parts[-1], r)
    return _with_large(x, (x > limit) & (x < math.inf), q, r, rest)


def _with_large(x: Lanes, large: Lanes, q: Lanes, r: Lanes, rest: Lanes) -> tuple[Lanes, Pair]:
    """The reduction done anew for the lanes that are large: a loop over the lanes that seldom runs."""
    b, code = x.code.builder, x.code
    count = code.count
    function = b.function
    before = b.block
    lanes, after = function.append_basic_block("large"), function.append_basic_block("reduced")
    if count is None:
        any_ = large.value
    else:
        any_ = b.icmp_unsigned("!=", b.bitcast(large.value, ir.IntType(count)), ir.Constant(ir.IntType(count), 0))
    b.cbranch(any_, lanes, after)
    b.position_at_end(lanes)
    start = [q.value, r.value, rest.value]
    if count is None:
        results = _lane(code, x.value)
        end = b.block
        b.branch(after)
    else:
        turn, skip = function.append_basic_block("lane"), function.append_basic_block("next")
        b.branch(turn)
        b.position_at_end(turn)
        i = b.phi(I32)
        states = [b.phi(v.type) for v in start]
        work = function.append_basic_block("work")
        b.cbranch(b.extract_element(large.value, i), work, skip)
        b.position_at_end(work)
        found = [
            b.insert_element(s, v, i) for s, v in zip(states, _lane(code, b.extract_element(x.value, i)), strict=True)
        ]
        worked = b.block
        b.branch(skip)
        b.position_at_end(skip)
        results = []
        for state, new in zip(states, found, strict=True):
            joined = b.phi(state.type)
            joined.add_incoming(state, turn)
            joined.add_incoming(new, worked)
            results.append(joined)
        following = b.add(i, I32(1))
        i.add_incoming(I32(0), lanes)
        i.add_incoming(following, skip)
        for state, first, joined in zip(states, start, results, strict=True):
            state.add_incoming(first, lanes)
            state.add_incoming(joined, skip)
        end = skip
        b.cbranch(b.icmp_unsigned("<", following, I32(count)), turn, after)
    b.position_at_end(after)
    joined_values = []
    for first, last in zip(start, results, strict=True):
        phi = b.phi(first.type)
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
        joined_values.append(phi)
    return Lanes(code, joined_values[0], "i"), (Lanes(code, joined_values[1]), Lanes(code, joined_values[2]))


def _lane(code: Code, x: ir.Value) -> list[ir.Value]:
    """(q, r, rest) of one large number."""
    b = code.builder
    single = code.format.width == 32
    found = b.call(_reduction(b.module, code.has_fma), [b.fpext(x, F64) if single else x])
    q, r, rest = (b.extract_value(found, k) for k in range(3))
    if not single:
        return [q, r, rest]
    near = b.fptrunc(r, ir.FloatType())
    return [b.trunc(q, I32), near, b.fptrunc(b.fadd(b.fsub(r, b.fpext(near, F64)), rest), ir.FloatType())]


def _reduction(module: ir.Module, has_fma: bool) -> ir.Function:
    """A function of this module: a finite double ≥ 1 to {q, r, rest}."""
    name = "wengert.reduce_large"
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(ir.LiteralStructType([I64, F64, F64]), [F64]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = ir.IRBuilder(function.append_basic_block())
    bits = b.bitcast(function.args[0], I64)
    exponent = b.sub(b.lshr(bits, I64(52)), I64(1075))
    digits = b.or_(b.and_(bits, I64((1 << 52) - 1)), I64(1 << 52))
    # x = digits·2^exponent; the digits of 2/π that matter begin where the product is 4 and end 190 behind the point
    shift = b.sub(I64(DIGITS - 120 - FRACTION), exponent)
    place = b.gep(_two_over_pi(module), [I64(0), b.lshr(shift, I64(3))], inbounds=True)
    window = b.load(b.bitcast(place, WINDOW.as_pointer()), align=1)
    window = b.lshr(window, b.zext(b.and_(shift, I64(7)), WINDOW))
    value = b.mul(b.trunc(window, KEPT), b.zext(digits, KEPT))
    q = b.lshr(b.add(value, KEPT(1 << FRACTION - 1)), KEPT(FRACTION))
    signed = b.sub(value, b.shl(q, KEPT(FRACTION)))
    code = Code(b, 64, None, has_fma)
    high = low = code.constant(0.0)
    for k in reversed(range(6)):
        piece = b.trunc(b.lshr(signed, KEPT(32 * k)), I32)
        number = Lanes(code, b.sitofp(piece, F64) if k == 5 else b.uitofp(piece, F64)) * 2.0 ** (32 * k - FRACTION)
        high, error = two_sum(high, number)
        high, low = two_sum(high, low + error)
    first, second = pieces(PI / 2, 53, 53)
    r, rest = product((high, low), (code.constant(first), code.constant(second)))
    result = ir.Constant(function.ftype.return_type, ir.Undefined)
    for k, part in enumerate((b.and_(b.trunc(q, I64), I64(3)), r.value, rest.value)):
        result = b.insert_value(result, part, k)
    b.ret(result)
    return function


def _two_over_pi(module: ir.Module) -> ir.GlobalVariable:
    """The first 1280 binary digits of 2/π, the last of them first."""
    digits = int(2 / PI * (1 << DIGITS - 120))
    array = ir.ArrayType(ir.IntType(8), TABLE_BYTES + 32)
    table = ir.GlobalVariable(module, array, TABLE)
    table.initializer = ir.Constant(array, bytearray(digits.to_bytes(TABLE_BYTES + 32, "little")))
    table.global_constant = True
    table.linkage = "internal"
    return table
