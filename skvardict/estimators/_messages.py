"""What estimators say about a fit: trouble and what helps, scale, collapse, divergence, progress."""

from weakref import WeakKeyDictionary

from sklearn.exceptions import ConvergenceWarning

from skvardict._utils.messages import say, warn
from skvardict.rows import Rows
from skvardict.training import Outcome, TrainingDivergedError, TrainingSession
from skvardict.training.health import find_trouble, find_undertraining
from skvardict.training.history import History, describe_epoch

# What helps against each kind of trouble, by name of the parameter.
_ADVICE = {
    "dead": {"alpha": "lower", "kl_weight": "lower", "beta": "raise", "optimizer": "lower the learning rate of"},
    "shrinking": {"beta": "raise", "atom_norm": "set", "weight_decay": "raise"},
    "saturated": {"solver": "raise max_iter or tol of"},
}
_LASTING_EPOCHS = 5  # what was wrong for so long is said during training, what is wrong at the end then
_IN_PROGRESS_LINE = ("epoch", "energy", "validation_energy", "validation_r2", "sparsity", "n_dead", "seconds")

# Kinds of trouble by estimator: outside the instance, of which they are no state.
_said: WeakKeyDictionary = WeakKeyDictionary()


class Watch:
    """Says, once per kind, what is wrong with a run of `estimator`; what earlier runs ended with is not repeated.

    Where the run `goes_on` with earlier ones, nor is what was said in them.
    """

    def __init__(self, estimator, history: History, *, goes_on: bool = False):
        self.estimator = estimator
        self.said = {finding.kind for finding in find_trouble(history, estimator._n_features_out)}
        self.said |= _said.get(estimator, set()) if goes_on else set()
        _said[estimator] = self.said

    def after_epoch(self, session: TrainingSession) -> None:
        """Warn of what has lasted, and print the epoch if the estimator is verbose."""
        self._warn(session, _LASTING_EPOCHS)
        if self.estimator.verbose:
            say(f"[{_name(self.estimator)}] {describe_epoch(session.history, _IN_PROGRESS_LINE)}")

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
        if estimator.n_dead_ == estimator._n_features_out and "collapsed" not in self.said:
            self.said.add("collapsed")
            warn(
                f"{_name(estimator)}: all {estimator.n_dead_} components of the code were zero during the last epoch: "
                f"the model has collapsed. Lower {estimator._SPARSITY_PARAMETER} or standardise X."
            )

    def _warn(self, session: TrainingSession, n_epochs: int) -> None:
        for kind, numbers in find_trouble(session.history, self.estimator._n_features_out, n_epochs):
            if kind not in self.said:
                self.said.add(kind)
                warn(
                    f"{_name(self.estimator)}: in epoch {session.n_epochs}, {numbers}. {_advise(self.estimator, kind)}",
                    ConvergenceWarning if kind == "saturated" else UserWarning,
                )


def warn_about_scale(estimator, rows: Rows) -> None:
    """Warn where the mean square of the first rows is far from 1."""
    _, block = next(rows.slices())
    mean_square = float(block.square().mean())
    low, high = estimator._MEAN_SQUARE_RANGE
    if not low <= mean_square <= high:
        warn(
            f"{_name(estimator)}: the mean square of X is {mean_square:.3g}, but {estimator._SCALE_DEPENDENT} "
            "assume about 1. Standardise X, e.g. with skvardict.preprocessing.GlobalStandardizer."
        )


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
