"""How far a proximal gradient step goes: a constant, a bound of the curvature, or backtracking."""

from typing import Any

import torch
from torch import Tensor


class ConstantStep:
    """The same step in every iteration, for all rows."""

    def __init__(self, step):
        self.step = step

    def advance(self, problem: Any, point: Tensor, frozen: Tensor | None, out: Tensor | None):
        """Return the new codes (in `out` where it is given; of `frozen` rows the old ones), and None: all may move."""
        moved = problem.prox(problem.forward_step(point, self.step, out), self.step)
        return (moved if frozen is None else torch.where(frozen, point, moved)), None

    def keep_rows(self, keep: Tensor) -> None:
        """Nothing belongs to a row."""


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
