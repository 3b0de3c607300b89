"""Training: fit, evaluate, predict, save and load. See docs/training.md."""

from wengert.train.callbacks import Callback as Callback
from wengert.train.callbacks import EarlyStopping as EarlyStopping
from wengert.train.checkpoint import Checkpoints as Checkpoints
from wengert.train.checkpoint import load as load
from wengert.train.checkpoint import load_state_dict as load_state_dict
from wengert.train.checkpoint import save as save
from wengert.train.checkpoint import save_state_dict as save_state_dict
from wengert.train.evaluate import accuracy as accuracy
from wengert.train.evaluate import evaluate as evaluate
from wengert.train.evaluate import predict as predict
from wengert.train.fit import History as History
from wengert.train.fit import Run as Run
from wengert.train.fit import fit as fit
from wengert.train.look import Call as Call
from wengert.train.look import Look as Look
from wengert.train.statistics import update_statistics as update_statistics
from wengert.train.step import TrainingStep as TrainingStep
