"""LISTA and a linear layer, trained on labels alone: what codes learned without labels are compared with.

It has a loop of its own. That of :mod:`skvardict.training` gives an objective batches of rows without labels, counts
epochs, and keeps the epoch of the lowest validation energy. Here batches have labels, steps are counted (of ten rows an
epoch is one step), and the step of the best validation accuracy is kept.
"""

import warnings
from copy import deepcopy
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data
from torch import nn

from skvardict._sklearn import COUNT, POSITIVE, BaseEstimator, Interval
from skvardict._utils.defaults import RunsWithDefaults
from skvardict._utils.random import draw_seed, make_generator
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import ArrayLike, RandomState
from skvardict.networks import LISTAEncoder
from skvardict.rows import Rows
from skvardict.training import Adam, ParameterGroup

_UPDATES_PER_TEST = 50


class LISTAClassifier(RunsWithDefaults, ClassifierMixin, BaseEstimator):
    """A LISTA encoder and a linear layer, trained on labels from scratch.

    Scores of the classes are ``E(x) w + b``, E being the encoder; cross-entropy is minimised with Adam.

    Parameters
    ----------
    n_components : int, default=128
        Length of the encoder's code.
    encoder_n_iter : int, default=3
        Recurrent steps of the encoder.
    learning_rate : float, default=1e-3
    batch_size : int, default=250
    max_updates : int, default=5000
        Optimiser steps at most: few rows make short epochs, so steps are what counts.
    n_iter_no_change : int, default=10
        Stop after so many tests (one every 50 steps) without a better validation accuracy, where there are
        validation rows.
    device : "auto", str or torch.device, default="auto"
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : int
        Optimiser steps run.
    params_ : dict of ndarray
        Weights of the best validation accuracy, the last ones without validation rows.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, figure 9:
    the baseline trained from scratch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict.evaluation import LISTAClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LISTAClassifier(32, max_updates=100, random_state=0).fit(X[:1000] / 8 - 1, y[:1000])
    >>> bool(model.score(X[1000:] / 8 - 1, y[1000:]) > 0.7)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": COUNT,
        "encoder_n_iter": [Interval(Integral, 0, None, closed="left")],
        "learning_rate": POSITIVE,
        "batch_size": COUNT,
        "max_updates": COUNT,
        "n_iter_no_change": COUNT,
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 128,
        *,
        encoder_n_iter: int = 3,
        learning_rate: float = 1e-3,
        batch_size: int = 250,
        max_updates: int = 5000,
        n_iter_no_change: int = 10,
        device: str | torch.device = "auto",
        random_state: RandomState = None,
    ):
        self.n_components = n_components
        self.encoder_n_iter = encoder_n_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_updates = max_updates
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state

    @fits_at_once
    def fit(self, X: ArrayLike, y: ArrayLike, X_val: ArrayLike | None = None, y_val: ArrayLike | None = None) -> Self:
        """Train on labelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        X_val, y_val : array-like, optional
            Rows on which the best step is chosen.

        Returns
        -------
        self : LISTAClassifier

        Raises
        ------
        ValueError
            If one of `X_val` and `y_val` is given without the other, or the data do not fit.

        Warns
        -----
        ConvergenceWarning
            If training diverges; the last weights known to be good are kept.
        """
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if (X_val is None) != (y_val is None):
            given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"LISTAClassifier.fit got {given} without {missing}. Pass both of them, or neither.")
        if X_val is not None:
            X_val, y_val = validate_data(self, X_val, reset=False, dtype=np.float32), column_or_1d(y_val)
            check_consistent_length(X_val, y_val)
        self.classes_, labels = np.unique(y, return_inverse=True)
        rows = Rows(X, device=self.device).read()
        generator = make_generator(draw_seed(self.random_state))
        network = self._network(generator).to(rows.device)
        steps = Adam(self.learning_rate).start([ParameterGroup("encoder", dict(network.named_parameters()))])
        targets = torch.tensor(labels, device=rows.device)
        tested = rows[: self.batch_size] if X_val is None else Rows(X_val, device=self.device).read()
        best, best_quality, n_stale = deepcopy(network.state_dict()), -1.0, 0
        batches = _batches(len(rows), self.batch_size, generator)
        for n_iter in range(1, self.max_updates + 1):
            self.n_iter_ = n_iter
            batch = next(batches).to(rows.device)
            steps.descend([nn.functional.cross_entropy(network(rows[batch]), targets[batch])])
            if n_iter % _UPDATES_PER_TEST and n_iter < self.max_updates:
                continue
            scores = self._scores(network, tested)
            if not np.isfinite(scores).all():
                warnings.warn(
                    f"LISTAClassifier diverged within {n_iter} updates: its scores are no longer finite. The best "
                    "weights up to there are kept. Scale the rows to about unit variance, or lower learning_rate.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                break
            # Without validation rows later is better.
            quality = n_iter if X_val is None else float(np.mean(self.classes_[scores.argmax(1)] == y_val))
            n_stale += 1
            if quality > best_quality:
                best, best_quality, n_stale = deepcopy(network.state_dict()), quality, 0
            if n_stale >= self.n_iter_no_change:
                break
        self.params_ = {name: tensor.detach().cpu().numpy().copy() for name, tensor in best.items()}
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return class probabilities, shape (n_samples, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32)
        rows = Rows(X, device=self.device).read()
        network = self._network(make_generator(0)).to(rows.device)
        network.load_state_dict({name: torch.tensor(array) for name, array in self.params_.items()})
        return torch.from_numpy(self._scores(network, rows)).softmax(1).numpy()

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _network(self, generator: torch.Generator) -> nn.Module:
        encoder = LISTAEncoder(
            self.n_features_in_, self.n_components, n_iter=self.encoder_n_iter, positive=True, generator=generator
        )
        return nn.Sequential(encoder, _ZeroLinear(self.n_components, len(self.classes_)))

    @staticmethod
    @torch.no_grad()
    def _scores(network: nn.Module, rows: torch.Tensor) -> np.ndarray:
        return network(rows).cpu().numpy()


class _ZeroLinear(nn.Module):
    """A linear layer that starts at zero: drawing weights would take them from torch's global generator."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_inputs, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n_outputs))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return X @ self.weight + self.bias


def _batches(n_rows: int, batch_size: int, generator: torch.Generator):
    """Yield shuffled batches without end, epoch after epoch."""
    n_batches = -(-n_rows // batch_size)
    while True:
        yield from torch.randperm(n_rows, generator=generator).tensor_split(n_batches)
