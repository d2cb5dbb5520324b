"""What all estimators that learn share: `fit`, `fit_stream`, `partial_fit` and `save`."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skvardict._sklearn import CALLBACKS_OF_A_FIT, CallbackSupportMixin, checks_parameters
from skvardict._utils.parameters import Part, check_count
from skvardict._utils.state import set_at_once, without_times
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.estimators._agreement import agreed_rows
from skvardict.estimators._coding import FittedCoder
from skvardict.estimators._fields import CoderParameters
from skvardict.estimators._files import save
from skvardict.estimators._fitted import replaced_params
from skvardict.estimators._looks import look_again, look_at_batch, look_at_rows, look_at_targets, look_first
from skvardict.estimators._messages import Watch
from skvardict.estimators._training import fitting, run_training
from skvardict.networks import Linear
from skvardict.rows import Chunks, ChunkSource, Rows, Stream
from skvardict.training import EarlyStopping, Outcome, TrainingPlan, TrainingSession
from skvardict.training.history import last_count
from skvardict.training.online import forget_sums
from skvardict.training.schedules import depends_on_length
from skvardict.training.session import to_numpy

_FEWEST_VALIDATION_ROWS = 20


class BaseCoder(CoderParameters, CallbackSupportMixin, FittedCoder):
    """Base of all estimators that learn; a subclass says which parts it assembles."""

    _train_state: dict[str, np.ndarray]
    _AUTO_OPTIMIZER: ClassVar[Any]  # what optimizer="auto" stands for
    # Words of messages, and what they are about.
    _DIVERGENCE_ADVICE = (
        "Lower the learning rate of optimizer=, use solver=FISTA(step_size='auto'), and check that X has a mean square "
        "of about 1."
    )
    _SPARSITY_PARAMETER = "alpha"
    _SCALE_DEPENDENT = "alpha and step sizes"
    _MEAN_SQUARE_RANGE = (0.1, 10.0)
    _NEEDS_ROWS = "One row says nothing about what rows have in common."

    def _rows(self, X) -> Rows:
        rows = super()._rows(X)
        look_again(self, rows)
        return rows

    def _look_at_codes(self, rows: Rows, plan: TrainingPlan, watch: Watch) -> None:
        """Warn where the codes that `transform` returns are not those that the model was trained on."""

    def _models_means(self) -> bool:
        """Return whether column means of X that are not zero do no harm."""
        return False

    @abstractmethod
    def _build_objective(self, model, batch_rows: float, plan: TrainingPlan):
        """Return what trains `model` by `plan`, on batches of `batch_rows` rows on average."""

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        """Set first parameters that depend on the data; called once, before training."""

    @checks_parameters
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        X_val: ArrayLike | None = None,
        checkpoint: FilePath | None = None,
        checkpoint_every: int = 1,
    ) -> Self:
        """Learn decoder and encoder from the rows of `X`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Entries of mean square about 1; see :class:`skvardict.preprocessing.GlobalStandardizer`.
        y : ignored
            It is not learnt, whatever its shape; :meth:`score`, and searches by it, compare with it. One of the shape
            of `X` is warned about.
        X_val : array-like or Tensor of shape (n_validation, n_features), optional
            Rows on which the best epoch is chosen; by default a part of `X`, if `early_stopping`.
        checkpoint : path, optional
            A file that the state of the run is written to. Where it exists, the run goes on from it, and ends as if it
            had never been stopped: bitwise, on a CPU with the same number of threads. The file before it is kept as
            ``<checkpoint>.previous``. A larger `max_iter` adds epochs to a finished run, unless rates or weights follow
            a schedule over all epochs, as in the automatic fit of models with an encoder.
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
            If `checkpoint` belongs to other data, parameters or versions, or another fit writes there meanwhile; the
            message says what differs, and who writes.
        DamagedFileError
            If `checkpoint` is damaged, hostile or no file, and there is no earlier one. A ValueError.
        TrainingDivergedError
            If a loss becomes NaN or infinite. What was fitted before, or the last good epoch, is kept.
        KeyboardInterrupt
            After Ctrl-C, so that loops and grids stop too. The last whole epoch is kept: the estimator can be used.
        """
        with fitting(self) as draft:
            coder = draft.copy
            continued = coder.warm_start and hasattr(coder, "_train_state")
            rows = agreed_rows(coder, lambda: Rows.check(coder, X, reset=not continued))
            look_at_rows(self, rows)
            look_at_targets(self, X, y)
            saving, plan = (checkpoint, checkpoint_every), coder._plan(len(rows))
            run_training(
                draft, rows, plan, continued=continued, X_val=X_val, holds_out=True, seen=(X, y), saving=saving
            )
        return self

    @checks_parameters
    def fit_stream(
        self,
        chunks: Chunks,
        *,
        X_val: ArrayLike | None = None,
        buffer_rows: int = 10_000,
        checkpoint: FilePath | None = None,
        checkpoint_every: int = 1,
    ) -> Self:
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
            A torch ``DataLoader`` is such an iterable: its batches may be tensors, lists of one tensor (as from a
            ``TensorDataset``), or rows with one-dimensional labels, which are ignored as `y` is in :meth:`fit`.
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
        if self._plan(0).max_epochs > 1 and not source.is_repeatable:
            raise ValueError(
                f"{type(self).__name__}.fit_stream got an iterator, which can be read once, but max_iter="
                f"{self.max_iter!r} epochs read the stream as often. Pass a list, a function that returns a new "
                "iterator, or max_iter=1."
            )
        check_count("buffer_rows", buffer_rows)
        with fitting(self) as draft:
            coder = draft.copy
            continued = coder.warm_start and hasattr(coder, "_train_state")
            rows = agreed_rows(coder, lambda: coder._stream(source, int(buffer_rows), reset=not continued))
            look_first(self, rows.first)
            saving = (checkpoint, checkpoint_every)
            run_training(draft, rows, coder._plan(0), continued=continued, X_val=X_val, saving=saving)
        return self

    @checks_parameters
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Update the model with one pass over the rows of `X`, in batches of `batch_size`.

        `early_stopping` and validation play no part; `n_steps_` counts the updates. Every call counts as an epoch: in
        `history_`, and for schedules and warm-ups measured in `max_iter` epochs. For a
        stream without an end, pass chunks of many batches, and turn schedules off. A call costs milliseconds whatever
        the number of rows, and the hinge acts on deviations over them: collect 32 rows or more.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : estimator
        """
        with fitting(self) as draft:
            coder = draft.copy
            continued = hasattr(coder, "_train_state")
            rows = agreed_rows(coder, lambda: Rows.check(coder, X, reset=not continued))
            plan = coder._plan(len(rows))
            plan = replace(plan, max_epochs=1, schedule_epochs=plan.max_epochs)
            look_again(self, rows)
            look_at_batch(self, rows.mean_batch_size(plan.batch_size))
            run_training(draft, rows, plan, continued=continued, seen=(X, y))
        return self

    def _stream(self, source: ChunkSource, buffer_rows: int, *, reset: bool) -> Stream:
        first = Rows.check(self, source.first(), reset=reset)
        return Stream(source, first, lambda chunk: Rows.check(self, chunk, reset=False), buffer_rows)

    def load_modules(self, *, decoder: nn.Module | None = None, encoder: nn.Module | None = None) -> Self:
        """Take the weights of a decoder or an encoder that was trained elsewhere, in a torch loop for instance.

        From then on `transform`, `save`, `partial_fit` and all else use them. They are taken as they are: a norm or a
        sign that the parameters ask of atoms is brought about by the next update. The moments of a gradient optimiser
        go on; sums of :class:`~skvardict.training.OnlineUpdate` over earlier codes are forgotten.

        Parameters
        ----------
        decoder, encoder : Module, optional
            What `decoder_` and `encoder_` returned, or modules with weights of the same names and shapes, on any device
            and of any floating point type. They are copied. None leaves a part as it is.

        Returns
        -------
        self : estimator

        Raises
        ------
        NotFittedError
            Before the first fit.
        ValueError
            If names or shapes differ from those of the fitted part, a weight is not finite, or there is no such part.

        Examples
        --------
        >>> import numpy as np
        >>> import torch
        >>> from skvardict import StandardDictionaryLearning
        >>> X = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
        >>> model = StandardDictionaryLearning(4, max_iter=2, random_state=0).fit(X)
        >>> encoder, rows = model.encoder_.requires_grad_(), torch.from_numpy(X)
        >>> optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
        >>> torch.nn.functional.mse_loss(model.decoder_(encoder(rows)), rows).backward()
        >>> optimizer.step()
        >>> bool((model.load_modules(encoder=encoder).transform(rows) == encoder(rows)).all())
        True
        """
        given = {name: part for name, part in (("decoder", decoder), ("encoder", encoder)) if part is not None}
        check_is_fitted(self)
        params = replaced_params(self, given)
        state = forget_sums(self._train_state) if given else self._train_state
        state = {**state, **{f"params.{name}": array for name, array in params.items()}}
        set_at_once(self, {"params_": params, "_train_state": state})
        return self

    def save(self, path: FilePath) -> None:
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

    def _store(self, session: TrainingSession, outcome: Outcome) -> None:
        """Set the fitted attributes."""
        self.params_ = to_numpy(outcome.params)
        self.history_ = session.history
        self.n_iter_ = max(session.n_epochs, 1)
        self.n_steps_ = session.n_steps
        self.best_epoch_ = outcome.best_epoch
        self.resumed_epoch_ = outcome.resumed_epoch
        self.n_dead_ = last_count(session.history, "n_dead")
        self._train_state = session.to_arrays()

    def __getstate__(self) -> dict[str, Any]:
        """Return a copy of the attributes, without those in which scikit-learn's callbacks come and go during a fit."""
        state = dict(vars(self))
        return {name: value for name, value in state.items() if name not in CALLBACKS_OF_A_FIT}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Leave out of ``joblib.hash``, which asks for protocol 3, how long a fit took: equal fits have one hash.

        Pickles, of protocol 4 since Python 3.8, have the seconds.
        """
        reduced = super().__reduce_ex__(protocol)
        if protocol > 3 or not isinstance(reduced, tuple) or not isinstance(reduced[2], dict):
            return reduced
        return (*reduced[:2], without_times(reduced[2]), *reduced[3:])

    # --- parameters of training ---------------------------------------------------------------------------------------

    def _plan(self, n_rows: int) -> TrainingPlan:
        """Return the budget for so many rows; 0 where nobody knows."""
        return TrainingPlan(int(self.batch_size), int(self.max_iter), self._early_stopping())

    def _early_stopping(self) -> EarlyStopping | None:
        if not isinstance(self.early_stopping, EarlyStopping):
            return EarlyStopping() if self.early_stopping else None
        self.early_stopping.check()
        return self.early_stopping

    def _schedules(self) -> dict[str, Any]:
        """Return what the model schedules by itself."""
        return {}

    def _follows_length(self, plan: TrainingPlan) -> bool:
        """Return whether rates or weights follow `max_iter`, so that a longer run differs from its first step on."""
        optimizer = self._optimizer(plan)
        if not isinstance(optimizer, Part):
            return True
        schedules = [*optimizer.get_params().values(), *self._schedules().values()]
        return any(depends_on_length(schedule) for schedule in schedules if callable(schedule))

    def _is_linear(self) -> bool:
        """Return whether the decoder is a dictionary."""
        return self.decoder == "linear" or isinstance(self.decoder, Linear)

    def _optimizer(self, plan: TrainingPlan) -> Any:
        """Return the optimiser part; "auto" is the estimator's own."""
        return self._AUTO_OPTIMIZER if isinstance(self.optimizer, str) else self.optimizer

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

    def _check_atom_norm(self, decoder: torch.nn.Module) -> None:
        """Raise a ValueError where `decoder` has no atoms that `atom_norm` could act on."""
        norm = getattr(self, "atom_norm", None)
        if norm is not None and not hasattr(decoder, "atom_matrices"):
            raise ValueError(
                f"{type(self).__name__}: atom_norm={norm} needs a linear or MLP decoder, but decoder="
                f"{self.decoder!r}. Use atom_norm=None."
            )
