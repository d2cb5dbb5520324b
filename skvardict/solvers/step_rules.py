"""How far a proximal gradient step goes: a constant, a bound of the curvature, backtracking, or a matrix."""

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from skvardict.functional import affine, schatten_bound

_MODEL_ITERATIONS = 20  # of FISTA on a quadratic model; each costs a hundredth of a gradient through hidden layers
_TURNED_BACK = 0.8  # a step that undoes this part of the step before


class ConstantStep:
    """The same step in every iteration, for all rows."""

    has_momentum = False  # whether the momentum is a part of the step, and not left to the solver

    def __init__(self, step):
        self.step = step

    def advance(self, problem: Any, point: Tensor, frozen: Tensor | None, out: Tensor | None):
        """Return the new codes (in `out` where it is given; of `frozen` rows the old ones), and None: all may move."""
        moved = problem.prox(problem.forward_step(point, self.step, out), self.step)
        return (moved if frozen is None else torch.where(frozen, point, moved)), None

    def keep_rows(self, keep: Tensor) -> None:
        """Nothing belongs to a row."""


class MetricStep:
    """Minimise a quadratic model with one matrix ``H`` for all rows, scaled row by row, in place of a scalar step.

    From ``x`` with gradient ``g`` the new code minimises ``g (u - x) + s/2 (u - x) H (u - x) + alpha |u|_1``, by a few
    iterations of FISTA from ``x``: products with a matrix of shape (l, l), cheap beside a gradient through hidden
    layers, and as many of them as there are directions of little curvature to move along. A minimum of the energy
    stays where it is, however few iterations.

    Where ``s H`` is at least half the curvature of a convex energy, no step is longer than the step before, measured by
    ``|z+ - z|_H``. A row whose step is longer, or undoes most of the step before, has met more curvature than that (or
    a kink of a ReLU, across which it would jump for ever), and doubles its ``s``, which starts at 1.

    Parameters
    ----------
    start : Tensor of shape (..., n, l)
    metric : Tensor of shape (l, l)
        Symmetric and positive semi-definite.

    References
    ----------
    Lee, Sun & Saunders, Proximal Newton-type methods for minimizing composite functions, SIAM J. Optim. 2014.
    """

    has_momentum = True

    def __init__(self, start: Tensor, metric: Tensor):
        self.metric = metric
        self.step = 1 / schatten_bound(metric).clamp_min(torch.finfo(metric.dtype).eps)
        self.matrix = torch.eye(len(metric), dtype=metric.dtype, device=metric.device) - self.step * metric
        self.scale = torch.ones_like(start[..., :1])
        self.last = torch.zeros_like(start)  # step, and its squared size
        self.size_sq = torch.full_like(self.scale, torch.inf)

    def advance(self, problem: Any, point: Tensor, frozen: Tensor | None, out: Tensor | None):
        """Return the new codes (of `frozen` rows the old ones), and None: all may move."""
        step = self.step / self.scale
        shift = problem.penalties.alpha if problem.penalties.positive else 0.0
        offset = self.step * (point @ self.metric) - step * (problem.gradient(point) + shift)
        codes, at, t = point, point, 1.0
        for _ in range(_MODEL_ITERATIONS):
            moved = problem.prox(affine(offset, at, self.matrix), step)
            momentum, t = next_momentum(t)
            at = torch.add(moved, moved - codes, alpha=momentum)
            codes = moved
        if frozen is not None:
            codes = torch.where(frozen, point, codes)
        change = codes - point
        pulled = change @ self.metric
        size_sq = (pulled * change).sum(-1, keepdim=True)
        overshot = (size_sq > self.size_sq) | (
            (pulled * self.last).sum(-1, keepdim=True) < -_TURNED_BACK * self.size_sq
        )
        self.scale = torch.where(overshot, 2 * self.scale, self.scale)
        self.last, self.size_sq = change, size_sq
        return codes, None

    def keep_rows(self, keep: Tensor) -> None:
        """Keep the scales and the last steps of the given rows."""
        self.scale = self.scale.index_select(-2, keep)
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

    def __init__(self, problem: Any, start: Tensor, step):
        shape = (*start.shape[:-2], 1 if problem.couples_rows else start.shape[-2], 1)
        self.step = torch.ones(shape, dtype=start.dtype, device=start.device) * step

    def advance(self, problem: Any, point: Tensor, frozen: Tensor | None, out: Tensor | None):
        """Return the new codes and which rows may move, a mask of shape (..., n, 1)."""
        gradient = problem.smooth_gradient(point)
        value = problem.smooth_value(point)
        shift = problem.penalties.alpha if problem.penalties.positive else 0.0
        moved = problem.prox(point - self.step * (gradient + shift), self.step)
        if frozen is not None:
            moved = torch.where(frozen, point, moved)
        change = moved - point
        slack = (gradient * change).sum(-1) + change.square().sum(-1) / (2 * self.step.squeeze(-1))
        excess = problem.smooth_value(moved) - value - slack
        # Rounding of the two values must not shrink the step for ever once the change is tiny.
        tolerance = 8 * torch.finfo(value.dtype).eps * value.abs()
        if problem.couples_rows:
            excess, tolerance = excess.sum(-1, keepdim=True), tolerance.sum(-1, keepdim=True)
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
