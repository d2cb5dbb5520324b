"""What all estimators share: from rows to a trained session, from rows to codes, and fitted state as arrays."""

import warnings
from abc import abstractmethod
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skvardict._sklearn import CallbackSupportMixin, _fit_context, epoch_hooks
from skvardict._utils.batches import RowReader, Subset
from skvardict._utils.device import resolve_device
from skvardict._utils.messages import say
from skvardict._utils.random import draw_seed, make_generator
from skvardict._utils.rows import check_columns, check_rows, float_dtype
from skvardict.metrics import r2
from skvardict.training import Outcome, TrainingDivergedError, TrainingPlan, TrainingSession, train
from skvardict.training.history import describe_epoch
from skvardict.training.session import to_numpy

_ROWS_PER_CHUNK = 4096  # rows encoded at a time: bounds memory, whatever the number of rows
_FEWEST_VALIDATION_ROWS = 20
_SHOWN = ("epoch", "energy", "validation_energy", "validation_r2", "sparsity", "n_dead", "seconds")

# Modules rebuilt from `params_`, per estimator; outside the instance, so that nothing live is pickled or cloned.
_live: WeakKeyDictionary = WeakKeyDictionary()


class Encoding(NamedTuple):
    """Codes of rows, and how they were reached.

    Attributes
    ----------
    codes : ndarray or Tensor of shape (n_samples, n_components)
    n_iter : ndarray or Tensor of shape (n_samples,)
        Iterations of the solver; 0 where the encoder gave the code.
    converged : ndarray or Tensor of shape (n_samples,)
        Whether the solver's criterion was met; true where the encoder gave the code.
    """

    codes: Any
    n_iter: Any
    converged: Any


class SparseCoder(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of all estimators; a subclass says which parts it assembles."""

    # Words of messages, and what they are about.
    _DIVERGENCE_ADVICE = (
        "Lower learning_rate, use solver=FISTA(step_size='auto'), and check that X has a mean square of about 1."
    )
    _SPARSITY_PARAMETER = "alpha"
    _SCALE_DEPENDENT = "alpha, std_threshold and step sizes"
    _MEAN_SQUARE_RANGE = (0.1, 10.0)

    @abstractmethod
    def _build_objective(self, n_features: int, batch_rows: int, generator: torch.Generator):
        """Return the objective with fresh parts, drawn from `generator`."""

    def _initialize(self, objective, rows: RowReader | Subset, generator: torch.Generator) -> None:
        """Set first parameters that depend on the data; called once, before training."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, X_val=None):
        """Learn decoder and encoder from the rows of `X`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Entries of mean square about 1; see :class:`skvardict.preprocessing.GlobalStandardizer`.
        y : ignored
        X_val : array-like or Tensor of shape (n_validation, n_features), optional
            Rows on which the best epoch is chosen; by default a part of `X`, if `early_stopping`.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If `X` has fewer than two rows, or is not a 2-D array of finite real numbers.
        TrainingDivergedError
            If a loss becomes NaN or infinite. What was fitted before, or the last good epoch, is kept.
        """
        continued = self.warm_start and hasattr(self, "_train_state")
        X = check_rows(self, X, reset=not continued)
        if X.shape[0] < 2:
            raise ValueError(
                f"{type(self).__name__} expects at least 2 rows, but X has n_samples=1. "
                "Standard deviations of codes need several rows."
            )
        session, reader = self._open_session(X, continued=continued)
        rows, validation = self._split(reader, X_val, session.generator)
        plan = TrainingPlan(
            self.batch_size,
            self.max_iter,
            self.early_stopping,
            self.n_iter_no_change,
            self.tol,
            self.learning_rate_decay,
        )
        self._warn_about_scale(reader)
        self._run(session, plan, rows, validation, X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Update the model with one pass over the rows of `X`, in batches of `batch_size`.

        `early_stopping` and validation play no part; `n_steps_` counts the updates.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : estimator
        """
        continued = hasattr(self, "_train_state")
        X = check_rows(self, X, reset=not continued)
        session, reader = self._open_session(X, continued=continued)
        plan = TrainingPlan(self.batch_size, 1, False, learning_rate_decay=self.learning_rate_decay)
        self._run(session, plan, reader, None, X, y)
        return self

    def transform(self, X):
        """Return the codes of the rows of `X`; deterministic, and row by row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        return self._encode(check_rows(self, X, reset=False)).codes

    def encode(self, X) -> Encoding:
        """Return codes together with the solver's iterations and convergence per row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        Encoding
        """
        check_is_fitted(self)
        return self._encode(check_rows(self, X, reset=False))

    def inverse_transform(self, codes):
        """Return the decoder's reconstructions of `codes`.

        Parameters
        ----------
        codes : array-like or Tensor of shape (n_samples, n_components)

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        codes = _check_codes(self, codes)
        return self._decode(codes)

    def reconstruct(self, X):
        """Return ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._decode(self._encode(check_rows(self, X, reset=False)).codes)

    def score(self, X, y=None) -> float:
        """Return R^2 of the reconstruction of `y` from the codes of `X`; 1 is perfect.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples, n_features) or (n_samples,), optional
            Rows to reconstruct, e.g. clean versions of noisy `X`; by default `X`. One-dimensional labels are
            ignored.

        Returns
        -------
        r2 : float
            ``1 - |y - D(z(X))|^2 / |y - mean(y)|^2`` over all entries.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        target = X
        if y is not None and np.ndim(y) == 2:
            target = check_columns(self, y)
            if target.shape[0] != X.shape[0]:
                raise ValueError(f"y has {target.shape[0]} rows, but X has {X.shape[0]}. Pass one target per row.")
        return float(r2(target, self._decode(self._encode(X).codes)))

    @property
    def components_(self) -> np.ndarray:
        """Atoms as rows, (n_components, n_features); for a decoder with hidden layers, its response to unit codes.

        The response leaves biases and ReLUs out (``W_1 W_2 ...``); for a decoder built by the user it is
        ``D(e_i) - D(0)``.
        """
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no components_ before fit.")
        if "decoder.components" in self.params_:
            return self.params_["decoder.components"]
        decoder = self._objective(torch.device("cpu")).decoder
        with torch.no_grad():
            if hasattr(decoder, "atoms"):
                return decoder.atoms().numpy()
            dtype = next(decoder.parameters()).dtype
            units = torch.eye(self._n_features_out, dtype=dtype)
            return (decoder(units) - decoder(torch.zeros_like(units[:1]))).numpy()

    @property
    def decoder_(self):
        """The decoder as a module on the CPU, rebuilt from `params_`."""
        return self._objective(torch.device("cpu")).decoder

    @property
    def encoder_(self):
        """The encoder as a module on the CPU, rebuilt from `params_`; None where there is none."""
        return self._objective(torch.device("cpu")).encoder

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return "params_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def _open_session(self, X, *, continued: bool) -> tuple[TrainingSession, RowReader]:
        device, dtype = resolve_device(self.device, X), _torch_dtype(X)
        generator = make_generator(draw_seed(self.random_state))
        batch_rows = min(self.batch_size, X.shape[0])
        objective = self._build_objective(X.shape[1], batch_rows, generator)
        for module in objective.modules().values():
            module.to(device=device, dtype=dtype)
        session, reader = TrainingSession(objective, generator), RowReader(X, device, dtype)
        if continued:
            session.load_arrays(self._train_state)
            session.history = {name: list(values) for name, values in self.history_.items()}
        else:
            self._initialize(objective, reader, generator)
            objective.constrain_()
        return session, reader

    def _split(self, reader: RowReader, X_val, generator: torch.Generator):
        """Return training and validation rows."""
        if X_val is not None:
            X_val = check_columns(self, X_val)
            return reader, RowReader(X_val, reader.device, reader.dtype)
        n_held_out = round(self.validation_fraction * len(reader)) if self.early_stopping else 0
        if n_held_out < _FEWEST_VALIDATION_ROWS:
            return reader, None
        order = torch.randperm(len(reader), generator=generator)
        held_out, rest = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        return Subset(reader, rest), Subset(reader, held_out)

    def _run(self, session: TrainingSession, plan: TrainingPlan, rows, validation, X, y) -> None:
        after_epoch, after_fit = epoch_hooks(self, X, y, plan.max_epochs)

        def on_epoch(session: TrainingSession) -> bool:
            if self.verbose:
                say(f"[{type(self).__name__}] {describe_epoch(session.history, _SHOWN)}")
            return after_epoch()

        outcome = train(session, plan, rows, validation, on_epoch)
        if outcome.diverged is None or outcome.n_new_epochs > 0:
            self._store(session, outcome)
        after_fit()
        self._report(session, outcome)

    def _store(self, session: TrainingSession, outcome: Outcome) -> None:
        self.params_ = to_numpy(outcome.params)
        self.history_ = session.history
        self.n_iter_ = max(session.n_epochs, 1)
        self.n_steps_ = session.n_steps
        self.best_epoch_ = outcome.best_epoch
        self.n_dead_ = int(session.history["n_dead"][-1]) if session.history else 0
        self._train_state = session.to_arrays()

    def _report(self, session: TrainingSession, outcome: Outcome) -> None:
        name = type(self).__name__
        if outcome.diverged is not None:
            kept = (
                f"The state after epoch {session.n_epochs} is kept"
                if outcome.n_new_epochs
                else "What was fitted before, if anything, is kept"
            )
            raise TrainingDivergedError(
                f"{name}: a loss became non-finite in {outcome.diverged}. {kept}. {self._DIVERGENCE_ADVICE}"
            )
        if outcome.interrupted:
            warnings.warn(
                f"{name}: fit was interrupted after {session.n_epochs} complete epochs; the state of epoch "
                f"{outcome.best_epoch} is kept and the estimator can be used.",
                UserWarning,
                stacklevel=4,
            )
        elif self.n_dead_ == self._n_features_out:
            warnings.warn(
                f"{name}: all {self.n_dead_} components of the code were zero during the last epoch: the model "
                f"has collapsed. Lower {self._SPARSITY_PARAMETER} or standardise X.",
                UserWarning,
                stacklevel=4,
            )

    def _warn_about_scale(self, reader: RowReader) -> None:
        mean_square = float(reader.slice(0, min(len(reader), _ROWS_PER_CHUNK)).square().mean())
        low, high = self._MEAN_SQUARE_RANGE
        if not low <= mean_square <= high:
            warnings.warn(
                f"{type(self).__name__}: the mean square of X is {mean_square:.3g}, but {self._SCALE_DEPENDENT} "
                "assume about 1. Standardise X, e.g. with skvardict.preprocessing.GlobalStandardizer.",
                UserWarning,
                stacklevel=4,
            )

    def _objective(self, device: torch.device, dtype: torch.dtype | None = None):
        """Return the objective with the fitted parameters, rebuilt where it is not at hand."""
        check_is_fitted(self)
        cached = _live.get(self)
        key = (device, dtype)
        if cached is None or cached[0] is not self.params_ or cached[1] != key:
            objective = self._build_objective(self.n_features_in_, self.batch_size, make_generator(0))
            with torch.no_grad():
                for part, module in objective.modules().items():
                    prefix = f"{part}."
                    state = {
                        name.removeprefix(prefix): torch.from_numpy(np.array(array))
                        for name, array in self.params_.items()
                        if name.startswith(prefix)
                    }
                    module.to(dtype=dtype or next(iter(state.values())).dtype).load_state_dict(state)
                    module.to(device).requires_grad_(False).eval()
            cached = (self.params_, key, objective)
            _live[self] = cached
        return cached[2]

    @abstractmethod
    def _encode_block(self, objective, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return codes, iterations and convergence (None: no solver ran) of a block of rows."""

    def _encode(self, X) -> Encoding:
        device, dtype = resolve_device(self.device, X), _torch_dtype(X)
        objective = self._objective(device, dtype)
        as_tensor = isinstance(X, Tensor)
        home = device if as_tensor else torch.device("cpu")
        codes = torch.empty(X.shape[0], self._n_features_out, dtype=dtype, device=home)
        n_iter = torch.zeros(X.shape[0], dtype=torch.int64, device=home)
        converged = torch.ones(X.shape[0], dtype=torch.bool, device=home)
        with torch.no_grad():
            for start, rows in RowReader(X, device, dtype).slices(_ROWS_PER_CHUNK):
                block = slice(start, start + len(rows))
                block_codes, block_n_iter, block_converged = self._encode_block(objective, rows)
                codes[block] = block_codes
                if block_n_iter is not None and block_converged is not None:
                    n_iter[block], converged[block] = block_n_iter, block_converged
        n_unconverged = int((~converged).sum())
        if n_unconverged:
            warnings.warn(
                f"{type(self).__name__}: the solver did not converge on {n_unconverged} of {len(codes)} rows. "
                "Raise max_iter or tol of solver=.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return Encoding(*(part if as_tensor else part.numpy() for part in (codes, n_iter, converged)))

    def _decode(self, codes):
        device, dtype = resolve_device(self.device, codes), _torch_dtype(codes)
        decoder = self._objective(device, dtype).decoder
        as_tensor = isinstance(codes, Tensor)
        home = device if as_tensor else torch.device("cpu")
        X = torch.empty(codes.shape[0], self.n_features_in_, dtype=dtype, device=home)
        with torch.no_grad():
            for start, rows in RowReader(codes, device, dtype).slices(_ROWS_PER_CHUNK):
                X[start : start + len(rows)] = decoder(rows)
        return X if as_tensor else X.numpy()


def _torch_dtype(X) -> torch.dtype:
    return torch.float64 if float_dtype(X) in (np.float64, torch.float64) else torch.float32


def _check_codes(estimator, codes):
    if not isinstance(codes, Tensor):
        codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != estimator._n_features_out:
        raise ValueError(
            f"{type(estimator).__name__}.inverse_transform expects codes of shape (n_samples, "
            f"{estimator._n_features_out}), but got {tuple(codes.shape)}. Pass what transform returns."
        )
    return codes
