"""The proximal gradient iteration that ISTA and FISTA share.

Notation: ``z`` codes, ``x`` the point at which the gradient is taken, ``t`` the momentum parameter:

    z+ = prox(x - step * grad(x));  t+ = (1 + sqrt(1 + 4 t^2)) / 2;  x+ = z+ + (t - 1) / t+ (z+ - z)

Every row stops on its own and is then truly frozen: its code and its momentum point stay at the first tested
iterate that meets the criterion. There are two ways to get there, with equal results: rows leave the
computation (one 2-D batch on the CPU, where shapes are free), or all rows stay and a mask holds the finished
ones in place (leading batch axes, GPU: static shapes, and no waiting for the device between two tests).
"""

from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skvardict._sklearn import Interval, StrOptions
from skvardict.solvers._result import SolverResult
from skvardict.solvers.step_rules import BacktrackingStep, ConstantStep, MetricStep, next_momentum

_TESTS_PER_SYNC = 4  # on a GPU: how many convergence tests pass before the host asks whether all rows are done
_FIRST_BACKTRACKING_STEP = 1.0


class _Iterate:
    """Codes `z`, momentum point `x`, momentum parameter `t` (a float, or one per row), and the last change of `z`.

    On the CPU the iteration works in three spare buffers: fresh memory for each of these tensors would cost as
    much as the arithmetic on them.
    """

    def __init__(self, start: Tensor, t: Any, *, in_place: bool):
        self.z = start
        self.x = start
        self.t = t
        self._buffers: list[Tensor | None] = [torch.empty_like(start) for _ in range(4)] if in_place else [None] * 4

    def buffer(self, index: int) -> Tensor | None:
        """Return a buffer for the codes (0 and 1 in turn), the change (2) or the momentum point (3)."""
        return self._buffers[index]

    def keep_rows(self, keep: Tensor) -> None:
        self.z = self.z.index_select(-2, keep)
        self.x = self.x.index_select(-2, keep)
        if isinstance(self.t, Tensor):
            self.t = self.t.index_select(-2, keep)
        self._buffers = [None if buffer is None else buffer[: len(keep)] for buffer in self._buffers]


class ProximalGradientSolver(BaseEstimator):
    """Base of :class:`ISTA` and :class:`FISTA`: settings only, no state."""

    _accelerated: bool

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "step_size": [StrOptions({"auto", "backtracking"}), Interval(Real, 0, None, closed="neither")],
        "restart": ["boolean"],
        "criterion": [StrOptions({"change", "gap"})],
        "check_every": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        max_iter=200,
        tol=1e-3,
        step_size="auto",
        restart=False,
        criterion="change",
        check_every=None,
    ):
        self.max_iter = max_iter
        self.tol = tol
        self.step_size = step_size
        self.restart = restart
        self.criterion = criterion
        self.check_every = check_every

    @torch.no_grad()
    def solve(self, problem: Any, start: Tensor) -> SolverResult:
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
        self._validate_params()
        drop = start.dim() == 2 and start.device.type == "cpu"
        return self._solve_dropping(problem, start) if drop else self._solve_masked(problem, start)

    def _solve_dropping(self, problem: Any, start: Tensor) -> SolverResult:
        rule, iterate = self._begin(problem, start, in_place=True)
        codes, whole = start.clone(), problem
        n_iter = torch.full(start.shape[:1], self.max_iter)
        converged = torch.zeros(start.shape[:1], dtype=torch.bool)
        rows = torch.arange(start.shape[0])
        every = self.check_every or problem.check_every
        for iteration in range(1, self.max_iter + 1):
            previous, change, accepted = self._advance(problem, rule, iterate, iteration)
            if iteration % every and iteration < self.max_iter:
                continue
            met = self._meets_criterion(problem, iterate.z, previous, change, accepted)
            if not met.any():
                continue
            ended, keep = met.nonzero().squeeze(1), (~met).nonzero().squeeze(1)
            ended_codes = iterate.z.index_select(0, ended)
            ended_rows = rows.index_select(0, ended)
            codes.index_copy_(0, ended_rows, ended_codes)
            n_iter[ended_rows] = iteration
            converged[ended_rows] = True
            rows = rows.index_select(0, keep)
            if len(rows) == 0:
                break
            problem = problem.keep_rows(keep, ended_codes)
            iterate.keep_rows(keep)
            rule.keep_rows(keep)
        if len(rows):
            codes.index_copy_(0, rows, iterate.z)
        return SolverResult(codes, n_iter, converged, whole)

    def _solve_masked(self, problem: Any, start: Tensor) -> SolverResult:
        rule, iterate = self._begin(problem, start, in_place=False)
        n_iter = torch.full(start.shape[:-1], self.max_iter, device=start.device)
        done = torch.zeros((*start.shape[:-1], 1), dtype=torch.bool, device=start.device)
        every = self.check_every or problem.check_every
        every_sync = every * (1 if start.device.type == "cpu" else _TESTS_PER_SYNC)
        for iteration in range(1, self.max_iter + 1):
            previous, change, accepted = self._advance(problem, rule, iterate, iteration, frozen=done)
            if iteration % every and iteration < self.max_iter:
                continue
            met = self._meets_criterion(problem, iterate.z, previous, change, accepted)
            newly = met.unsqueeze(-1) & ~done
            n_iter = torch.where(newly.squeeze(-1), iteration, n_iter)
            done = done | newly
            iterate.x = torch.where(done, iterate.z, iterate.x)
            if iteration % every_sync == 0 and bool(done.all()):
                break
        return SolverResult(iterate.z, n_iter, done.squeeze(-1), problem)

    def _begin(self, problem: Any, start: Tensor, *, in_place: bool):
        problem.start_at(start)
        t: Any = 1.0
        rule = self._step_rule(problem, start)
        if self.restart or isinstance(rule, BacktrackingStep):
            rows = 1 if problem.couples_rows else start.shape[-2]
            t = torch.ones((*start.shape[:-2], rows, 1), dtype=start.dtype, device=start.device)
            t = t.expand(*start.shape[:-1], 1)
        return rule, _Iterate(start, t, in_place=in_place)

    def _step_rule(self, problem: Any, start: Tensor):
        if not isinstance(self.step_size, str):
            return ConstantStep(self.step_size)
        metric = problem.metric() if self._accelerated and self.step_size == "auto" else None
        if metric is not None:
            return MetricStep(start, metric)
        curvature = problem.curvature()
        if self.step_size == "backtracking" or curvature is None:
            return BacktrackingStep(problem, start, _FIRST_BACKTRACKING_STEP)
        # An all-zero dictionary has no curvature: any step will do.
        step = 1 / curvature.clamp_min(torch.finfo(curvature.dtype).eps)
        if step.dim() > 0:
            return ConstantStep(step[..., None, None])
        # A number costs nothing on the CPU; on a GPU reading it would wait for the device.
        return ConstantStep(step if step.is_cuda else float(step))

    def _advance(self, problem: Any, rule, iterate: _Iterate, iteration: int, frozen: Tensor | None = None):
        """Move `iterate` on; return the codes before, the change, and the rows that could move (None: all)."""
        previous, point, t = iterate.z, iterate.x, iterate.t
        z, accepted = rule.advance(problem, point, frozen, iterate.buffer(iteration % 2))
        change = torch.sub(z, previous, out=iterate.buffer(2))
        x = z
        if self._accelerated and not rule.has_momentum:
            if self.restart:
                t = torch.where(_points_back(problem, point, z, change), torch.ones_like(t), t)
            momentum, t = next_momentum(t)
            if isinstance(momentum, float):
                x = torch.add(z, change, alpha=momentum, out=iterate.buffer(3))
            else:
                x = torch.addcmul(z, momentum, change)
        if accepted is not None:
            z, x = torch.where(accepted, z, previous), torch.where(accepted, x, point)
            t = torch.where(accepted, t, iterate.t) if isinstance(t, Tensor) else t
        iterate.z, iterate.x, iterate.t = z, x, t
        return previous, change, accepted

    def _meets_criterion(self, problem: Any, z: Tensor, previous: Tensor, change: Tensor, accepted) -> Tensor:
        if self.criterion == "gap":
            gap, objective = problem.relative_gap(z)
            met = gap <= self.tol * objective
        else:
            # Written without a division, so that two zero codes count as converged and a code that has just
            # left zero does not.
            met = change.square().sum(-1) <= self.tol**2 * previous.square().sum(-1)
        return met if accepted is None else met & accepted.squeeze(-1)


def _points_back(problem: Any, point: Tensor, z: Tensor, change: Tensor) -> Tensor:
    """Return where the step goes against the momentum, the gradient test of O'Donoghue & Candes (2015)."""
    against = ((point - z) * change).sum(-1, keepdim=True)
    if problem.couples_rows:
        against = against.sum(-2, keepdim=True)
    return against.expand(*z.shape[:-1], 1) > 0
