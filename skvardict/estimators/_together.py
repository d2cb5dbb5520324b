"""Fits of several estimators by one call, as one program where they are of one architecture."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from skvardict._utils.defaults import with_defaults
from skvardict._utils.random import draw_seed, make_generator
from skvardict._utils.state import Draft
from skvardict.estimators._looks import look_at_rows
from skvardict.estimators._messages import Watch
from skvardict.estimators._training import end_training, open_session
from skvardict.estimators.dictionary import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.estimators.variational import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC
from skvardict.networks import CODE_ENCODERS, DECODERS, LISTA, MLP, Linear, ResidualMLP
from skvardict.rows import Rows
from skvardict.rows.checks import validate_rows
from skvardict.solvers import ADMM, FISTA, ISTA
from skvardict.training import SGD, Adam, OnlineUpdate, Run, TargetSparsity, TrainingSession, train_together

_DICTIONARIES = (VarianceDictionaryLearning, StandardDictionaryLearning, WeightDecayDictionaryLearning)
_VARIATIONAL = (SparseVAE, ThresholdedVSC, SpikeAndSlabVSC)
# What is trained with a leading axis; of a user's subclass nobody knows.
_PARTS = {
    "decoder": (Linear, MLP),
    "encoder": (LISTA, MLP, ResidualMLP, type(None)),
    "solver": (FISTA, ISTA, ADMM, type(None)),
    "optimizer": (Adam, SGD, OnlineUpdate),
}
_NAMES = {
    "decoder": ("linear", "mlp"),
    "encoder": ("lista", "mlp", "residual_mlp"),
    "solver": (),
    "optimizer": ("auto",),
}
# Settings of optimisers that may differ among models trained together; of all others groups are made.
_FREE = {
    "learning_rate",
    "encoder_learning_rate",
    "dictionary_learning_rate",
    "schedule",
    "encoder_schedule",
    "dictionary_schedule",
    "window",
    "damping",
}
_MAX_BYTES = 2**30
_COPIES_OF_WEIGHTS, _COPIES_OF_CODES = 10, 8  # gradients, moments, steps, and states to return to; activations


@dataclass(frozen=True)
class Member:
    """One of several fits.

    Parameters
    ----------
    estimator : estimator
        Fitted in place.
    rows : ndarray of int or None
        Its rows of the common X; None: all of them.
    """

    estimator: Any
    rows: np.ndarray | None = None


@with_defaults
def fit_together(members: Sequence[Member], X, *, max_bytes: int | None = None) -> list[Exception | None]:
    """Fit every member on its rows of `X`, as ``estimator.fit(X[rows])`` would.

    Members of one architecture are trained as one program, their models one behind another along a first axis: as many
    at a time as `max_bytes` allows. What :func:`why_alone` speaks of is fitted by itself, and so is a member whose
    common program fails.

    Parameters
    ----------
    members : sequence of Member
    X : array-like or Tensor of shape (n_samples, n_features)
        Rows that members share are held once.
    max_bytes : int or None
        Memory that models trained together may take, about; None: 1 GB.

    Returns
    -------
    errors : list of Exception or None
        In the order of `members`; what a fit raised that failed. The others are fitted.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C. Members under way keep their last whole epoch; later ones are not fitted.
    """
    fits = _begin(members, X)
    errors: dict[int, Exception | None] = {}
    for group in _groups(fits):
        for some in _portions(group, _MAX_BYTES if max_bytes is None else max_bytes):
            errors |= _train(some)
    for index, member in enumerate(members):
        if index not in errors:
            errors[index] = _fit_alone(member, X)
    return [errors[index] for index in range(len(members))]


def why_alone(estimator: Any) -> str | None:
    """Return, in words, why `estimator` cannot be one of several that are trained as one program; None: it can."""
    name = type(estimator).__name__
    if type(estimator) not in (*_DICTIONARIES, *_VARIATIONAL):
        return f"{name} is not among the estimators that are trained together"
    if estimator.warm_start and hasattr(estimator, "_train_state"):
        return f"{name} continues a fit of its own (warm_start=True)"
    if estimator._allows_missing:
        return f"{name} has missing='mask', and masked rows have no form for several models at once"
    if getattr(estimator, "_skl_callbacks", None):
        return f"{name} has callbacks, which follow one fit"
    try:
        estimator._validate_params()
    except (ValueError, TypeError) as error:
        return f"{name} cannot be fitted: {error}"
    if type(estimator) is SpikeAndSlabVSC and not estimator._is_exact():
        return f"{name} draws gates, which have no form for several models at once; expectation='exact' draws nothing"
    for role, types in _PARTS.items():
        part = getattr(estimator, role)
        known = part in _NAMES[role] if isinstance(part, str) else type(part) in types
        if not known:
            return f"{name} has {role}={part!r}, which has no form for several models at once"
    return None


def _fit_alone(member: Member, X) -> Exception | None:
    try:
        if member.rows is not None:
            X = X[member.rows] if isinstance(X, np.ndarray | torch.Tensor) else _safe_indexing(X, member.rows)
        member.estimator.fit(X)
    except Exception as error:
        return error
    return None


class _Fit:
    """One of several fits, from checked rows to fitted attributes.

    Parameters
    ----------
    index : int
        Place among the members.
    estimator : estimator
    X : ndarray or Tensor
        What it is given.
    checked : ndarray or Tensor
        The same, checked, in common with the others.
    rows : ndarray of int or None
    """

    def __init__(self, index: int, estimator: Any, X, checked, rows: np.ndarray | None):
        self.index, self.draft = index, Draft(estimator)
        self.estimator = self.draft.copy
        validate_rows(self.estimator, X, reset=True)
        whole = Rows(checked, device=estimator.device, owner=type(estimator).__name__)
        self.rows = whole if rows is None else whole.subset(torch.as_tensor(rows, dtype=torch.long))
        self.plan = self.estimator._plan(len(self.rows))
        self.n_held_out = self.estimator._n_held_out(len(self.rows))
        n_training = len(self.rows) - self.n_held_out
        self.n_batches = -(-n_training // self.plan.batch_size)

    def open(self) -> Run:
        """Return the run, with fresh parts."""
        look_at_rows(self.draft.original, self.rows)
        seed = draw_seed(self.estimator.random_state)
        training, validation = self.rows.split(self.n_held_out, make_generator(seed))
        session = open_session(self.estimator, training, self.plan, continued=False, seed=seed)
        self.watch = Watch(self.draft.original, session.history, self.plan.max_epochs)
        return Run(session, self.plan, training, validation, self.after_epoch)

    def after_epoch(self, session: TrainingSession) -> bool:
        """Say what lasts; no one asks to stop."""
        self.watch.after_epoch(session)
        return False

    def end(self, run: Run) -> Exception | None:
        """Set the fitted attributes; return what the fit raises."""
        try:
            end_training(self.draft, run.session, run.outcome, self.watch)
        except KeyboardInterrupt:  # what there is, is stored; the others come first
            return None
        except Exception as error:
            return error
        return None


def _begin(members: Sequence[Member], X) -> dict[int, _Fit]:
    """Return the fits that can be trained together with others, by their place among the members."""
    able = [index for index, member in enumerate(members) if why_alone(member.estimator) is None]
    fits: dict[int, _Fit] = {}
    checked: Any = None
    for index in able if len(able) > 1 else ():
        estimator, rows = members[index].estimator, members[index].rows
        try:
            if checked is None:
                checked = Rows.check(clone(estimator), X, reset=True).X
            fits[index] = _Fit(index, estimator, X, checked, rows)
        except Exception:
            continue
    return fits


def _groups(fits: dict[int, _Fit]) -> list[list[_Fit]]:
    """Return the fits of one architecture each, those of few rows first; neighbours of equal size share most."""
    groups: dict[Hashable, list[_Fit]] = {}
    for fit in fits.values():
        groups.setdefault(_architecture(fit), []).append(fit)
    return [sorted(group, key=lambda fit: len(fit.rows)) for group in groups.values() if len(group) > 1]


def _architecture(fit: _Fit) -> Hashable:
    """Return what models have to agree in to be trained together."""
    estimator, optimizer = fit.estimator, fit.estimator.optimizer
    settings = {} if isinstance(optimizer, str) else optimizer.get_params(deep=False)
    terms = _terms_of_variational if isinstance(estimator, _VARIATIONAL) else _terms_of_dictionary
    return (
        type(estimator),
        estimator.n_components,
        repr(estimator.solver),
        type(optimizer),
        repr({name: value is None if name in _FREE else value for name, value in settings.items()}),
        getattr(estimator, "atom_norm", None) is None,
        str(estimator.device),
        fit.n_batches,
        *terms(estimator),
    )


def _terms_of_dictionary(estimator) -> tuple[Hashable, ...]:
    """Return the parts of a dictionary model, and which terms it has."""
    beta, _ = estimator._hinge()
    return (
        repr(_part(estimator.decoder, DECODERS)),
        repr(_part(estimator.encoder, CODE_ENCODERS)),
        estimator.positive_code,
        estimator.positive_dict,
        beta > 0,
        estimator._gamma() > 0,
        getattr(estimator, "weight_decay", 0) > 0,
        isinstance(estimator.alpha, TargetSparsity),
    )


def _terms_of_variational(estimator) -> tuple[Hashable, ...]:
    """Return the parts of a variational model, its laws with all their numbers, and how it draws."""
    return (
        repr(_part(estimator.decoder, estimator._DECODERS)),
        repr(_part(estimator.encoder, estimator._ENCODERS)),
        repr(estimator._family()),
        estimator._is_exact(),
        estimator._divergence(),
        estimator.n_draws,
        estimator.draw_reduction,
        estimator.transform_algorithm,
        "auto" if isinstance(estimator.kl_weight, str) else estimator.kl_weight is None or estimator.kl_weight > 0,
    )


def _part(value: Any, names: Mapping[str, Any]) -> Any:
    return names[value] if isinstance(value, str) else value


def _portions(group: list[_Fit], max_bytes: int) -> Iterator[list[_Fit]]:
    """Yield parts of a group that take less than `max_bytes`, as equal as can be."""
    n_at_once = max(1, max_bytes // _bytes_of(group[0]))
    n_portions = -(-len(group) // n_at_once)
    bounds = [round(len(group) * portion / n_portions) for portion in range(n_portions + 1)]
    return (group[start:stop] for start, stop in pairwise(bounds))


def _bytes_of(fit: _Fit) -> int:
    """Return about what one member takes: weights, moments and copies, and the activations of a batch."""
    model = fit.estimator._build_model(fit.estimator.n_features_in_, make_generator(0))
    weights = [tensor for module in model.modules().values() for tensor in module.state_dict().values()]
    width = sum(weight.shape[-1] for weight in weights if weight.dim() > 0)
    n_numbers = _COPIES_OF_WEIGHTS * sum(weight.numel() for weight in weights)
    n_numbers += _COPIES_OF_CODES * width * min(fit.plan.batch_size, len(fit.rows))
    return n_numbers * torch.empty(0, dtype=fit.rows.dtype).element_size()


def _train(fits: list[_Fit]) -> dict[int, Exception | None]:
    """Train fits of one architecture; return what each raised, without those that are to be fitted alone."""
    errors: dict[int, Exception | None] = {}
    runs: list[tuple[_Fit, Run]] = []
    with config_context(skip_parameter_validation=True), torch.inference_mode(False), torch.enable_grad():
        for fit in fits:
            try:
                runs.append((fit, fit.open()))
            except Exception as error:
                errors[fit.index] = error
        try:
            train_together([run for _, run in runs])
        except Exception:
            runs = [(fit, run) for fit, run in runs if run.outcome.is_finished or run.outcome.diverged]
        errors |= {fit.index: fit.end(run) for fit, run in runs}
    for _, run in runs:
        if run.outcome.interrupted:
            raise run.outcome.error  # type: ignore[misc]
    return errors
