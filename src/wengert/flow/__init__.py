"""The instrument: where the gradient goes, why, what to do, and proof."""

from wengert.flow.depth import DepthScales as DepthScales
from wengert.flow.depth import depth_scales as depth_scales
from wengert.flow.depth_model import MeanField as MeanField
from wengert.flow.depth_model import mean_field as mean_field
from wengert.flow.monitor import Monitor as Monitor
from wengert.flow.ranges import ranges_picture as ranges_picture
from wengert.flow.run import SavedRun as SavedRun
from wengert.flow.run import read_run as read_run
from wengert.flow.tensorboard import TensorBoard as TensorBoard
