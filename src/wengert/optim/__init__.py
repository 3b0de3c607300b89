"""Optimizers, schedules, gradient clipping, penalties and averages. See docs/training.md."""

from wengert.optim import lr_scheduler as lr_scheduler
from wengert.optim import schedule as schedule
from wengert.optim.accumulate import Accumulate as Accumulate
from wengert.optim.adam import Adam as Adam
from wengert.optim.adam import Adamax as Adamax
from wengert.optim.adam import AdamW as AdamW
from wengert.optim.adam import Lion as Lion
from wengert.optim.adam import NAdam as NAdam
from wengert.optim.adam import RAdam as RAdam
from wengert.optim.adaptive import Adadelta as Adadelta
from wengert.optim.adaptive import Adagrad as Adagrad
from wengert.optim.adaptive import RMSprop as RMSprop
from wengert.optim.average import EMA as EMA
from wengert.optim.average import SWA as SWA
from wengert.optim.average import Average as Average
from wengert.optim.clip import adaptive_clip as adaptive_clip
from wengert.optim.clip import clip_by_global_norm as clip_by_global_norm
from wengert.optim.clip import clip_by_norm as clip_by_norm
from wengert.optim.clip import clip_by_value as clip_by_value
from wengert.optim.clip import global_norm as global_norm
from wengert.optim.lbfgs import LBFGS as LBFGS
from wengert.optim.optimizer import Optimizer as Optimizer
from wengert.optim.penalty import l1_penalty as l1_penalty
from wengert.optim.penalty import l2_penalty as l2_penalty
from wengert.optim.sgd import SGD as SGD
