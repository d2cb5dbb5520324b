"""Table 3 of Evtimova & LeCun (TMLR 2022) as estimators of this package: the one place where these numbers stand."""

from dataclasses import dataclass

from sklearn.base import BaseEstimator

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.networks import MLP
from skvardict.solvers import FISTA
from skvardict.training import Adam, StepDecay

LINEAR = ("SDL", "VDL", "WDL", "DO")
NONLINEAR = ("SDL-NL", "VDL-NL", "WDL-NL", "DO-NL")
KINDS = LINEAR + NONLINEAR

N_COMPONENTS = {"mnist": 128, "patches": 256}
HIDDEN_UNITS = {"mnist": 1024, "patches": 2048}
BATCH_SIZE = 250
WEIGHT_DECAY = 1e-4  # of WDL and WDL-NL: the paper's value is not known


@dataclass(frozen=True)
class Settings:
    """One row of the table."""

    epochs: int
    alphas: tuple[float, ...]
    gamma: float
    learning_rate: float
    encoder_learning_rate: float
    step_size: float
    bias_decay: float = 0.0
    encoder_bias_decay: float = 0.0
    is_halved: bool = False  # the decoder's rate, every 30 epochs


TABLE = {
    ("mnist", "SDL"): Settings(200, (0, 1e-4, 5e-4, 1e-3, 3e-3, 5e-3), 1, 1e-3, 3e-4, 1),
    ("mnist", "VDL"): Settings(200, (0, 1e-3, 3e-3, 5e-3, 1e-2, 2e-2), 5, 3e-4, 1e-4, 0.5),
    ("mnist", "SDL-NL"): Settings(200, (0, 1e-3, 3e-3, 5e-3, 1e-2, 2e-2), 1, 1e-3, 1e-4, 1, 1e-3),
    ("mnist", "VDL-NL"): Settings(200, (0, 1e-3, 3e-3, 5e-3, 1e-2, 2e-2), 100, 3e-4, 1e-4, 0.5, 1e-3, 0, True),
    ("patches", "SDL"): Settings(100, (0, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3), 1, 1e-3, 1e-4, 0.5, 0, 1e-2),
    ("patches", "VDL"): Settings(100, (0, 1e-3, 3e-3, 5e-3, 1e-2, 1.5e-2), 5, 3e-4, 1e-4, 0.5, 0, 1e-2),
    ("patches", "SDL-NL"): Settings(100, (0, 1e-3, 3e-3, 5e-3, 8e-3, 1e-2), 1, 1e-3, 1e-4, 0.5, 1e-2, 1e-2),
    ("patches", "VDL-NL"): Settings(
        100, (0, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2), 20, 5e-5, 1e-4, 0.5, 1e-1, 1e-2, True
    ),
}


def settings(data: str, kind: str) -> Settings:
    """Return the row of a kind of model; WDL and DO share that of SDL, the non-linear ones that of SDL-NL."""
    row = kind if kind in ("VDL", "VDL-NL") else "SDL-NL" if kind.endswith("-NL") else "SDL"
    return TABLE[data, row]


def build(
    data: str,
    kind: str,
    alpha: float,
    *,
    epochs: int | None = None,
    step_size: float | str = "table",
    seed: int = 0,
    device: str = "auto",
    **changes,
) -> BaseEstimator:
    """Return an estimator of the given kind with the parameters of the table.

    `step_size` "table" is the table's, "auto" is one over the curvature. Nothing holds the norms of WDL's decoder, so
    that no fixed step is safe for it: "table" means "auto" there. `changes` replace parameters: ``beta=0`` makes the
    ablation.
    """
    row, is_nonlinear = settings(data, kind), kind in NONLINEAR
    if step_size == "table":
        step_size = "auto" if kind.startswith("WDL") else row.step_size
    is_strong = (data, kind) == ("patches", "VDL-NL") and alpha >= 1e-2
    parameters = {
        "n_components": N_COMPONENTS[data],
        "alpha": alpha,
        "gamma": 40 if is_strong else row.gamma,
        "decoder": MLP((HIDDEN_UNITS[data],)) if is_nonlinear else "linear",
        "encoder": None if kind.startswith("DO") else "lista",
        "solver": FISTA(step_size=step_size),
        "optimizer": Adam(
            row.learning_rate,
            encoder_learning_rate=row.encoder_learning_rate,
            bias_decay=row.bias_decay,
            encoder_bias_decay=row.encoder_bias_decay,
            schedule=StepDecay(0.5, 30) if row.is_halved else None,
            encoder_schedule=None,
        ),
        "batch_size": BATCH_SIZE,
        "max_iter": row.epochs if epochs is None else epochs,
        "early_stopping": False,
        "device": device,
        "random_state": seed,
    }
    if kind.startswith("VDL"):
        return VarianceDictionaryLearning(**{**parameters, "beta": 10.0, "std_threshold": 0.5, **changes})
    if kind.startswith("WDL"):
        return WeightDecayDictionaryLearning(**{**parameters, "weight_decay": WEIGHT_DECAY, **changes})
    return StandardDictionaryLearning(**{**parameters, "atom_norm": 1.0, **changes})
