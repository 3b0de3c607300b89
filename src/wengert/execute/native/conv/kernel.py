"""The function of a convolution that a program calls, and how its work is cut up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llvmlite import ir

from wengert.execute.native.conv.forward import Forward, ForwardPlan, forward_plan
from wengert.execute.native.conv.places import Epilogue, Finish
from wengert.execute.native.conv.spec import ConvSpec, round_up
from wengert.execute.native.conv.weights import Weights, WeightsPlan, weights_plan
from wengert.execute.native.conv.winograd import Winograd, WinogradPlan, winograd_plan
from wengert.execute.native.conv.winograd_weights import WinogradWeights, WinogradWeightsPlan, winograd_weights_plan
from wengert.execute.native.product.code import I64, Code, Machine
from wengert.execute.native.product.spec import Target

Plan = ForwardPlan | WeightsPlan | WinogradPlan | WinogradWeightsPlan
LOOPS: dict[type, Any] = {
    ForwardPlan: Forward, WeightsPlan: Weights, WinogradPlan: Winograd, WinogradWeightsPlan: WinogradWeights
}  # fmt: skip


@lru_cache(maxsize=1024)
def conv_plan(spec: ConvSpec, target: Target) -> Plan | None:
    """How the convolution is computed; None if it has no code here.

    Vectors run along channels out in either plan; the sums of a tile belong to places of one row, or to places and
    examples. So the one is for many places, the other for few places with many taps.
    """
    if 0 in (spec.n, spec.groups, spec.c, spec.o, *(a.size for a in spec.axes), *(a.places for a in spec.axes)):
        return None
    if spec.taps > spec.places and spec.axes[2].taps > spec.axes[2].places:
        return winograd_weights_plan(spec, target) or weights_plan(spec, target)
    return winograd_plan(spec, target) or forward_plan(spec, target)


def out_shape(spec: ConvSpec, target: Target) -> tuple[int, ...]:
    """What the epilogue's index runs over: (n, channels, *places), or (blocks, *places, n, channels).

    In the latter case the sum of the blocks is the convolution.
    """
    plan = conv_plan(spec, target)
    places = tuple(a.places for a in spec.axes)
    if isinstance(plan, (WeightsPlan, WinogradWeightsPlan)):
        return (plan.blocks, *places, spec.n, spec.groups * spec.o)
    return (spec.n, spec.groups * spec.o, *places)


def conv_units(spec: ConvSpec, target: Target) -> int:
    """How many units there are to share out: any range of [0, units) is a call's `begin`, `end`."""
    plan = conv_plan(spec, target)
    assert plan is not None
    return plan.units


def conv_run(spec: ConvSpec, target: Target) -> tuple[int, int]:
    """(rows, units): the units come in runs of so many, and each run computes so many rows of `out_shape`, in order.

    The last run may have fewer rows. A row is an index along the first axis: an example, or a block of examples.
    """
    plan = conv_plan(spec, target)
    assert plan is not None
    rows = plan.tiling.examples if isinstance(plan, WinogradPlan) else 1
    return rows, plan.units // -(-out_shape(spec, target)[0] // rows)


def conv_scratch(spec: ConvSpec, target: Target) -> int:
    """Bytes of scratch memory, aligned to 64, that each thread in the convolution needs for itself."""
    plan = conv_plan(spec, target)
    assert plan is not None
    return round_up((plan.elements + 16) * spec.itemsize, 64)


def emit_conv(
    module: ir.Module, name: str, spec: ConvSpec, epilogue: Epilogue, extra_args: Sequence[ir.Type], target: Target
) -> ir.Function:
    """Emit the internal function `void name(T* x, T* kernel, T* scratch, i64 begin, i64 end, <extra_args…>)`.

    It computes the units [begin, end). Each finished piece of the output is handed once to
    `epilogue(builder, vector, index, start, lanes, mask, extra)`: `index` is that into `out_shape` but for the last
    axis, along which the vector (a number, if `lanes` is 1) begins at `start`; a mask says which lanes count.
    """
    machine = Machine(spec.dtype, target)
    number = machine.number.as_pointer()
    kinds = [number, number, number, I64, I64, *extra_args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    code = Code(ir.IRBuilder(function.append_basic_block()), machine)
    x, kernel, scratch, begin, end, *extra = function.args
    finish = Finish(code, epilogue, extra)
    plan = conv_plan(spec, target)
    assert plan is not None
    loops = LOOPS[type(plan)](code, plan, x, kernel, scratch, finish)
    if isinstance(loops, (Forward, Winograd)):
        loops.pack_kernel()
    for unit in code.loop(begin, end):
        loops.unit(unit)
    code.b.ret_void()
    return function
