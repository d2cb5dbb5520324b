"""Every row ends on its own: at the first tested iterate that meets the criterion, where it then stays.

There are two ways to get there, with equal results. On the CPU, where shapes are free, ended rows of a 2-D batch leave
the computation. With leading batch axes all rows stay, and a mask holds the ended ones in place, as on a GPU.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.solvers._result import SolverResult
from skvardict.solvers.protocol import CodingProblem


class Iterate(NamedTuple):
    """Codes `z`, momentum point `x`, and momentum parameter `t` per row, (..., n, 1); None: it is that of all rows."""

    z: Tensor
    x: Tensor
    t: Tensor | None

    def keep_rows(self, keep: Tensor) -> "Iterate":
        """Return the rows `keep` (indices)."""
        t = None if self.t is None else self.t.index_select(-2, keep)
        return Iterate(self.z.index_select(-2, keep), self.x.index_select(-2, keep), t)

    def where(self, accepted: Tensor, other: "Iterate") -> "Iterate":
        """Return these rows where `accepted` (..., n, 1), those of `other` elsewhere."""
        t = None if self.t is None or other.t is None else torch.where(accepted, self.t, other.t)
        return Iterate(torch.where(accepted, self.z, other.z), torch.where(accepted, self.x, other.x), t)


class StepRule(Protocol):
    """How far a step goes, with what it remembers of each row."""

    has_momentum: bool  # whether the momentum is a part of the step, and not left to the solver

    def advance(self, problem: CodingProblem, point: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the codes after a step from `point`, of `ended` rows the old ones, and who may move (None: all)."""

    def keep_rows(self, keep: Tensor) -> None:
        """Forget the other rows."""


class LeavingRows:
    """Ended rows leave the problem, the step rule and the iterate."""

    ended = None

    def __init__(self, start: Tensor, max_iter: int):
        self.codes = torch.empty_like(start)
        self.n_iter = torch.full(start.shape[:1], max_iter)
        self.converged = torch.zeros(start.shape[:1], dtype=torch.bool)
        self.left = torch.arange(start.shape[0])

    def end(
        self, met: Tensor, iteration: int, problem: CodingProblem, rule: StepRule, at: Iterate
    ) -> tuple[CodingProblem, Iterate]:
        """Let the rows that have `met` the criterion end; return problem and iterate of those that are left."""
        if not met.any():
            return problem, at
        ended, keep = met.nonzero().squeeze(1), (~met).nonzero().squeeze(1)
        ended_codes, ended_rows = at.z.index_select(0, ended), self.left.index_select(0, ended)
        self.codes.index_copy_(0, ended_rows, ended_codes)
        self.n_iter.index_fill_(0, ended_rows, iteration)
        self.converged.index_fill_(0, ended_rows, True)
        self.left = self.left.index_select(0, keep)
        if len(self.left) == 0 and ranks.current() is None:
            return problem, at
        rule.keep_rows(keep)
        return problem.keep_rows(keep, ended_codes), at.keep_rows(keep)

    def all_ended(self) -> bool:
        """Return whether no row is left in this process."""
        return len(self.left) == 0

    def result(self, problem: CodingProblem, codes: Tensor) -> SolverResult:
        """Return the result for the whole `problem`, from the last `codes` of the rows that are left."""
        if len(self.left) == len(self.codes):
            return SolverResult(codes, self.n_iter, self.converged, problem)
        if len(self.left):
            self.codes.index_copy_(0, self.left, codes)
        return SolverResult(self.codes, self.n_iter, self.converged, problem)


class MaskedRows:
    """Ended rows stay in place, held by the mask `ended` (..., n, 1)."""

    def __init__(self, start: Tensor, max_iter: int):
        self.n_iter = torch.full(start.shape[:-1], max_iter, device=start.device)
        self.ended: Tensor | None = None  # until the first test

    def end(
        self, met: Tensor, iteration: int, problem: CodingProblem, rule: StepRule, at: Iterate
    ) -> tuple[CodingProblem, Iterate]:
        """Let the rows that have `met` the criterion end: their momentum point falls back to their codes."""
        newly = met.unsqueeze(-1) if self.ended is None else met.unsqueeze(-1) & ~self.ended
        self.n_iter = torch.where(newly.squeeze(-1), iteration, self.n_iter)
        self.ended = newly if self.ended is None else self.ended | newly
        return problem, Iterate(at.z, torch.where(self.ended, at.z, at.x), at.t)

    def all_ended(self) -> bool:
        """Return whether all rows of this process have ended."""
        return self.ended is not None and bool(self.ended.all())

    def result(self, problem: CodingProblem, codes: Tensor) -> SolverResult:
        """Return the result."""
        assert self.ended is not None, "the last iteration is tested"
        return SolverResult(codes, self.n_iter, self.ended.squeeze(-1), problem)


def follow_rows(start: Tensor, max_iter: int) -> LeavingRows | MaskedRows:
    """Return the way that suits `start`."""
    leave = start.dim() == 2 and start.device.type == "cpu"
    return (LeavingRows if leave else MaskedRows)(start, max_iter)
