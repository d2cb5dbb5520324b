"""FISTA, the accelerated proximal gradient method.

Notation: ``z`` codes, ``x`` the point at which the gradient is taken, ``t`` the momentum parameter:

    z+ = prox(x - step * grad(x));  t+ = (1 + sqrt(1 + 4 t^2)) / 2;  x+ = z+ + (t - 1) / t+ (z+ - z)
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from skvardict._sklearn import COUNT, NON_NEGATIVE, POSITIVE, BaseEstimator, StrOptions
from skvardict._utils import ranks
from skvardict._utils.parameters import check_settings
from skvardict.functional import LateAnswer, is_small_change, numbers_like, scaled_products
from skvardict.functional.graphs import Repeated, evaluated
from skvardict.solvers._result import SolverResult
from skvardict.solvers._rows import Iterate, LeavingRows, MaskedRows, StepRule, follow_rows
from skvardict.solvers.protocol import CodingProblem
from skvardict.solvers.step_rules import (
    BacktrackingStep,
    ConstantStep,
    choose_step,
    momentum_weights,
    next_momentum,
)


class FISTA(BaseEstimator):
    """Fast iterative shrinkage-thresholding.

    Iterates ``z+ = prox(x - step * grad(x))`` at the momentum point
    ``x = z + (t_prev - 1) / t (z - z_prev)`` with ``t = (1 + sqrt(1 + 4 t_prev^2)) / 2``. For a convex problem
    the energy falls like ``2 |z_0 - z*|^2 / (step k^2)`` as long as ``step`` is at most 1 over the curvature.

    Parameters
    ----------
    max_iter : int, default=200
        Iterations after which a row is given up (its code is still returned).
    tol : float, default=1e-3
        With ``criterion="change"`` a row has converged when ``|z - z_prev| <= tol |z_prev|``; with ``"gap"``
        when its duality gap is at most `tol` times its objective.
    step_size : "auto", "backtracking" or float, default="auto"
        "auto" is 1 over a bound of the curvature, ``1 / (2 sigma_max^2 / d + 2 gamma / l + 2 beta / (n - 1))``,
        and backtracking where a decoder has no bound. Where the problem has a matrix for the Hessians of its rows
        (decoders with hidden layers, in training without the hinge), a step minimises a quadratic model with that
        matrix, and momentum works inside it; `restart` is then without effect. "backtracking" begins at 1 and only
        ever halves the step of a row. A number is used as it is, in the units of the package (the eta of Table 3 of
        Evtimova & LeCun).
    restart : bool, default=False
        Drop the momentum of a row when it points uphill (gradient scheme of O'Donoghue & Candes, 2015). Pays
        when `tol` is small.
    criterion : {"change", "gap"}, default="change"
        "gap" needs a linear decoder, ``beta=0`` and rows without missing entries; it bounds the distance to the
        optimum and cannot be fooled by a small step.
    check_every : int or None, default=None
        Iterations between two tests for convergence; None leaves the choice to the problem (4 for a linear
        dictionary, where a test costs a good part of an iteration, else 1).

    References
    ----------
    Beck & Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sciences 2009, eq. 4.1-4.3.
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, section 3.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import L1, LinearProblem
    >>> from skvardict.solvers import FISTA
    >>> atoms = torch.eye(3)
    >>> X = torch.tensor([[3.0, 0.5, 0.0]])
    >>> problem = LinearProblem(X, atoms, L1(alpha=2 / 3))  # 2/3 in package units: 1 in scikit-learn's
    >>> FISTA(tol=1e-6).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "max_iter": COUNT,
        "tol": NON_NEGATIVE,
        "step_size": [StrOptions({"auto", "backtracking"}), *POSITIVE],
        "restart": ["boolean"],
        "criterion": [StrOptions({"change", "gap"})],
        "check_every": [*COUNT, None],
    }

    _use_metric = True  # where the problem has a matrix for the Hessians of its rows

    def __init__(
        self,
        max_iter: int = 200,
        tol: float = 1e-3,
        step_size: str | float = "auto",
        restart: bool = False,
        criterion: str = "change",
        check_every: int | None = None,
    ):
        self.max_iter = max_iter
        self.tol = tol
        self.step_size = step_size
        self.restart = restart
        self.criterion = criterion
        self.check_every = check_every

    @torch.no_grad()
    def solve(self, problem: CodingProblem, start: Tensor) -> SolverResult:
        """Minimise the energy of `problem`, from `start`.

        Parameters
        ----------
        problem : CodingProblem
        start : Tensor of shape (..., n, l)
            First codes; not modified.

        Returns
        -------
        SolverResult

        Raises
        ------
        ValueError
            If a setting is invalid, or the problem has no duality gap and ``criterion="gap"``.
        """
        check_settings(self)
        whole = problem.start_at(start)
        check_every = self.check_every or whole.check_every
        if start.is_cuda:
            return self._solve_in_blocks(whole, start, check_every)
        problem, rule = choose_step(whole, start, self.step_size, use_metric=self._use_metric)
        at = Iterate(start, start, self._first_t(rule, start))
        rows = follow_rows(start, self.max_iter)
        weights = momentum_weights(self.max_iter)
        for iteration in range(1, self.max_iter + 1):
            at, before, accepted = self._iterate(problem, rule, at, rows.ended, weights[iteration - 1])
            if iteration % check_every == 0 or iteration == self.max_iter:
                met = self._meets_criterion(problem, at.z, before.z, accepted)
                problem, at = rows.end(met, iteration, problem, rule, at)
                if iteration < self.max_iter and _all_have_ended(rows, problem):
                    break
        return rows.result(whole, at.z)

    def _solve_in_blocks(self, whole: CodingProblem, start: Tensor, check_every: int) -> SolverResult:
        """Return the result of iterations on a GPU, which makes those from one test to the next at a time.

        All rows stay, the ended ones in place: no shape depends on a number. That all have ended is heard one test
        later, when it changes nothing.
        """
        settings = (type(self), self.step_size, self._use_metric, self.restart, self.criterion, self.tol)
        # Sums over processes are no part of a recording.
        is_captured = ranks.current() is None and whole.has_own_gradient
        if is_captured and whole.is_set_up_by_itself:
            problem, state = evaluated(self._set_up, (whole, start), (*settings, "set up"))
        else:
            problem, state = self._set_up(whole, start)
        blocks = Repeated(self._advance, problem, state, settings, is_captured=is_captured)
        weights, have_ended = _weights_like(start, self.max_iter), LateAnswer()
        for begin in range(0, self.max_iter, check_every):
            blocks.apply(weights[begin : begin + check_every])
            is_last = begin + check_every >= self.max_iter
            if not is_last and have_ended(_have_ended(blocks.state.ended, whole)):
                break
        at, _, n_iter, ended = blocks.state
        return SolverResult(at.z.clone(), n_iter.clone(), ended.squeeze(-1).clone(), whole)

    def _set_up(self, whole: CodingProblem, start: Tensor) -> tuple[CodingProblem, "_Blocks"]:
        """Return the problem, made ready for steps, and the state before the first block."""
        problem, rule = choose_step(whole, start, self.step_size, use_metric=self._use_metric)
        if isinstance(rule, ConstantStep) and self.criterion == "change":
            problem = problem.for_steps()
        n_iter = start.new_zeros(start.shape[:-1], dtype=torch.int64)
        ended = start.new_zeros((*start.shape[:-1], 1), dtype=torch.bool)
        return problem, _Blocks(Iterate(start, start, self._first_t(rule, start)), rule, n_iter, ended)

    def _advance(self, problem: CodingProblem, state: "_Blocks", weights: Tensor) -> "_Blocks":
        """Return the state after as many iterations as there are weights, and a test."""
        at, rule, n_iter, ended = state
        for weight in weights.unbind():
            at, before, accepted = self._iterate(problem, rule, at, ended, weight)
        n_iter = torch.add(n_iter, ~ended.squeeze(-1), alpha=len(weights))
        ended = ended | self._meets_criterion(problem, at.z, before.z, accepted).unsqueeze(-1)
        return _Blocks(Iterate(at.z, torch.where(ended, at.z, at.x), at.t), rule, n_iter, ended)

    def _iterate(
        self, problem: CodingProblem, rule: StepRule, at: Iterate, ended: Tensor | None, weight: float | Tensor
    ) -> tuple[Iterate, Iterate, Tensor | None]:
        """Return the next iterate, the one before where a row has moved, and which rows were let move (None: all)."""
        z, accepted = rule.advance(problem, at.x, ended)
        x, t = (z, at.t) if rule.has_momentum else self._extrapolate(problem, at, z, weight)
        after = Iterate(z, x, t)
        return (after if accepted is None else after.where(accepted, at)), at, accepted

    def _extrapolate(
        self, problem: CodingProblem, at: Iterate, z: Tensor, weight: float | Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the next momentum point and parameter after the step from `at` to `z`."""
        t = at.t
        if t is None:
            return torch.lerp(at.z, z, weight), None
        if self.restart:
            t = torch.where(_points_uphill(problem, at.x, z, z - at.z), 1.0, t)
        momentum, t = next_momentum(t)
        return torch.lerp(at.z, z, 1 + momentum), t

    def _first_t(self, rule: StepRule, start: Tensor) -> Tensor | None:
        """Return 1 for each row, where rows restart, or their steps are accepted, on their own."""
        return torch.ones_like(start[..., :1]) if self.restart or isinstance(rule, BacktrackingStep) else None

    def _meets_criterion(self, problem: CodingProblem, z: Tensor, before: Tensor, accepted: Tensor | None) -> Tensor:
        """Return which rows have converged, shape (..., n), by the change from `before` to `z`."""
        if self.criterion == "gap":
            gap, objective = problem.relative_gap(z)
            met = gap <= self.tol * objective
        else:
            met = is_small_change(z, before, self.tol)
        return met if accepted is None else met & accepted.squeeze(-1)


class _Blocks(NamedTuple):
    """Where iterations in blocks are: an iterate, what the rule remembers, and how far rows have come."""

    at: Iterate
    rule: StepRule
    n_iter: Tensor  # (..., n)
    ended: Tensor  # (..., n, 1)


def _weights_like(codes: Tensor, n_iter: int) -> Tensor:
    """Return :func:`momentum_weights` on the device of `codes`."""
    return numbers_like(momentum_weights(n_iter), codes)


def _have_ended(ended: Tensor, problem: CodingProblem) -> Tensor:
    """Return what :func:`_all_have_ended` does, of rows that are marked, on their device."""
    is_shared = problem.couples_rows and ranks.current() is not None
    return ranks.all_min(ended.all().float()) > 0 if is_shared else ended.all()


def _all_have_ended(rows: LeavingRows | MaskedRows, problem: CodingProblem) -> bool:
    """Return whether nothing is left to do; where rows are coupled, not before those of all processes have ended."""
    ended = rows.all_ended()
    return not ranks.any_of(not ended) if problem.couples_rows else ended


def _points_uphill(problem: CodingProblem, point: Tensor, z: Tensor, change: Tensor) -> Tensor:
    """Return where the step goes against the momentum, the gradient test of O'Donoghue & Candes (2015)."""
    along = point - z
    against = (along * change).sum(-1, keepdim=True) if problem.couples_rows else scaled_products(along, change)
    if problem.couples_rows:
        against = ranks.all_sum(against.sum(-2, keepdim=True))
    return against.expand(*z.shape[:-1], 1) > 0
