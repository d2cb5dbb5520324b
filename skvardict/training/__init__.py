"""The one training loop. It knows the objective protocol, no concrete objective."""

from skvardict.training.checkpoint import Checkpoint, CheckpointMismatchError
from skvardict.training.early_stopping import EarlyStopping
from skvardict.training.history import History, Patience
from skvardict.training.loop import Outcome, TrainingDivergedError, train
from skvardict.training.online import OnlineUpdate
from skvardict.training.optimizers import SGD, Adam
from skvardict.training.protocol import Objective, ParameterGroup, Position, Step
from skvardict.training.schedules import CosineRate, Decay, Ramp, StepDecay
from skvardict.training.session import TrainingPlan, TrainingSession
from skvardict.training.sparsity import TargetSparsity
from skvardict.training.together import Run, train_together

__all__ = [
    "SGD",
    "Adam",
    "Checkpoint",
    "CheckpointMismatchError",
    "CosineRate",
    "Decay",
    "EarlyStopping",
    "History",
    "Objective",
    "OnlineUpdate",
    "Outcome",
    "ParameterGroup",
    "Patience",
    "Position",
    "Ramp",
    "Run",
    "Step",
    "StepDecay",
    "TargetSparsity",
    "TrainingDivergedError",
    "TrainingPlan",
    "TrainingSession",
    "train",
    "train_together",
]
