"""The one training loop. It knows the objective protocol, no concrete objective."""

from skvardict.training.checkpoint import Checkpoint, CheckpointMismatchError
from skvardict.training.early_stopping import EarlyStopping
from skvardict.training.history import History, Patience
from skvardict.training.loop import Outcome, TrainingDivergedError, train
from skvardict.training.optimizers import SGD, Adam
from skvardict.training.protocol import Objective, ParameterGroup, Position
from skvardict.training.schedules import CosineRate, Decay, Ramp, StepDecay
from skvardict.training.session import TrainingPlan, TrainingSession

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
    "Outcome",
    "ParameterGroup",
    "Patience",
    "Position",
    "Ramp",
    "StepDecay",
    "TrainingDivergedError",
    "TrainingPlan",
    "TrainingSession",
    "train",
]
