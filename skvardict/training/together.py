"""Several runs as one: the loop of :mod:`skvardict.training.loop` over sessions of one architecture.

Every member has rows, generator, schedules, patience and history of its own, and ends as it would alone; one that
diverges or is done leaves, and the others go on. What they share is the program: a step is one call for all members
whose batches have the same number of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from skvardict.functional import to_device, to_host
from skvardict.functional.graphs import forget_graphs
from skvardict.rows import Rows
from skvardict.rows.batches import batch_slices
from skvardict.training.early_stopping import EarlyStopping
from skvardict.training.history import Patience
from skvardict.training.loop import (
    OnEpoch,
    Outcome,
    _best_energy,
    _divergence,
    _end_epoch,
    _find_divergence,
    _record,
)
from skvardict.training.protocol import Position, Sums
from skvardict.training.session import TrainingPlan, TrainingSession
from skvardict.training.stack import Stack


@dataclass
class Run:
    """One of the runs.

    Parameters
    ----------
    session : TrainingSession
        That begins anew; modified in place.
    plan : TrainingPlan
    rows : Rows
        Training rows; those of all members are rows of one X.
    validation : Rows or None
    on_epoch : callable
        As in :func:`train`.
    """

    session: TrainingSession
    plan: TrainingPlan
    rows: Rows
    validation: Rows | None
    on_epoch: OnEpoch

    def __post_init__(self):
        stopping = self.plan.early_stopping or EarlyStopping()
        self.patience = None if self.validation is None else Patience(stopping.n_iter_no_change, stopping.tol)
        self.outcome = Outcome(self.session.snapshot(), self.session.n_epochs)

        self.n_rows = len(self.rows)
        self.batches: list[Tensor] = []  # of the epoch, as numbers of rows of X
        self.validation_batches = [] if self.validation is None else _batches_in_order(self.validation, self.plan)
        self.validation_sizes = [len(batch) for batch in self.validation_batches]

    def begin_epoch(self) -> None:
        """Draw the order of the rows."""
        batches = self.rows.shuffled_order(self.plan.batch_size, self.session.generator)
        self.batches = [self.rows.numbers(batch) for batch in batches]
        self.sizes = [len(batch) for batch in batches]
        self.n_seen = 0

    def position(self) -> Position:
        """Return where the next step stands."""
        epoch = self.session.n_epochs + min(self.n_seen / self.n_rows, 1.0)
        return Position(self.session.n_steps, epoch, self.plan.n_scheduled)

    def end_step(self, batches: Tensor, losses: dict[str, Tensor], index: int) -> None:
        """Count the step, and keep what may have to be told of the last one."""
        self.session.n_steps += 1
        self.n_seen += batches.shape[1]
        if self.n_seen == self.n_rows:
            self.last = _of_member(losses, index), batches[index]


def train_together(runs: Sequence[Run]) -> list[Outcome]:
    """Train the sessions of `runs` as :func:`train` would one by one.

    Parameters
    ----------
    runs : sequence of Run
        Sessions of one architecture and, in an epoch, one number of batches. They run fastest where neighbours have
        equally many rows.

    Returns
    -------
    list of Outcome
        Those that were interrupted carry the error.

    Raises
    ------
    Exception
        What fails in the common program fails for all that have neither finished nor diverged by then.
    """
    _Training(runs).run()
    return [run.outcome for run in runs]


def _batches_in_order(rows: Rows, plan: TrainingPlan) -> list[Tensor]:
    """Return the numbers in X of `rows`, batch by batch."""
    return [rows.numbers(torch.arange(where.start, where.stop)) for where in batch_slices(len(rows), plan.batch_size)]


def _at(sizes: Sequence[int], number: int) -> int:
    """Return the size of a batch; 0 behind the last."""
    return sizes[number] if number < len(sizes) else 0


class _Training:
    """The runs that are still under way, in the order of the stack."""

    def __init__(self, runs: Sequence[Run]):
        self.runs = list(runs)
        self.stack = Stack([run.session for run in runs])
        self.rows = self.runs[0].rows.whole().at_hand()
        self.sums: Sums = {}
        self._remember()

    def run(self) -> None:
        """Run epoch after epoch until all are done."""
        try:
            while self.runs:
                self._run_epoch()
        except KeyboardInterrupt as interrupt:
            for index, run in enumerate(self.runs):
                if self.counters[index][0] > 0:
                    self._return_to_last_good(index)
                    run.session.cut_history()
                else:
                    run.outcome.params = run.session.snapshot()
                run.outcome.error = interrupt
            self._keep([])
        finally:
            forget_graphs(of_modules=True)

    def _remember(self) -> None:
        """Keep the state that a member returns to where it diverges."""
        self.last_good = self.stack.snapshot()
        self.counters = [(run.session.n_epochs, run.session.n_steps) for run in self.runs]
        self.generators = [run.session.generator.get_state() for run in self.runs]

    def _return_to_last_good(self, index: int) -> None:
        session = self.runs[index].session
        self.stack.restore(index, self.last_good)
        session.n_epochs, session.n_steps = self.counters[index]
        session.generator.set_state(self.generators[index])

    def _keep(self, indices: list[int]) -> None:
        """Let all runs go but those at `indices`."""
        if len(indices) == len(self.runs):
            return
        self.stack.keep(indices)
        kept = torch.tensor(indices, dtype=torch.long)
        for values in (self.last_good, self.sums):
            values.update({name: value[to_device(kept, value.device)] for name, value in values.items()})
        self.runs = [self.runs[index] for index in indices]
        self.counters = [self.counters[index] for index in indices]
        self.generators = [self.generators[index] for index in indices]

    def _fail(self, problems: dict[int, str]) -> None:
        """End the runs that diverged, at their last good epochs."""
        for index, problem in problems.items():
            self._return_to_last_good(index)
            self.runs[index].outcome.diverged = problem
        self._keep([index for index in range(len(self.runs)) if index not in problems])

    def _run_epoch(self) -> None:
        begin = perf_counter()
        for run in self.runs:
            run.begin_epoch()
        self.sums = {}
        number = 0
        while any(number < len(run.sizes) for run in self.runs):
            self._train_batches(number)
            number += 1
        entries = [
            run.session.objective.summarize(sums, validation=False)
            for run, sums in zip(self.runs, self._sums_of_members(), strict=True)
        ]
        problems: dict[int, str] = {}
        for index, run in enumerate(self.runs):
            best = _best_energy(run.session, run.outcome)
            problem = _find_divergence(run.session, entries[index], *run.last, best)
            if problem is not None:
                problems[index] = problem
        self._fail(problems)
        entries = [entry for index, entry in enumerate(entries) if index not in problems]
        self._evaluate(entries)
        self._end_epoch(entries, perf_counter() - begin)

    def _train_batches(self, number: int) -> None:
        """Make the step of the members' batches of this number."""
        problems: dict[int, str] = {}
        # Members in one call also have made equally many steps, which is what averages of gradients start from.
        keys = [(_at(run.sizes, number), run.session.n_steps) for run in self.runs]
        for some in self.stack.neighbours(keys):
            if keys[some.where.start][0] == 0:
                continue
            runs = self.runs[some.where]
            X = self._take([run.batches[number] for run in runs])
            positions = [run.position() for run in runs]
            generators = [run.session.generator for run in runs]
            some.objective.advance_to(positions)
            some.steps.advance(positions)
            made = some.objective.step(X, generators)
            some.steps.step(made, X, generators)
            some.objective.constrain_()
            self._add(some.where, made.sums)
            for index, run in enumerate(runs):
                run.end_step(X, made.losses, index)
            if X.device.type == "cpu":
                problems |= self._find_non_finite(some.where, number, made.losses)
        self._fail(problems)

    def _find_non_finite(self, where: slice, number: int, losses: dict[str, Tensor]) -> dict[int, str]:
        finite = torch.stack([loss.detach() for loss in losses.values()]).isfinite().all(0)
        if bool(finite.all()):
            return {}
        indices = (~finite).nonzero().squeeze(1).tolist()
        return {
            where.start + index: _divergence(self.runs[where.start + index].session, number, _of_member(losses, index))
            for index in indices
        }

    def _evaluate(self, entries: list[dict[str, float]]) -> None:
        """Add the entries of the validation rows."""
        self.sums = {}
        number = 0
        while any(number < len(run.validation_sizes) for run in self.runs):
            sizes = [_at(run.validation_sizes, number) for run in self.runs]
            for some in self.stack.neighbours(sizes):
                if sizes[some.where.start]:
                    X = self._take([run.validation_batches[number] for run in self.runs[some.where]])
                    self._add(some.where, some.objective.evaluate(X))
            number += 1
        for own, run, sums in zip(entries, self.runs, self._sums_of_members(), strict=True):
            if run.validation is not None:
                own |= run.session.objective.summarize(sums, validation=True)

    def _end_epoch(self, entries: list[dict[str, float]], seconds: float) -> None:
        """Record the epoch, and let those go that are done."""
        problems: dict[int, str] = {}
        each = zip(self.runs, entries, self.stack.are_finite(), self.stack.decoder_norms(), strict=True)
        for index, (run, entry, is_finite, norm) in enumerate(each):
            entry |= {"decoder_norm": norm, "n_rows": run.n_rows}
            problem = None if is_finite else run.session.find_non_finite()
            problem = _record(run.session, entry, problem, seconds / len(self.runs))
            if problem is not None:
                problems[index] = problem
        self._fail(problems)
        self._remember()
        for run in self.runs:
            _end_epoch(run.session, run.plan, run.outcome, run.patience, run.on_epoch)
        self._keep([index for index, run in enumerate(self.runs) if not run.outcome.is_finished])

    def _take(self, batches: Sequence[Tensor]) -> Tensor:
        """Return the rows of several batches of one size, (m, n, d)."""
        return self.rows.take(torch.cat(list(batches))).unflatten(0, (len(batches), -1))

    def _add(self, where: slice, terms: Sums) -> None:
        for name, term in terms.items():
            if name not in self.sums:
                like = term if isinstance(term, Tensor) else torch.zeros((), dtype=torch.float64)
                self.sums[name] = like.new_zeros(len(self.runs), *like.shape[1:])
            self.sums[name][where] += term

    def _sums_of_members(self) -> list[Sums]:
        sums = to_host(self.sums)
        return [_of_member(sums, index) for index in range(len(self.runs))]


def _of_member(values: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: value[index] for name, value in values.items()}
