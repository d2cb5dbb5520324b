"""What estimators say about rows before they use them: too few, or in a scale that their weights do not assume."""

from math import inf
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict._utils.messages import is_called_from, warn
from skvardict.rows import ROWS_PER_CHUNK, Rows, shape_of

_ROWS = 256  # are enough to tell a scale, and
_FEWEST_ROWS = 32  # are needed; of fewer, only what is far
_FAR = 100.0  # beyond the range is said
_OWN_UNITS = 0.05  # of the largest number in X: half of the columns stay below it where each has units of its own
_ROWS_OF_OTHERS = 32  # where decoders have hidden layers, and iterations cost
_WORSE = 0.1  # in R^2: the encoder's codes, of which this is said
_MEANS_DOMINATE = 0.8  # from this share of the mean square on
_FEWEST_PER_BATCH = 8  # rows from which a deviation can be told

# What was said since the last fit began, by estimator: outside the instance, of which they are no state.
_said: WeakKeyDictionary = WeakKeyDictionary()


def look_at_rows(estimator, rows: Rows) -> None:
    """Raise a ValueError where the rows of `fit` are too few, and warn of an unexpected scale."""
    if len(rows) < 2:
        raise ValueError(
            f"{type(estimator).__name__} expects at least 2 rows, but X has n_samples=1. "
            f"{estimator._NEEDS_ROWS} Pass more rows, or all chunks of a stream to fit_stream."
        )
    look_first(estimator, rows)


def look_at_targets(estimator, X, y) -> None:
    """Warn where `y` looks like rows that are to be learnt; searches score by them."""
    shape = None if y is None or y is X else shape_of(y)
    is_target = shape is not None and len(shape) == 2 and shape == shape_of(X)
    if is_target and not is_called_from("sklearn.model_selection", "skvardict.model_selection"):
        warn(
            f"{type(estimator).__name__}.fit does not learn y: atoms and codes are those of X. Only score(X, y), and "
            "searches by it, compare reconstructions with y. Fit on the clean rows, or leave y out."
        )


def look_first(estimator, rows: Rows) -> None:
    """Warn of an unexpected scale of the rows that a fit begins with."""
    _said[estimator] = set()
    _look_at_scale(estimator, rows.read(0, ROWS_PER_CHUNK))


def look_again(estimator, rows: Rows) -> None:
    """Warn of an unexpected scale of rows that a fitted model is used on, where that was not said before."""
    if "scale" not in _said.setdefault(estimator, set()):
        _look_at_scale(estimator, rows.read(0, _ROWS))


def look_at_batch(estimator, n_rows: float) -> None:
    """Warn, once, where batches of `partial_fit` are so small that deviations of codes over them say nothing."""
    beta, said = getattr(estimator, "beta", 0.0), _said.setdefault(estimator, set())
    if beta > 0 and n_rows < _FEWEST_PER_BATCH and "small batch" not in said:
        said.add("small batch")
        problem = "one row has none" if n_rows < 2 else f"those of {n_rows:.0f} rows say little"
        warn(
            f"{type(estimator).__name__}.partial_fit: the hinge, beta={beta:g}, acts on standard deviations over a "
            f"batch; {problem}. Collect 32 rows or more for each call, or set beta=0."
        )


def _look_at_scale(estimator, block: Tensor) -> None:
    """Warn where the mean square of some rows is far from 1, or is that of the column means."""
    scale = _Scale.of(block)
    factor = 1.0 if len(block) >= _FEWEST_ROWS else _FAR
    low, high = estimator._MEAN_SQUARE_RANGE
    text = None
    if not low / factor <= scale.mean_square <= high * factor:
        text = (
            f"the mean square of X is {scale.mean_square:.3g}, but {estimator._SCALE_DEPENDENT} assume about 1. "
            f"{scale.advice}"
        )
    elif factor == 1.0 and scale.share_of_means > _MEANS_DOMINATE and not estimator._models_means():
        text = (
            f"the column means make up {100 * scale.share_of_means:.0f} % of the mean square of X, and codes will "
            "describe them rather than what rows differ in. Take them out, e.g. with "
            "sklearn.preprocessing.StandardScaler(with_std=False) in front of a scaler."
        )
    if text is not None and scale.mean_square > 0:
        _said[estimator].add("scale")
        warn(f"{type(estimator).__name__}: {text}")


def look_at_codes(estimator, rows: Rows) -> None:
    """Warn where codes of the encoder, which `transform` returns, reconstruct rows far worse than the solver's do."""
    n_rows = min(len(rows), _ROWS if estimator._is_linear() else _ROWS_OF_OTHERS)
    X = rows.take(torch.linspace(0, len(rows) - 1, n_rows).long())
    model = estimator._model(X.device, X.dtype)
    with torch.no_grad(), ranks.alone():  # several processes have the same rows here
        codes = model.encoder(X), model.infer(X).codes
        errors = [float(model.reconstruction(X, of).mean()) for of in codes]
    variance = float((X - X.mean(0)).square().mean())
    of_encoder, of_solver = (1 - error / variance if variance > 0 else 0.0 for error in errors)
    if of_solver - of_encoder > _WORSE:
        warn(
            f"{type(estimator).__name__}: codes of the encoder, which transform returns, reconstruct {n_rows} rows of "
            f"X with an R^2 of {of_encoder:.2f}, those of the solver with {of_solver:.2f}. Set "
            "transform_algorithm='solver', or train the encoder longer (max_iter) or closer to the codes (gamma)."
        )


class _Scale(NamedTuple):
    """Mean square of entries, the part of it that column means make up, and whether columns have units of their own."""

    mean_square: float
    share_of_means: float
    has_own_units: bool

    @classmethod
    def of(cls, block: Tensor) -> "_Scale":
        """Return the scale of some rows, missing entries left out."""
        mean_square = float(block.square().nanmean())
        if not 0 < mean_square < inf and block.device.type != "mps":  # zeros, or squares beyond single precision
            block = block.double()
            mean_square = float(block.square().nanmean())
        means = block.nanmean(0)
        share = float(means.square().nanmean()) / mean_square if mean_square > 0 else 0.0
        largest = block.abs().nan_to_num(0.0).amax(0)
        largest = largest[largest > 0]
        own = len(largest) > 1 and float(largest.median()) < _OWN_UNITS * float(largest.max())
        return cls(mean_square, share, own)

    @property
    def advice(self) -> str:
        """Which scaler fits."""
        if self.has_own_units:
            return "Columns have scales of their own: standardise each, e.g. with sklearn.preprocessing.StandardScaler."
        return "Standardise X, e.g. with skvardict.preprocessing.GlobalStandardizer."
