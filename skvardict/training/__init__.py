"""The one training loop. It knows the objective protocol, no concrete objective."""

from skvardict.training.checkpoint import Checkpoint, CheckpointMismatchError
from skvardict.training.history import EarlyStopping, History
from skvardict.training.loop import Outcome, TrainingDivergedError, train
from skvardict.training.protocol import Objective, Position
from skvardict.training.session import TrainingPlan, TrainingSession

__all__ = [
    "Checkpoint",
    "CheckpointMismatchError",
    "EarlyStopping",
    "History",
    "Objective",
    "Outcome",
    "Position",
    "TrainingDivergedError",
    "TrainingPlan",
    "TrainingSession",
    "train",
]
