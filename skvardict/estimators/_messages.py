"""What estimators say about a fit: trouble and what helps, collapse, divergence, progress."""

from time import perf_counter
from weakref import WeakKeyDictionary

from sklearn.exceptions import ConvergenceWarning

from skvardict._utils.messages import duration, say, warn
from skvardict.training import Outcome, TrainingDivergedError, TrainingSession
from skvardict.training.health import find_trouble, find_undertraining
from skvardict.training.history import History

# What helps against each kind of trouble, by name of the parameter.
_ADVICE = {
    "dead": {"alpha": "lower", "kl_weight": "lower", "beta": "raise", "optimizer": "lower the learning rate of"},
    "unpredicted": {"transform_algorithm": "set 'solver' as", "max_iter": "raise"},
    "shrinking": {"beta": "raise", "atom_norm": "set", "weight_decay": "raise"},
    "saturated": {"solver": "raise max_iter or tol of"},
    "outgrown": {"solver": "set step_size='auto' in"},
}
_LASTING_EPOCHS = 5  # what was wrong for so long is said during training, what is wrong at the end then
# Of the table of a verbose fit: title, width and format by name in the history. With times, it fits 80 columns.
_COLUMNS = {
    "energy": ("energy", 10, ".5g"),
    "validation_energy": ("val energy", 10, ".5g"),
    "validation_r2": ("val R^2", 7, ".4f"),
    "sparsity": ("zeros", 6, ".3f"),
    "n_dead": ("dead", 5, ".0f"),
}


class ProgressTable:
    """The lines of a verbose run of `n_epochs`, after `n_before` that its history has already."""

    def __init__(self, name: str, n_epochs: int, n_before: int):
        self.name, self.n_epochs, self.n_before = name, n_epochs, n_before
        self._begin, self._n_said = perf_counter(), 0

    def lines(self, history: History) -> list[str]:
        """Return the line of the last epoch, below a head where it is the first that is said.

        Epochs are counted within the run; a single pass, as of `partial_fit`, has its number in the history.
        """
        done, self._n_said = history["epoch"][-1] - self.n_before, self._n_said + 1
        elapsed = perf_counter() - self._begin
        left = elapsed / self._n_said * (self.n_epochs - done)
        columns = {name: column for name, column in _COLUMNS.items() if name in history}
        number = f"{done}/{self.n_epochs}" if self.n_epochs > 1 else f"{history['epoch'][-1]}"
        cells = [f"{number:>9}"]
        cells += [f"{history[name][-1]:>{width}{form}}" for name, (_, width, form) in columns.items()]
        cells += [f"{duration(elapsed):>7}", f"{duration(left):>6}"]
        if self._n_said > 1 or (self.n_epochs == 1 and self.n_before > 0):
            return ["  ".join(cells)]
        titles = ["    epoch", *(f"{title:>{width}}" for title, width, _ in columns.values()), "elapsed", "  left"]
        return [self.name, "  ".join(titles), "  ".join(cells)]


# Kinds of trouble by estimator: outside the instance, of which they are no state.
_said: WeakKeyDictionary = WeakKeyDictionary()


class Watch:
    """Says, once per kind, what is wrong with a run of `estimator`; what earlier runs ended with is not repeated.

    Where the run `goes_on` with earlier ones, nor is what was said in them.
    """

    def __init__(self, estimator, history: History, n_epochs: int, *, goes_on: bool = False):
        self.estimator = estimator
        self.table = ProgressTable(_name(estimator), n_epochs, len(history.get("epoch", [])))
        self.said = {finding.kind for finding in find_trouble(history, estimator.n_components)}
        self.said |= _said.get(estimator, set()) if goes_on else set()
        _said[estimator] = self.said

    def after_epoch(self, session: TrainingSession) -> None:
        """Warn of what has lasted, and print the epoch if the estimator is verbose."""
        self._warn(session, _LASTING_EPOCHS)
        if self.estimator.verbose:
            for line in self.table.lines(session.history):
                say(line)

    def at_end(self, session: TrainingSession, outcome: Outcome) -> None:
        """Warn of what is wrong at the end, and of a collapse; raise an error if the run diverged."""
        self._warn(session, 1)
        if outcome.diverged is not None:
            raise TrainingDivergedError(_describe_divergence(self.estimator, outcome))
        estimator = self.estimator
        scheduled = not session.steps.is_settled
        unsettled = find_undertraining(session.history, outcome.n_new_epochs, scheduled=scheduled)
        if unsettled is not None and not outcome.stopped_early and "under-trained" not in self.said:
            self.said.add("under-trained")
            warn(
                f"{_name(estimator)}: after {session.n_epochs} epochs {unsettled}: the model is under-trained. Raise "
                f"max_iter (now {estimator.max_iter!r}), or the learning rate of optimizer=.",
                ConvergenceWarning,
            )
        if estimator.n_dead_ == estimator.n_components and "collapsed" not in self.said:
            self.said.add("collapsed")
            warn(
                f"{_name(estimator)}: all {estimator.n_dead_} components of the code were zero during the last epoch: "
                f"the model has collapsed{_left_by_encoder(estimator)}. Lower {estimator._SPARSITY_PARAMETER} or "
                "standardise X."
            )

    def _warn(self, session: TrainingSession, n_epochs: int) -> None:
        for kind, numbers in find_trouble(session.history, self.estimator.n_components, n_epochs):
            # An encoder catches up until the end, and matters where it gives the codes.
            matters = kind != "unpredicted" or (n_epochs == 1 and self.estimator.transform_algorithm != "solver")
            # Other steps follow the decoder.
            matters &= kind != "outgrown" or isinstance(getattr(self.estimator.solver, "step_size", None), float | int)
            if kind not in self.said and matters:
                self.said.add(kind)
                warn(
                    f"{_name(self.estimator)}: in epoch {session.n_epochs}, {numbers}. {_advise(self.estimator, kind)}",
                    ConvergenceWarning if kind in ("saturated", "outgrown") else UserWarning,
                )


def _left_by_encoder(estimator) -> str:
    """Return what to add where the encoder, trained on codes of zeros, still gives others."""
    n_used = estimator.n_components - getattr(estimator, "n_dead_encoder_", estimator.n_components)
    if n_used == 0 or estimator.transform_algorithm == "solver":
        return ""
    return f", and what transform returns in {n_used} of them is what the encoder has not unlearnt yet"


def describe_end(estimator, session: TrainingSession, outcome: Outcome) -> str:
    """Return what is left of a run that an error or Ctrl-C ended."""
    how = f"fit was interrupted after {session.n_epochs} complete epochs; " if outcome.interrupted else ""
    return f"{_name(estimator)}: {how}the state after epoch {estimator.best_epoch_} is kept."


def _describe_divergence(estimator, outcome: Outcome) -> str:
    kept = (
        f"The state after epoch {outcome.best_epoch} is kept"
        if outcome.n_new_epochs
        else "What was fitted before, if anything, is kept"
    )
    return f"{_name(estimator)}: {outcome.diverged}. {kept}. {estimator._DIVERGENCE_ADVICE}"


def _advise(estimator, kind: str) -> str:
    """Return what to change, by the parameters that this estimator has."""
    parameters = estimator.get_params(deep=False)
    changes = [
        f"{verb} {name} (now {parameters[name]!r})"
        for name, verb in _ADVICE[kind].items()
        if name in parameters and not (verb == "set" and parameters[name] is not None)
    ]
    text = " or ".join(changes) or "standardise X"
    return f"{text[0].upper()}{text[1:]}."


def _name(estimator) -> str:
    return type(estimator).__name__
