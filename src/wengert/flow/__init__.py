"""The instrument: where the gradient goes, why, what to do, and proof."""

from wengert.flow.depth import DepthScales as DepthScales
from wengert.flow.depth import depth_scales as depth_scales
from wengert.flow.depth_model import MeanField as MeanField
from wengert.flow.depth_model import mean_field as mean_field
from wengert.flow.diagnose import diagnose as diagnose
from wengert.flow.finding import Finding as Finding
from wengert.flow.ledger import Ledger as Ledger
from wengert.flow.ledger import ledger as ledger
from wengert.flow.monitor import Monitor as Monitor
from wengert.flow.probe import Recording as Recording
from wengert.flow.probe import record as record
from wengert.flow.ranges import ranges_picture as ranges_picture
from wengert.flow.recipe import Recipe as Recipe
from wengert.flow.remedies import Remedy as Remedy
from wengert.flow.repair import Repair as Repair
from wengert.flow.repair import repair as repair
from wengert.flow.report import Report as Report
from wengert.flow.run import SavedRun as SavedRun
from wengert.flow.run import read_run as read_run
from wengert.flow.tensorboard import TensorBoard as TensorBoard
from wengert.flow.verify import Verification as Verification
from wengert.flow.verify import verify as verify
from wengert.flow.walk import Walk as Walk
from wengert.flow.walk import walk as walk
