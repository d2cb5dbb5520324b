"""The one training loop: shuffle, and for every batch backward, step, constrain.

Randomness comes from the session's generator alone. Sums for the history stay on the device until the epoch
ends. After every epoch the validation energy decides which parameters are the best so far.

Several processes may run it together, each with its part of every batch (:mod:`skvardict._utils.ranks`). They make the
same steps and have the same history, so that they also end together.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from time import perf_counter

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict._utils.random import private_global_generator
from skvardict.functional import mean_square, to_host
from skvardict.functional.graphs import forget_graphs
from skvardict.rows import Rows, Stream
from skvardict.training.checkpoint import Checkpoint
from skvardict.training.early_stopping import EarlyStopping
from skvardict.training.history import Patience, append_epoch
from skvardict.training.protocol import Sums, add_sums
from skvardict.training.session import TrainingPlan, TrainingSession

_EXPLOSION = 100  # times the best energy of the run, and the energy of a reconstruction that is zero


OnEpoch = Callable[[TrainingSession], bool]


class TrainingDivergedError(ArithmeticError):
    """A loss became NaN or infinite, or exploded; the estimator keeps the last good epoch, if there was one."""


@dataclass
class Outcome:
    """How a run ended.

    Attributes
    ----------
    params : dict of Tensor
        The best parameters on the validation energy, or the last where there is no validation data.
    best_epoch : int
        Number of the epoch (counted from 1 over the whole session) that `params` come from.
    stopped_early : bool
    diverged : str or None
        What became non-finite or exploded, and where. The session then holds the last good epoch.
    n_new_epochs : int
        Complete epochs of this run, those before it was resumed included.
    is_finished : bool
        Whether the run came to its end, and a checkpoint of it needs no continuation.
    resumed_epoch : int
        Epoch of the checkpoint that the run continued from; 0 where it began anew.
    error : BaseException or None
        What else ended the run: Ctrl-C, or after complete epochs an error, e.g. rows that cannot be read. To be raised
        again when the state is stored.
    """

    params: dict[str, Tensor]
    best_epoch: int
    n_new_epochs: int = 0
    stopped_early: bool = False
    diverged: str | None = None
    is_finished: bool = False
    resumed_epoch: int = 0
    error: BaseException | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run."""
        return isinstance(self.error, KeyboardInterrupt)


def train(
    session: TrainingSession,
    plan: TrainingPlan,
    rows: Rows | Stream,
    validation: Rows | None = None,
    on_epoch: OnEpoch = lambda session: False,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Run up to ``plan.max_epochs`` epochs.

    Parameters
    ----------
    session : TrainingSession
        Modified in place; ends at the state of the last good epoch, where there is one.
    plan : TrainingPlan
    rows : Rows or Stream
        Training rows.
    validation : Rows or None
        Rows on which the best epoch is chosen.
    on_epoch : callable
        Called after every epoch; a true result ends the run.
    checkpoint : Checkpoint or None
        Continued where it holds a state, and written as the run goes on.

    Returns
    -------
    Outcome
    """
    stopping = plan.early_stopping or EarlyStopping()
    patience = Patience(stopping.n_iter_no_change, stopping.tol)
    outcome = Outcome(session.snapshot(), session.n_epochs)
    resumed = checkpoint is not None and checkpoint.restore(session, patience, outcome)
    if validation is not None and session.n_epochs > 0 and not resumed:
        # A continued run competes with what it starts from: the last state of the run before, and its best.
        patience.update(_choose_start(session, validation, plan, outcome))
    rows, validation = rows.at_hand(), None if validation is None else validation.at_hand()
    last_good = session.to_arrays()
    try:
        while not outcome.is_finished:
            try:
                outcome.diverged = _run_epoch(session, plan, rows, validation, _best_energy(session, outcome))
            except torch.linalg.LinAlgError as error:  # of weights whose products are not finite
                outcome.diverged = (
                    f"a system of equations could not be solved in epoch {session.n_epochs + 1} ({error})"
                )
            if outcome.diverged is not None:
                session.load_arrays(last_good)
                break
            last_good = session.to_common_arrays()
            _end_epoch(session, plan, outcome, patience if validation is not None else None, on_epoch)
            if checkpoint is not None:
                ranks.from_first(partial(checkpoint.end_epoch, last_good, session.history, patience, outcome))
    except KeyboardInterrupt as interrupt:
        outcome.error = interrupt
        if last_good["counters"][0] > 0:
            session.load_arrays(last_good)
            session.cut_history()
        else:  # better a state trained on half an epoch than none
            outcome.params = session.snapshot()
    except Exception as error:
        if outcome.n_new_epochs == 0:
            raise
        session.load_arrays(last_good)
        session.cut_history()
        outcome.error = error
    finally:
        forget_graphs(of_modules=True)
    return outcome


def _best_energy(session: TrainingSession, outcome: Outcome) -> float:
    """Return the lowest energy of the epochs of this run."""
    return min(session.history["energy"][-outcome.n_new_epochs :] if outcome.n_new_epochs else [], default=inf)


def _end_epoch(
    session: TrainingSession, plan: TrainingPlan, outcome: Outcome, patience: Patience | None, on_epoch: OnEpoch
) -> None:
    """Keep the state after a good epoch, where it is the best, and decide whether the run ends; None: no validation."""
    outcome.n_new_epochs += 1
    if patience is None or _is_best(session, patience):
        outcome.params, outcome.best_epoch = session.snapshot(), session.n_epochs
    stops = ranks.any_of(ranks.agreed(lambda: _ask(on_epoch, session)))
    may_stop = not stops and patience is not None and plan.early_stopping is not None
    outcome.stopped_early = may_stop and patience is not None and patience.is_exhausted
    outcome.is_finished = stops or outcome.stopped_early or outcome.n_new_epochs >= plan.max_epochs


def _is_best(session: TrainingSession, patience: Patience) -> bool:
    """Take the validation energy of the last epoch; return whether it counts as the best so far.

    It does, too, where the weights of the energy move: a lower one may be one of other weights.
    """
    is_comparable = session.objective.is_comparable
    counts = session.steps.is_settled and is_comparable
    return patience.update(session.history["validation_energy"][-1], counts=counts) or not is_comparable


def _choose_start(session: TrainingSession, validation: Rows, plan: TrainingPlan, outcome: Outcome) -> float:
    """Set the outcome to the better of the session's state and that kept by the run before; return its energy."""
    energy = _evaluate(session, validation, plan.batch_size)["validation_energy"]
    if session.kept is None:
        return energy
    (kept, epoch), last = session.kept, outcome.params
    session.load_snapshot({name: torch.tensor(array) for name, array in kept.items()})
    kept_energy = _evaluate(session, validation, plan.batch_size)["validation_energy"]
    if kept_energy < energy:
        outcome.params, outcome.best_epoch = session.snapshot(), epoch
    session.load_snapshot(last)
    return min(energy, kept_energy)


def _run_epoch(
    session: TrainingSession, plan: TrainingPlan, rows: Rows | Stream, validation: Rows | None, best_energy: float
) -> str | None:
    """Train one epoch and record it; return what became non-finite or exploded, or None."""
    begin = perf_counter()
    sums: Sums = {}
    n_rows, n_expected = 0, _rows_per_epoch(session, rows)
    for index, batch in enumerate(rows.shuffled(plan.batch_size, session.generator)):
        session.advance(min(n_rows / n_expected, 1.0) if n_expected else 0.5, plan.n_scheduled)
        losses = _step(session, batch, sums)
        n_rows += ranks.n_rows(len(batch))
        # On a GPU asking would wait for every batch, and others would have to be told; the sums of the epoch carry a
        # NaN just as well.
        is_cheap = batch.device.type == "cpu" and ranks.current() is None
        if is_cheap and not all(isfinite(loss.detach()) for loss in losses.values()):
            return _divergence(session, index, losses)
    entries = _summarize(session, sums, validation=False)
    problem = _find_divergence(session, entries, losses, batch, best_energy)
    if problem is not None:
        return problem
    if validation is not None:
        entries |= _evaluate(session, validation, plan.batch_size)
    entries |= {"decoder_norm": session.decoder_norm(), "n_rows": n_rows}
    seconds = ranks.from_first(lambda: perf_counter() - begin)
    return _record(session, entries, session.find_non_finite(), seconds)


def _find_divergence(
    session: TrainingSession, entries: dict[str, float], losses: dict[str, Tensor], batch: Tensor, best_energy: float
) -> str | None:
    """Return what became non-finite or exploded in an epoch with `entries`, `losses` and `batch` being the last."""
    if not all(isfinite(value) for value in entries.values()):
        return _divergence(session, None, losses)
    if entries["energy"] > _EXPLOSION * best_energy:
        size = mean_square(batch)
        if entries["energy"] > _EXPLOSION * size:
            return (
                f"the energy rose to {entries['energy']:.3g} in epoch {session.n_epochs + 1}, from {best_energy:.3g} "
                f"at best (a reconstruction of zeros has {size:.3g})"
            )
    return None


def _record(session: TrainingSession, entries: dict[str, float], problem: str | None, seconds: float) -> str | None:
    """Append an epoch to the history, or return what became non-finite in it: `problem`, or the validation energy."""
    if problem is None and not isfinite(entries.get("validation_energy", 0.0)):
        problem = "the validation energy"
    if problem is not None:
        return f"{problem} became non-finite in epoch {session.n_epochs + 1}"
    session.n_epochs += 1
    append_epoch(session.history, {"epoch": session.n_epochs, **entries, **session.steps.report(), "seconds": seconds})
    return None


def _rows_per_epoch(session: TrainingSession, rows: Rows | Stream) -> float:
    """Return the rows of an epoch; 0 for a stream in its first pass, which nobody can know.

    Schedules stand at the middle of that epoch then: at its beginning a single pass would be all warm-up.
    """
    return len(rows) or session.history.get("n_rows", [0])[-1]


def _step(session: TrainingSession, batch: Tensor, sums: Sums) -> dict[str, Tensor]:
    with private_global_generator(session.generator) if session.draws_globally else nullcontext():
        made = session.objective.step(batch, session.generator)
        session.steps.step(made, batch, session.generator)
    session.objective.constrain_()
    session.n_steps += 1
    add_sums(sums, _held(made.sums, batch))
    return made.losses


def _evaluate(session: TrainingSession, validation: Rows, batch_size: int) -> dict[str, float]:
    sums: Sums = {}
    for _, batch in validation.slices(batch_size):
        add_sums(sums, _held(session.objective.evaluate(batch), batch))
    return _summarize(session, sums, validation=True)


def _summarize(session: TrainingSession, sums: Sums, *, validation: bool) -> dict[str, float]:
    """Return history entries from sums; those of all processes, which then decide alike."""
    sums = to_host(sums)
    if ranks.current() is not None:
        values = [torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in sums.values()]
        sums = dict(zip(sums, ranks.all_sums(*values), strict=True))
    entries = session.objective.summarize(sums, validation=validation)
    return ranks.from_first(lambda: entries)


def _ask(on_epoch: OnEpoch, session: TrainingSession) -> bool:
    with ranks.alone():
        return on_epoch(session)


def _held(terms: Sums, batch: Tensor) -> Sums:
    """Return the terms of a batch; zeros, where none of its rows is in this process: means are then not numbers."""
    if batch.shape[-2]:
        return terms
    return {name: torch.zeros_like(term) if isinstance(term, Tensor) else 0 for name, term in terms.items()}


def _divergence(session: TrainingSession, index: int | None, losses: dict[str, Tensor]) -> str:
    where = f"epoch {session.n_epochs + 1}" + ("" if index is None else f", batch {index + 1}")
    values = ", ".join(f"{name} {float(loss.detach()):.3g}" for name, loss in losses.items())
    return f"a loss became non-finite in {where} ({values})"
