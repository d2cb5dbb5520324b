"""The variance hinge: a floor on the standard deviation of every component over a batch."""

from dataclasses import dataclass, replace

from torch import Tensor

from skvardict._utils import ranks
from skvardict.functional import (
    HingeConstants,
    Moments,
    Weight,
    batch_moments,
    hinge_constants,
    hinge_of_std,
    hinge_pull,
    hinge_pull_of,
    mean_and_std,
    mean_of_rows,
    merged_moments,
    per_batch,
    std_of,
)


@dataclass(frozen=True)
class VarianceHinge:
    """``beta sum_j [(T - s_j)_+]^2``, with ``s_j`` the unbiased standard deviation of component j over a batch.

    The term belongs to the batch, and couples its rows. It is not convex.

    Parameters
    ----------
    beta : float, or Tensor of shape (..., 1, 1)
        Weight; zero outside `fit`.
    std_threshold : float, or Tensor of shape (..., 1, 1)
        The floor T.
    """

    beta: Weight
    std_threshold: Weight = 0.5

    def curvature(self, n_rows: int) -> Weight:
        """Return ``2 beta / (n - 1)``, the exact maximum over codes; negative curvature does not limit a step."""
        return 2 * self.beta / max(n_rows - 1, 1)

    def measure(self, codes: Tensor) -> Tensor:
        """Return the term of a batch without its weight, shape (...)."""
        return self.measure_of_std(mean_and_std(codes)[1])

    def measure_of_std(self, std: Tensor) -> Tensor:
        """Return the term of a batch whose components have the standard deviations `std` (..., 1, l), unweighted."""
        return hinge_of_std(std, self.std_threshold)

    def value(self, codes: Tensor) -> Tensor:
        """Return the term of a batch, shape (...)."""
        return per_batch(self.beta) * self.measure(codes)

    def gradient(self, codes: Tensor) -> Tensor:
        """Return the gradient of `value`; zero for constant components, which the hinge cannot revive."""
        return self.start_at(codes).gradient(codes)

    def start_at(self, codes: Tensor) -> "RunningHinge":
        """Return the hinge of a batch whose codes move away from `codes`."""
        return RunningHinge(self, codes.shape[-2], mean_of_rows(codes))


@dataclass(frozen=True)
class RunningHinge:
    """The hinge of a batch during inference, some of whose rows have ended and left.

    Rows that have left remain as sums: moments of two groups of rows add. So do those of rows in other processes.

    Parameters
    ----------
    hinge : VarianceHinge
    n_rows : int
        Of the whole batch, as far as it is in this process.
    origin : Tensor of shape (..., 1, l)
        Point from which moments are measured.
    ended : Moments or None
        Of the rows that have left.
    ones : Tensor of shape (1, n_left) or None
        One for each of the others, where some have left.
    """

    hinge: VarianceHinge
    n_rows: int
    origin: Tensor
    ended: Moments | None = None
    ones: Tensor | None = None

    def value(self, point: Tensor) -> Tensor:
        """Return the term of the batch, shape (...)."""
        return per_batch(self.hinge.beta) * self.hinge.measure_of_std(std_of(self.moments(point)))

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient with respect to the rows that are left."""
        pull, mean = self.pull(point, self.constants_times(1.0, point))
        return -pull * (point - mean)

    def pull(self, point: Tensor, constants: HingeConstants) -> tuple[Tensor, Tensor]:
        """Return the pull with other constants, and the mean that it pulls away from, each of shape (..., 1, l)."""
        if point.is_cuda and self.ended is None and ranks.current() is None:
            return hinge_pull_of(point, constants)
        return hinge_pull(self.moments(point), self.origin, constants)

    def constants_times(self, step: float | Tensor, like: Tensor) -> HingeConstants:
        """Return the constants of the pull times `step`."""
        return hinge_constants(ranks.n_rows(self.n_rows), self.hinge.std_threshold, step * self.hinge.beta, like)

    def moments(self, point: Tensor) -> Moments:
        """Return the moments of the whole batch."""
        if self.ended is None or self.ones is None:
            return batch_moments(point, self.origin).of_all_ranks()
        return merged_moments(point, self.origin, self.ended, self.ones).of_all_ranks()

    def leave(self, ended_codes: Tensor) -> "RunningHinge":
        """Return the hinge after rows have left with the codes `ended_codes`."""
        left = batch_moments(ended_codes, self.origin)
        ended = left if self.ended is None else left.merge(self.ended)
        return replace(self, ended=ended, ones=ended_codes.new_ones(1, self.n_rows - ended.n_rows))
