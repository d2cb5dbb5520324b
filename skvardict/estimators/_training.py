"""The training call that `fit`, `fit_stream` and `partial_fit` share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch

from skvardict._sklearn import epoch_hooks
from skvardict._utils import ranks
from skvardict._utils.defaults import caller_settings, with_defaults
from skvardict._utils.messages import say
from skvardict._utils.parameters import check_count
from skvardict._utils.random import draw_seed, make_generator
from skvardict._utils.state import Draft
from skvardict.estimators._agreement import agreed_rows
from skvardict.estimators._identity import fit_identity
from skvardict.estimators._messages import Watch, describe_end
from skvardict.rows import Rows, Stream
from skvardict.training import Checkpoint, Outcome, TrainingPlan, TrainingSession, train


@contextmanager
def fitting(estimator) -> Iterator[Draft]:
    """Give a copy to fit, with gradients on, whatever the caller's mode; a fit that fails changes nothing.

    Processes that the user has put together with :func:`skvardict.distributed.data_parallel` fit together inside.
    """
    with torch.inference_mode(False), torch.enable_grad(), ranks.together():
        yield Draft(estimator)


def run_training(
    draft: Draft,
    rows: Rows | Stream,
    plan: TrainingPlan,
    *,
    continued: bool,
    X_val=None,
    holds_out: bool = False,
    seen: tuple[Any, Any] = (None, None),
    saving: tuple[Any, int] = (None, 1),
) -> None:
    """Train an estimator on `rows` and store what was fitted.

    Parameters
    ----------
    draft : Draft
    rows : Rows or Stream
    plan : TrainingPlan
    continued : bool
        Whether to go on from the estimator's training state.
    X_val : array-like or Tensor, optional
        Rows on which the best epoch is chosen.
    holds_out : bool
        Whether a part of `rows` has that purpose where there is no `X_val`.
    seen : tuple
        X and y as they were given, for scikit-learn's callbacks.
    saving : tuple
        `checkpoint` and `checkpoint_every` of `fit`.
    """
    estimator = draft.copy
    validation = agreed_rows(estimator, lambda: _validation_rows(estimator, X_val, rows.first), "X_val")
    own_seed = draw_seed(estimator.random_state)
    seed = ranks.from_first(lambda: own_seed)
    saved = ranks.from_first(
        lambda: _open_checkpoint(estimator, rows, plan, validation, seed, *saving, continued=continued)
    )
    if saved is not None:
        seed = saved.seed
    if holds_out and validation is None and isinstance(rows, Rows):
        # Of a generator of its own: with an integer as random_state, a continued fit holds out the same rows again.
        rows, validation = rows.split(estimator._n_held_out(len(rows)), make_generator(seed))
    session = open_session(estimator, rows, plan, continued=continued, seed=seed)
    # A call of partial_fit is one of many on a stream, which says what is wrong once.
    goes_on = continued and plan.schedule_epochs is not None
    watch = Watch(draft.original, session.history, plan.max_epochs, goes_on=goes_on)
    _run(draft, session, plan, rows, validation, seen, saved, watch)


def _validation_rows(estimator, X_val, first: Rows) -> Rows | None:
    if X_val is None:
        return None
    return Rows.check_columns(estimator, X_val, "X_val").to(first.device, first.dtype)


def _open_checkpoint(
    estimator, rows, plan: TrainingPlan, validation, seed: int, path, every, *, continued: bool
) -> Checkpoint | None:
    if path is None:
        return None
    check_count("checkpoint_every", every)
    first, X_val = rows.first, None if validation is None else validation.seen
    identity = fit_identity(estimator, first.seen, X_val, first.device, estimator._train_state if continued else None)
    if isinstance(rows, Stream):
        identity["stream"] = f"buffer_rows={rows.buffer_rows}"
    if not isinstance(estimator.max_iter, str) and not estimator._follows_length(plan):
        del identity["max_iter"]
    saved = Checkpoint(path, int(every), identity, seed, plan.max_epochs)
    if saved.resumed_epoch:
        say(f"[{type(estimator).__name__}] resumed after epoch {saved.resumed_epoch} from {path}")
    return saved


def open_session(estimator, rows: Rows | Stream, plan: TrainingPlan, *, continued: bool, seed: int) -> TrainingSession:
    """Return a session of fresh parts, or one that goes on from the estimator's training state."""
    generator = make_generator(seed)
    model = estimator._build_model(rows.first.n_features, generator)
    objective = estimator._build_objective(model, rows.mean_batch_size(plan.batch_size), plan)
    for module in objective.modules().values():
        module.to(device=rows.first.device, dtype=rows.first.dtype)
    if not continued:
        # From the rows that the model will be trained on, not from those held out.
        estimator._initialize(model, rows.first, generator)
        objective.constrain_()
    from_builders = callable(estimator.decoder) or callable(estimator.encoder)
    session = TrainingSession(objective, estimator._optimizer(plan), generator, draws_globally=from_builders)
    if continued:
        session.load_arrays(estimator._train_state)
        session.history = {name: list(values) for name, values in estimator.history_.items()}
        session.kept = estimator.params_, estimator.best_epoch_
    if ranks.current() is not None:  # builders of users may draw as they like
        session.to_common_arrays()
    return session


def _run(
    draft: Draft, session: TrainingSession, plan: TrainingPlan, rows, validation, seen, saved, watch: Watch
) -> None:
    X, y = seen
    resumed_epoch = 0 if saved is None else saved.resumed_epoch
    fitted = with_defaults(lambda: _attributes(draft, session, resumed_epoch))
    with caller_settings(), ranks.alone():
        after_epoch, after_fit = epoch_hooks(draft.original, X, y, plan.max_epochs, fitted)

    def on_epoch(session: TrainingSession) -> bool:
        watch.after_epoch(session)
        with caller_settings():
            return after_epoch()

    outcome = train(session, plan, rows, validation, on_epoch, saved)
    end_training(draft, session, outcome, watch, after_fit)
    draft.original._look_at_codes(rows.first, plan, watch)


def end_training(
    draft: Draft, session: TrainingSession, outcome: Outcome, watch: Watch, after_fit: Callable[[], None] = lambda: None
) -> None:
    """Store what was fitted; warn of what is wrong with it, or raise what ended the run."""
    is_first = outcome.interrupted and session.n_epochs == 0 and "params_" not in vars(draft.copy)
    if outcome.n_new_epochs > 0 or is_first:
        draft.copy._store(session, outcome)
        draft.publish()
    if outcome.error is not None:
        outcome.error.add_note(describe_end(draft.copy, session, outcome))
        raise outcome.error
    with caller_settings(), ranks.alone():
        after_fit()
    watch.at_end(session, outcome)


def _attributes(draft: Draft, session: TrainingSession, resumed_epoch: int) -> dict[str, Any]:
    """Return the fitted attributes that the estimator would have with the weights of the last epoch."""
    fitted = copy(draft.copy)
    outcome = Outcome(session.snapshot(), session.n_epochs, n_new_epochs=session.n_epochs, resumed_epoch=resumed_epoch)
    fitted._store(session, outcome)
    fitted.history_ = {name: list(values) for name, values in session.history.items()}  # the session's will grow
    before = vars(draft.original)
    return {name: value for name, value in vars(fitted).items() if value is not before.get(name)}
