"""How far a proximal gradient step goes: a constant, a bound of the curvature, backtracking, or a matrix."""

from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.functional import affine, schatten_bound
from skvardict.solvers._rows import StepRule
from skvardict.solvers.protocol import CodingProblem

_FIRST_BACKTRACKING_STEP = 1.0
_MODEL_ITERATIONS = 20  # of FISTA on a quadratic model; each costs a hundredth of a gradient through hidden layers
_TURNED_BACK = 0.8  # a step that undoes this part of the step before


class ConstantStep:
    """The step that the problem was given, in every iteration, for all rows."""

    has_momentum = False

    def advance(self, problem: CodingProblem, point: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the new codes (of `ended` rows the old ones), and None: all may move."""
        moved = problem.proximal_step(point)
        return (moved if ended is None else torch.where(ended, point, moved)), None

    def keep_rows(self, keep: Tensor) -> None:
        """Nothing belongs to a row."""


class MetricStep:
    """Minimise a quadratic model, with one matrix ``H`` for all rows and a factor ``s`` for each of them.

    From ``x`` with gradient ``g`` the new code minimises ``g (u - x) + s/2 (u - x) H (u - x)`` plus the penalty of
    ``u``, by a few iterations of FISTA from ``x``: products with a matrix of shape (l, l), cheap beside a gradient
    through hidden layers, and as many of them as there are directions of little curvature to move along. A minimum of
    the energy stays where it is, however few iterations.

    Where ``s H`` is at least half the curvature of a convex energy, no step is longer than the step before, measured by
    ``|z+ - z|_H``. A row whose step is longer, or undoes most of the step before, has met more curvature than that (or
    a kink of a ReLU, across which it would jump for ever), and doubles its ``s``, which starts at 1.

    Parameters
    ----------
    start : Tensor of shape (..., n, l)
    metric : Tensor of shape (..., l, l)
        Symmetric and positive semi-definite.

    References
    ----------
    Lee, Sun & Saunders, Proximal Newton-type methods for minimizing composite functions, SIAM J. Optim. 2014.
    """

    has_momentum = True

    def __init__(self, start: Tensor, metric: Tensor):
        self.metric = metric
        self.step = _step_for(schatten_bound(metric))[..., None, None]
        self.matrix = torch.eye(metric.shape[-1], dtype=metric.dtype, device=metric.device) - self.step * metric
        self.factor = torch.ones_like(start[..., :1])  # s
        self.last = torch.zeros_like(start)  # step, and its squared size
        self.size_sq = torch.full_like(self.factor, torch.inf)

    def advance(self, problem: CodingProblem, point: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the new codes (of `ended` rows the old ones), and None: all may move."""
        step = self.step / self.factor
        offset = self.step * (point @ self.metric) - step * (problem.gradient(point) + problem.slope)
        codes, at, t = point, point, 1.0
        for _ in range(_MODEL_ITERATIONS):
            moved = problem.prox_of_rest_(affine(offset, at, self.matrix), step)
            momentum, t = next_momentum(t)
            at = torch.add(moved, moved - codes, alpha=momentum)
            codes = moved
        if ended is not None:
            codes = torch.where(ended, point, codes)
        change = codes - point
        pulled = change @ self.metric
        size_sq = (pulled * change).sum(-1, keepdim=True)
        overshot = (size_sq > self.size_sq) | (
            (pulled * self.last).sum(-1, keepdim=True) < -_TURNED_BACK * self.size_sq
        )
        self.factor = torch.where(overshot, 2 * self.factor, self.factor)
        self.last, self.size_sq = change, size_sq
        return codes, None

    def keep_rows(self, keep: Tensor) -> None:
        """Keep the factors and the last steps of the given rows."""
        self.factor = self.factor.index_select(-2, keep)
        self.last = self.last.index_select(-2, keep)
        self.size_sq = self.size_sq.index_select(-2, keep)


class BacktrackingStep:
    """Halve the step of a row until the quadratic model at its point lies above the smooth part.

    The test is ``f(z+) <= f(x) + <grad f(x), z+ - x> + |z+ - x|^2 / (2 step)``. A row that fails stays where it
    is and tries half the step in the next iteration: no inner loop, hence no waiting for a device to answer.
    While rows are coupled there is one step for all of them, and the sums over rows are compared.

    Parameters
    ----------
    problem : CodingProblem
    start : Tensor of shape (..., n, l)
    step : float or Tensor of shape ()
        First step; it only ever shrinks.
    """

    has_momentum = False

    def __init__(self, problem: CodingProblem, start: Tensor, step):
        shape = (*start.shape[:-2], 1 if problem.couples_rows else start.shape[-2], 1)
        self.step = torch.ones(shape, dtype=start.dtype, device=start.device) * step

    def advance(self, problem: CodingProblem, point: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the new codes and which rows may move, a mask of shape (..., n, 1)."""
        gradient = problem.gradient(point)
        value = problem.smooth_value(point)
        moved = problem.prox(point - self.step * gradient, self.step)
        if ended is not None:
            moved = torch.where(ended, point, moved)
        change = moved - point
        slack = (gradient * change).sum(-1) + change.square().sum(-1) / (2 * self.step.squeeze(-1))
        excess = problem.smooth_value(moved) - value - slack
        # Rounding of the two values must not shrink the step for ever once the change is tiny.
        tolerance = 8 * torch.finfo(value.dtype).eps * value.abs()
        if problem.couples_rows:
            excess, tolerance = ranks.all_sums(excess.sum(-1, keepdim=True), tolerance.sum(-1, keepdim=True))
        accepted = (excess <= tolerance).unsqueeze(-1)
        self.step = torch.where(accepted, self.step, self.step / 2)
        return moved, accepted.expand(*point.shape[:-1], 1)

    def keep_rows(self, keep: Tensor) -> None:
        """Keep the steps of the given rows."""
        if self.step.shape[-2] > 1:
            self.step = self.step.index_select(-2, keep)


def next_momentum(t):
    """Return ``(t - 1) / t+`` and ``t+ = (1 + sqrt(1 + 4 t^2)) / 2``, of a number or a tensor."""
    root = sqrt(1 + 4 * t * t) if isinstance(t, float) else torch.sqrt(1 + 4 * t * t)
    t_next = (1 + root) / 2
    return (t - 1) / t_next, t_next


@lru_cache(maxsize=16)
def momentum_weights(n_iter: int) -> list[float]:
    """Return ``1 + (t - 1) / t+`` of the first iterations, where no row restarts; not to be changed."""
    weights, t = [], 1.0
    for _ in range(n_iter):
        momentum, t = next_momentum(t)
        weights.append(1 + momentum)
    return weights


def _step_for(curvature: Tensor) -> Tensor:
    """Return 1 over a bound of the curvature; an all-zero dictionary has none, and any step will do."""
    return 1 / torch.where(curvature == 0, 1.0, curvature.clamp_min(torch.finfo(curvature.dtype).tiny))


def choose_step(
    problem: CodingProblem, start: Tensor, step_size: str | float, *, use_metric: bool
) -> tuple[CodingProblem, StepRule]:
    """Return the rule for ``"auto"``, ``"backtracking"`` or a number, and the problem, made ready for it."""
    if not isinstance(step_size, str):
        return problem.with_step(step_size), ConstantStep()
    metric = problem.metric() if use_metric and step_size == "auto" else None
    if metric is not None:
        return problem, MetricStep(start, metric)
    curvature = problem.curvature() if step_size == "auto" else None
    if curvature is None:
        return problem, BacktrackingStep(problem, start, _FIRST_BACKTRACKING_STEP)
    step = _step_for(curvature)
    if step.dim() > 0:
        return problem.with_step(step[..., None, None]), ConstantStep()
    # A number costs nothing on the CPU; on a GPU reading it would wait for the device.
    return problem.with_step(step if step.is_cuda else float(step)), ConstantStep()
