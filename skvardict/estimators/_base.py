"""What all estimators share: from rows to a trained session, from rows to codes, and fitted state as arrays."""

import os
import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skvardict._sklearn import CallbackSupportMixin, _fit_context, epoch_hooks
from skvardict._utils.messages import say
from skvardict._utils.random import draw_seed, make_generator
from skvardict.estimators._files import save
from skvardict.estimators._identity import fit_identity
from skvardict.metrics import r2
from skvardict.rows.batches import MappedPages, RowReader, Subset, batch_bounds, rows_per_batch
from skvardict.rows.checks import check_columns, check_rows, torch_dtype
from skvardict.rows.device import resolve_device
from skvardict.rows.streams import ChunkSource, StreamReader
from skvardict.training import (
    Checkpoint,
    EarlyStopping,
    Outcome,
    TrainingDivergedError,
    TrainingPlan,
    TrainingSession,
    train,
)
from skvardict.training.health import find_trouble
from skvardict.training.history import describe_epoch
from skvardict.training.session import to_numpy

ROWS_PER_CHUNK = 4096  # rows encoded at a time: bounds memory, whatever the number of rows
_FEWEST_VALIDATION_ROWS = 20
_LASTING_EPOCHS = 5  # what was wrong for so long is said during training, what is wrong at the end then
# What helps against each kind of trouble, by name of the parameter.
_ADVICE = {
    "dead": {"alpha": "lower", "kl_weight": "lower", "beta": "raise", "optimizer": "lower the learning rate of"},
    "shrinking": {"beta": "raise", "atom_norm": "set", "weight_decay": "raise"},
    "saturated": {"solver": "raise max_iter or tol of"},
}
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
        "Lower the learning rate of optimizer=, use solver=FISTA(step_size='auto'), and check that X has a mean square "
        "of about 1."
    )
    _SPARSITY_PARAMETER = "alpha"
    _SCALE_DEPENDENT = "alpha, std_threshold and step sizes"
    _MEAN_SQUARE_RANGE = (0.1, 10.0)

    @abstractmethod
    def _build_model(self, n_features: int, generator: torch.Generator):
        """Return the model with fresh parts, drawn from `generator`."""

    @abstractmethod
    def _build_objective(self, model, batch_rows: float):
        """Return what trains `model` on batches of `batch_rows` rows on average."""

    def _initialize(self, model, rows: RowReader | Subset, generator: torch.Generator) -> None:
        """Set first parameters that depend on the data; called once, before training."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, X_val=None, checkpoint=None, checkpoint_every=1):
        """Learn decoder and encoder from the rows of `X`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Entries of mean square about 1; see :class:`skvardict.preprocessing.GlobalStandardizer`.
        y : ignored
        X_val : array-like or Tensor of shape (n_validation, n_features), optional
            Rows on which the best epoch is chosen; by default a part of `X`, if `early_stopping`.
        checkpoint : path, optional
            A file that the state of the run is written to. Where it exists, the run goes on from it, and ends as if it
            had never been stopped: bitwise, on a CPU with the same number of threads. The file before it is kept as
            ``<checkpoint>.previous``.
        checkpoint_every : int, default=1
            Epochs between two writes; the end of the run is always written.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If `X` has fewer than two rows, or is not a 2-D array of finite real numbers.
        CheckpointMismatchError
            If `checkpoint` belongs to other data, parameters or versions; the message says which.
        TrainingDivergedError
            If a loss becomes NaN or infinite. What was fitted before, or the last good epoch, is kept.
        """
        with self._fitting():
            continued = self.warm_start and hasattr(self, "_train_state")
            X = check_rows(self, X, reset=not continued)
            if X.shape[0] < 2:
                raise ValueError(
                    f"{type(self).__name__} expects at least 2 rows, but X has n_samples=1. "
                    "Standard deviations of codes need several rows."
                )
            X_val = None if X_val is None else check_columns(self, X_val, "X_val")
            seed, saved = draw_seed(self.random_state), None
            if checkpoint is not None:
                saved = self._open_checkpoint(checkpoint, checkpoint_every, X, X_val, seed, continued=continued)
                seed = saved.seed
            n_rows = X.shape[0] - (self._n_held_out(X.shape[0]) if X_val is None else 0)
            session, reader = self._open_session(X, continued=continued, seed=seed, n_rows=n_rows)
            rows, validation = self._split(reader, X_val, make_generator(seed))
            self._begin(session, rows, continued=continued)
            self._warn_about_scale(reader)
            self._run(session, self._plan(), rows, validation, X, y, saved)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_stream(self, chunks, *, X_val=None, buffer_rows=10_000, checkpoint=None, checkpoint_every=1):
        """Learn from rows that come in chunks and never are in memory together.

        Every epoch reads the stream once. Rows go through a buffer of `buffer_rows`, from which batches are drawn at
        random: the larger it is, the better rows from distant chunks are mixed. No rows are held out. What is set from
        the data before training (``init="data"``, ``mean_``) comes from the first chunk. Schedules within an epoch need
        its length: in the first pass they stand at its middle.

        Parameters
        ----------
        chunks : iterable of arrays or Tensors of shape (n_rows, n_features), or callable
            An iterable that can be read again (a list, an object with ``__iter__``), or a function that returns a new
            iterator for every epoch. A generator can be read once and needs ``max_iter=1``. Chunks may differ in size.
        X_val : array-like or Tensor of shape (n_validation, n_features), optional
            Rows on which the best epoch is chosen.
        buffer_rows : int, default=10000
            Rows held in memory; at least two batches are.
        checkpoint, checkpoint_every
            As in :meth:`fit`. That a stream is the same as before is checked on its first chunk only.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a chunk is not a 2-D array of finite real numbers with the features of the first (the message says which
            chunk and rows), or if a stream that can be read once is to last several epochs.
        """
        source = ChunkSource(chunks)
        if self.max_iter > 1 and not source.is_repeatable:
            raise ValueError(
                f"{type(self).__name__}.fit_stream got an iterator, which can be read once, but "
                f"max_iter={self.max_iter} epochs read the stream as often. Pass a list, a function that returns a new "
                "iterator, or max_iter=1."
            )
        if not isinstance(buffer_rows, Integral) or buffer_rows < 1:
            raise ValueError(f"buffer_rows expects a whole number of rows, at least 1, but got {buffer_rows!r}.")
        with self._fitting():
            continued = self.warm_start and hasattr(self, "_train_state")
            first = check_rows(self, source.first(), reset=not continued)
            X_val = None if X_val is None else check_columns(self, X_val, "X_val")
            seed, saved = draw_seed(self.random_state), None
            if checkpoint is not None:
                saved = self._open_checkpoint(
                    checkpoint, checkpoint_every, first, X_val, seed, continued=continued, buffer_rows=int(buffer_rows)
                )
                seed = saved.seed
            session, reader = self._open_session(first, continued=continued, seed=seed, n_rows=self.batch_size)
            self._begin(session, reader, continued=continued)
            self._warn_about_scale(reader)
            validation = None if X_val is None else RowReader(X_val, reader.device, reader.dtype, "X_val")

            def check(chunk):
                return check_rows(self, chunk, reset=False)

            rows = StreamReader(source, check, reader.device, torch_dtype(first), int(buffer_rows))
            self._run(session, self._plan(), rows, validation, None, None, saved)
        return self

    def _check_atom_norm(self, decoder: torch.nn.Module) -> None:
        """Raise a ValueError where `decoder` has no atoms that `atom_norm` could act on."""
        norm = getattr(self, "atom_norm", None)
        if norm is not None and not hasattr(decoder, "atom_matrices"):
            raise ValueError(
                f"{type(self).__name__}: atom_norm={norm} needs a linear or MLP decoder, but decoder="
                f"{self.decoder!r}. Use atom_norm=None."
            )

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Turn gradients on, whatever the caller's mode; a fit that fails before it has new weights keeps the features.

        (Those of X that the old weights belong to, so that they can be used.)
        """
        state: dict[str, Any] = self.__dict__
        names = ("n_features_in_", "feature_names_in_", "params_")
        before = {name: state[name] for name in names if name in state}
        try:
            with torch.inference_mode(False), torch.enable_grad():
                yield
        except BaseException:
            if "params_" in before and state["params_"] is before["params_"]:
                state.pop("feature_names_in_", None)
                state.update(before)
            raise

    def _plan(self) -> TrainingPlan:
        return TrainingPlan(self.batch_size, self.max_iter, self._early_stopping())

    def _early_stopping(self) -> EarlyStopping | None:
        if not isinstance(self.early_stopping, EarlyStopping):
            return EarlyStopping() if self.early_stopping else None
        self.early_stopping.check()
        return self.early_stopping

    def _optimizer(self) -> Any:
        """Return the optimiser part; "auto" is the estimator's own."""
        return self._AUTO_OPTIMIZER if isinstance(self.optimizer, str) else self.optimizer

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Update the model with one pass over the rows of `X`, in batches of `batch_size`.

        `early_stopping` and validation play no part; `n_steps_` counts the updates. Every call counts as an epoch: in
        `history_`, for `learning_rate_decay`, and for schedules and warm-ups measured in `max_iter` epochs. For a
        stream without an end, pass chunks of many batches, and turn schedules off.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : estimator
        """
        with self._fitting():
            continued = hasattr(self, "_train_state")
            X = check_rows(self, X, reset=not continued)
            seed = draw_seed(self.random_state)
            session, reader = self._open_session(X, continued=continued, seed=seed, n_rows=X.shape[0])
            self._begin(session, reader, continued=continued)
            self._run(session, replace(self._plan(), max_epochs=1), reader, None, X, y)
        return self

    def transform(self, X, out=None):
        """Return the codes of the rows of `X`; deterministic, and row by row.

        Rows are read in chunks: with a memory map as `X` and another as `out`, memory does not grow with their number.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        out : ndarray, memory map or Tensor of shape (n_samples, n_components), optional
            Where the codes are written; of the kind of `X`. It is returned.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        return self._encode(check_rows(self, X, reset=False), out).codes

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
            target = check_columns(self, y, "y")
            if target.shape[0] != X.shape[0]:
                raise ValueError(f"y has {target.shape[0]} rows, but X has {X.shape[0]}. Pass one target per row.")
        return float(r2(target, self._decode(self._encode(X).codes)))

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted estimator to a file without code in it; :func:`skvardict.load` reads it.

        The file holds parameters, weights, history, feature names, training state (so that `partial_fit` and
        `warm_start` go on) and versions, as safetensors and JSON, with a checksum. It is written whole or not at all.

        Parameters
        ----------
        path : path
            Builders of decoders or encoders are not part of the file; pass them to ``load``. Nor is what
            ``set_output`` has set.
        """
        save(self, path)

    @property
    def components_(self) -> np.ndarray:
        """Atoms as rows, (n_components, n_features); for a decoder with hidden layers, its response to unit codes.

        The response leaves biases and ReLUs out (``W_1 W_2 ...``); for a decoder built by the user it is
        ``D(e_i) - D(0)``.
        """
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no components_ before fit.")
        if "decoder.components" in self.params_:
            return self.params_["decoder.components"].copy()
        decoder = self.decoder_
        with torch.no_grad():
            if hasattr(decoder, "atoms"):
                return decoder.atoms().numpy()
            dtype = next(decoder.parameters()).dtype
            units = torch.eye(self._n_features_out, dtype=dtype)
            return (decoder(units) - decoder(torch.zeros_like(units[:1]))).numpy()

    @property
    def decoder_(self):
        """The decoder as a module on the CPU, rebuilt from `params_`."""
        return deepcopy(self._model(torch.device("cpu")).decoder)

    @property
    def encoder_(self):
        """The encoder as a module on the CPU, rebuilt from `params_`; None where there is none."""
        return deepcopy(self._model(torch.device("cpu")).encoder)

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return "params_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def _open_checkpoint(
        self, path, every, X, X_val, seed: int, *, continued: bool, buffer_rows: int | None = None
    ) -> Checkpoint:
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"checkpoint_every expects a whole number of epochs, at least 1, but got {every!r}.")
        start = self._train_state if continued else None
        identity = fit_identity(self, X, X_val, resolve_device(self.device, X), start)
        if buffer_rows is not None:
            identity["stream"] = f"buffer_rows={buffer_rows}"
        saved = Checkpoint(path, int(every), identity, seed)
        if saved.resumed_epoch:
            say(f"[{type(self).__name__}] resumed after epoch {saved.resumed_epoch} from {path}")
        return saved

    def _open_session(self, X, *, continued: bool, seed: int, n_rows: int) -> tuple[TrainingSession, RowReader]:
        device, dtype = resolve_device(self.device, X), torch_dtype(X)
        generator = make_generator(seed)
        model = self._build_model(X.shape[1], generator)
        objective = self._build_objective(model, rows_per_batch(n_rows, self.batch_size))
        for module in objective.modules().values():
            module.to(device=device, dtype=dtype)
        from_builders = callable(self.decoder) or callable(self.encoder)
        session = TrainingSession(objective, self._optimizer(), generator, draws_globally=from_builders)
        reader = RowReader(X, device, dtype)
        if continued:
            session.load_arrays(self._train_state)
            session.history = {name: list(values) for name, values in self.history_.items()}
            session.kept = self.params_, self.best_epoch_
        return session, reader

    def _begin(self, session: TrainingSession, rows: RowReader | Subset, *, continued: bool) -> None:
        """Set first parameters of a new model from the rows that it will be trained on, not from those held out."""
        if not continued:
            self._initialize(session.objective.model, rows, session.generator)
            session.objective.constrain_()

    def _n_held_out(self, n_rows: int) -> int:
        """Return how many of the rows of `fit` are held out, where there are no others for validation."""
        stopping = self._early_stopping()
        n_held_out = 0 if stopping is None else round(stopping.validation_fraction * n_rows)
        if n_held_out < _FEWEST_VALIDATION_ROWS:
            return 0
        if n_rows - n_held_out < 2:
            raise ValueError(
                f"{type(self).__name__}: {stopping!r} of {n_rows} rows leaves {n_rows - n_held_out} for training, but "
                "at least 2 are needed. Lower validation_fraction, or pass X_val=."
            )
        return n_held_out

    def _split(self, reader: RowReader, X_val, generator: torch.Generator):
        """Return training and validation rows."""
        if X_val is not None:
            return reader, RowReader(X_val, reader.device, reader.dtype, "X_val")
        n_held_out = self._n_held_out(len(reader))
        if n_held_out == 0:
            return reader, None
        # Of a generator of its own: with an integer as random_state, a continued fit holds out the same rows again.
        order = torch.randperm(len(reader), generator=generator)
        held_out, rest = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        return Subset(reader, rest), Subset(reader, held_out)

    def _run(self, session: TrainingSession, plan: TrainingPlan, rows, validation, X, y, checkpoint=None) -> None:
        after_epoch, after_fit = epoch_hooks(self, X, y, plan.max_epochs)

        warned = {finding.kind for finding in find_trouble(session.history, self._n_features_out)}

        def on_epoch(session: TrainingSession) -> bool:
            self._warn_about_trouble(session, warned, _LASTING_EPOCHS)
            if self.verbose:
                say(f"[{type(self).__name__}] {describe_epoch(session.history, _SHOWN)}")
            return after_epoch()

        outcome = train(session, plan, rows, validation, on_epoch, checkpoint)
        is_first = outcome.interrupted and session.n_epochs == 0 and "params_" not in vars(self)
        if outcome.n_new_epochs > 0 or is_first:
            self._store(session, outcome)
        if outcome.error is not None:
            outcome.error.add_note(f"{type(self).__name__}: the state after epoch {outcome.best_epoch} is kept.")
            raise outcome.error
        self._warn_about_trouble(session, warned, n_epochs=1)
        after_fit()
        self._report(session, outcome)

    def _store(self, session: TrainingSession, outcome: Outcome) -> None:
        self.params_ = to_numpy(outcome.params)
        self.history_ = session.history
        self.n_iter_ = max(session.n_epochs, 1)
        self.n_steps_ = session.n_steps
        self.best_epoch_ = outcome.best_epoch
        self.resumed_epoch_ = outcome.resumed_epoch
        self.n_dead_ = int(session.history["n_dead"][-1]) if session.history else 0
        self._train_state = session.to_arrays()

    def _report(self, session: TrainingSession, outcome: Outcome) -> None:
        name = type(self).__name__
        if outcome.diverged is not None:
            kept = (
                f"The state after epoch {outcome.best_epoch} is kept"
                if outcome.n_new_epochs
                else "What was fitted before, if anything, is kept"
            )
            raise TrainingDivergedError(f"{name}: {outcome.diverged}. {kept}. {self._DIVERGENCE_ADVICE}")
        if outcome.interrupted:
            warnings.warn(
                f"{name}: fit was interrupted after {session.n_epochs} complete epochs; the state of epoch "
                f"{self.best_epoch_} is kept and the estimator can be used.",
                UserWarning,
                stacklevel=5,
            )
        elif self.n_dead_ == self._n_features_out:
            warnings.warn(
                f"{name}: all {self.n_dead_} components of the code were zero during the last epoch: the model "
                f"has collapsed. Lower {self._SPARSITY_PARAMETER} or standardise X.",
                UserWarning,
                stacklevel=5,
            )

    def _warn_about_trouble(self, session: TrainingSession, warned: set[str], n_epochs: int) -> None:
        """Warn, once per kind, of what was wrong in each of the last epochs."""
        for kind, numbers in find_trouble(session.history, self._n_features_out, n_epochs):
            if kind not in warned:
                warned.add(kind)
                warnings.warn(
                    f"{type(self).__name__}: in epoch {session.n_epochs}, {numbers}. {self._advice(kind)}",
                    ConvergenceWarning if kind == "saturated" else UserWarning,
                    stacklevel=5,
                )

    def _advice(self, kind: str) -> str:
        """Return what to change, by the parameters that this estimator has."""
        parameters = self.get_params(deep=False)
        changes = [
            f"{verb} {name} (now {parameters[name]!r})"
            for name, verb in _ADVICE[kind].items()
            if name in parameters and not (verb == "set" and parameters[name] is not None)
        ]
        text = " or ".join(changes) or "standardise X"
        return f"{text[0].upper()}{text[1:]}."

    def _warn_about_scale(self, reader: RowReader) -> None:
        mean_square = float(reader.slice(0, min(len(reader), ROWS_PER_CHUNK)).square().mean())
        low, high = self._MEAN_SQUARE_RANGE
        if not low <= mean_square <= high:
            warnings.warn(
                f"{type(self).__name__}: the mean square of X is {mean_square:.3g}, but {self._SCALE_DEPENDENT} "
                "assume about 1. Standardise X, e.g. with skvardict.preprocessing.GlobalStandardizer.",
                UserWarning,
                stacklevel=4,
            )

    def _model(self, device: torch.device, dtype: torch.dtype | None = None):
        """Return the model with the fitted parameters, rebuilt where it is not at hand."""
        check_is_fitted(self)
        cached, key = _live.get(self), (device, dtype)
        # Parameters may have been set since, e.g. those of the solver: what is rebuilt must not depend on the cache.
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        if cached is None or cached[1] != key or not _is_same(cached[0], public):
            model = self._build_model(self.n_features_in_, make_generator(0))
            with torch.no_grad():
                for part, module in model.modules().items():
                    prefix = f"{part}."
                    state = {
                        name.removeprefix(prefix): torch.from_numpy(np.array(array))
                        for name, array in self.params_.items()
                        if name.startswith(prefix)
                    }
                    self._check_shapes(part, module, state)
                    module.to(dtype=dtype or next(iter(state.values())).dtype).load_state_dict(state)
                    module.to(device).requires_grad_(False).eval()
            cached = (public, key, model)
            _live[self] = cached
        return cached[2]

    def _check_shapes(self, part: str, module: torch.nn.Module, state: dict[str, Tensor]) -> None:
        """Raise a ValueError where the parameters no longer describe the fitted model."""
        built = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        fitted = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if built != fitted:
            name = next(name for name in sorted({*built, *fitted}) if built.get(name) != fitted.get(name))
            raise ValueError(
                f"{type(self).__name__}: {part}.{name} was fitted with shape {fitted.get(name)}, but parameters set "
                f"since then describe {built.get(name)}. Set them back, or fit anew."
            )

    @abstractmethod
    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return codes, iterations and convergence (None: no solver ran) of a block of rows."""

    def _encode(self, X, out=None) -> Encoding:
        device, dtype = resolve_device(self.device, X), torch_dtype(X)
        model = self._model(device, dtype)
        codes = _new_rows(X, self._n_features_out, dtype) if out is None else _check_out(self, X, out)
        n_iter, converged = _new_rows(X, None, torch.int64), _new_rows(X, None, torch.bool)
        n_iter[:], converged[:] = 0, True
        pages = MappedPages(codes)
        reader = RowReader(X, device, dtype)
        for rows, (part, part_n_iter, part_converged) in _in_chunks(
            self, reader, lambda block: self._encode_block(model, block)
        ):
            codes[rows] = _like(codes, part)
            pages.count(part.nbytes)
            if part_n_iter is not None and part_converged is not None:
                n_iter[rows], converged[rows] = _like(n_iter, part_n_iter), _like(converged, part_converged)
        n_unconverged = int((~converged).sum())
        if n_unconverged:
            warnings.warn(
                f"{type(self).__name__}: the solver did not converge on {n_unconverged} of {len(codes)} rows. "
                "Raise max_iter or tol of solver=.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return Encoding(codes, n_iter, converged)

    def _decode(self, codes):
        device, dtype = resolve_device(self.device, codes), torch_dtype(codes)
        decoder = self._model(device, dtype).decoder
        X = _new_rows(codes, self.n_features_in_, dtype)
        for rows, part in _in_chunks(self, RowReader(codes, device, dtype, "codes"), decoder):
            X[rows] = _like(X, part)
        return X


def _in_chunks(estimator, reader: RowReader, compute: Callable[[Tensor], Any]) -> Iterator[tuple[slice, Any]]:
    """Yield ``(rows, compute(those rows))`` over all rows; where a GPU's memory does not suffice, in smaller chunks."""
    bounds = batch_bounds(len(reader), ROWS_PER_CHUNK)
    chunks = deque(slice(*pair) for pair in pairwise(bounds))
    limit = ROWS_PER_CHUNK
    while chunks:
        rows = chunks.popleft()
        n_rows = rows.stop - rows.start
        if n_rows > limit:
            middle = rows.start + n_rows // 2
            chunks.extendleft([slice(middle, rows.stop), slice(rows.start, middle)])
            continue
        try:
            with torch.no_grad():
                result = compute(reader.slice(rows.start, rows.stop))
        except torch.OutOfMemoryError:
            if n_rows == 1:
                raise
            if limit == ROWS_PER_CHUNK:
                warnings.warn(
                    f"{type(estimator).__name__}: no memory on {reader.device} for chunks of {n_rows} rows; going on "
                    "with smaller ones. Free memory there, or use device='cpu'.",
                    UserWarning,
                    stacklevel=4,
                )
            limit = n_rows // 2
            chunks.appendleft(rows)
            continue
        yield rows, result


def _is_same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(value is second[name] for name, value in first.items())


def _new_rows(like, n_columns: int | None, dtype: torch.dtype):
    """Return uninitialised rows, as many as `like` has and in its kind of container."""
    shape = (like.shape[0],) if n_columns is None else (like.shape[0], n_columns)
    if isinstance(like, Tensor):
        return torch.empty(shape, dtype=dtype, device=like.device)
    return torch.empty(shape, dtype=dtype).numpy()


def _like(container, part: Tensor):
    """Return `part` in the kind of `container`."""
    return part if isinstance(container, Tensor) else part.cpu().numpy()


def _check_out(estimator, X, out):
    expected = (X.shape[0], estimator._n_features_out)
    same_kind = isinstance(out, Tensor) == isinstance(X, Tensor) and isinstance(out, Tensor | np.ndarray)
    if not same_kind or tuple(out.shape) != expected:
        kind = "a tensor" if isinstance(X, Tensor) else "an array"
        raise ValueError(
            f"{type(estimator).__name__}.transform expects out to be {kind} of shape {expected}, but got "
            f"{type(out).__name__} of shape {getattr(out, 'shape', None)}."
        )
    is_writeable = isinstance(out, Tensor) or out.flags.writeable
    if not is_writeable or not (out.is_floating_point() if isinstance(out, Tensor) else out.dtype.kind == "f"):
        raise ValueError(
            f"{type(estimator).__name__}.transform cannot write codes into out, of {out.dtype} and "
            f"{'' if is_writeable else 'not '}writeable. Pass writeable floating point numbers."
        )
    return out


def _check_codes(estimator, codes):
    if not isinstance(codes, Tensor):
        codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != estimator._n_features_out:
        raise ValueError(
            f"{type(estimator).__name__}.inverse_transform expects codes of shape (n_samples, "
            f"{estimator._n_features_out}), but got {tuple(codes.shape)}. Pass what transform returns."
        )
    is_real = not codes.is_complex() if isinstance(codes, Tensor) else codes.dtype.kind in "biuf"
    if not is_real:
        raise ValueError(
            f"{type(estimator).__name__}.inverse_transform expects real numbers, but codes are of {codes.dtype}. Pass "
            "what transform returns."
        )
    return codes
