"""Convolutions: loops around the register tile, over operands whose channels are innermost."""

from wengert.execute.native.conv.kernel import conv_plan as conv_plan
from wengert.execute.native.conv.kernel import conv_run as conv_run
from wengert.execute.native.conv.kernel import conv_scratch as conv_scratch
from wengert.execute.native.conv.kernel import conv_units as conv_units
from wengert.execute.native.conv.kernel import emit_conv as emit_conv
from wengert.execute.native.conv.kernel import out_shape as out_shape
from wengert.execute.native.conv.spec import Axis as Axis
from wengert.execute.native.conv.spec import ConvSpec as ConvSpec
from wengert.execute.native.conv.spec import conv_spec as conv_spec
