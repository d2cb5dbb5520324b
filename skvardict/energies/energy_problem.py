"""The terms of an inference problem together, whatever the decoder.

Everything is evaluated at the momentum point, which may be negative where codes may not.
"""

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.energies.coupling import Coupling
from skvardict.energies.penalty import Penalty
from skvardict.energies.reconstruction import reconstruction
from skvardict.energies.variance_hinge import RunningHinge, VarianceHinge
from skvardict.functional import Weight, is_on, number_like, per_batch
from skvardict.solvers.protocol import Gap, Lasso


class EnergyProblem(ABC):
    """Codes of the rows of `X` under a reconstruction error and further terms; subclasses know the decoder.

    It is a :class:`~skvardict.solvers.protocol.CodingProblem` whose smooth part is reconstruction, coupling and hinge.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    penalty : Penalty
    coupling : Coupling or None
        Distance to the predictions of an encoder.
    hinge : VarianceHinge or None
        Couples the rows of the batch.
    """

    check_every = 1
    first_code = 0.0  # entries of a start where there is no prediction

    def __init__(
        self, X: Tensor, penalty: Penalty, coupling: Coupling | None = None, hinge: VarianceHinge | None = None
    ):
        self.X = X
        self.penalty = penalty
        self.coupling = coupling if coupling is not None and is_on(coupling.gamma) else None
        self.hinge = hinge if hinge is not None and is_on(hinge.beta) else None
        self.n_rows = X.shape[-2]  # of the whole batch, whatever rows leave
        self._running: RunningHinge | None = None
        self._step: float | Tensor | None = None

    def __repr__(self) -> str:
        gamma: Weight = 0.0 if self.coupling is None else self.coupling.gamma
        beta: Weight = 0.0 if self.hinge is None else self.hinge.beta
        return f"{type(self).__name__} with {self.penalty}, gamma={gamma} and beta={beta}"

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstructions of `codes`."""

    @abstractmethod
    def curvature(self) -> Tensor | None:
        """Return a bound of the largest curvature of the smooth part, shape (...); None where unknown."""

    @abstractmethod
    def row_gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of the terms that belong to rows, reconstruction and coupling."""

    @abstractmethod
    def keep_rows(self, keep: Tensor, ended_codes: Tensor) -> Self:
        """Return the problem of the rows `keep` (indices), the others having ended at `ended_codes`."""

    @property
    def couples_rows(self) -> bool:
        """Whether the code of one row depends on the others."""
        return self.hinge is not None

    @property
    def slope(self) -> Weight:
        """Slope of the penalty's linear part."""
        return self.penalty.slope

    def start_at(self, codes: Tensor) -> Self:
        """Return the problem with the first codes as the point that moments of the batch are measured from."""
        started = self._copy()
        started._running = None if self.hinge is None else self.hinge.start_at(codes)
        return started

    def with_step(self, step: float | Tensor) -> Self:
        """Return the problem for which `proximal_step` takes steps of size `step`."""
        stepping = self._copy()
        stepping._step = step
        return stepping

    @property
    def has_own_gradient(self) -> bool:
        """Whether gradients are the problem's own operations on tensors."""
        return True

    @property
    def is_set_up_by_itself(self) -> bool:
        """Whether `curvature` and `metric` read nothing but the problem; a decoder may remember more."""
        return False

    def for_steps(self) -> Self:
        """Return the problem with what `proximal_step` and `couples_rows` read: here, with everything."""
        return self

    def proximal_step(self, point: Tensor) -> Tensor:
        """Return ``prox(point - step * gradient(point), step)``, with the step given before."""
        assert self._step is not None, "with_step comes first"
        step = self._step
        moved = torch.addcmul(point, self.row_gradient(point), number_like(-step, point))
        if is_on(self.slope):
            moved = moved - step * self.slope
        if self._running is not None:
            pull, mean = self._running.pull(point, self._running.constants_times(step, point))
            moved = moved + pull * (point - mean)
        return self.prox_of_rest_(moved, step)

    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return the proximal operator of the penalty."""
        return self.penalty.prox(point, step)

    def prox_of_rest_(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return the proximal operator of the penalty without its slope; it may overwrite `point`."""
        return self.penalty.prox_of_rest_(point, step)

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of `smooth_value`, summed over rows."""
        gradient = self.row_gradient(point)
        running = self._hinge_at(point)
        return gradient if running is None else gradient + running.gradient(point)

    def smooth_value(self, point: Tensor) -> Tensor:
        """Return reconstruction, coupling and an equal share of the hinge, per row, shape (..., n)."""
        value = self._reconstruction(point)
        if self.coupling is not None:
            value = value + self._coupling_left(self.coupling).value(point)
        running = self._hinge_at(point)
        if running is None:
            return value
        return value + running.value(point)[..., None] / ranks.all_count(point.shape[-2])

    def energy(self, codes: Tensor) -> Tensor:
        """Return the whole energy per row, shape (..., n); its sum is the energy of the batch."""
        return self.smooth_value(codes) + self.penalty.value(codes)

    def metric(self) -> Tensor | None:
        """Return a matrix (l, l) that stands for the Hessians of all rows in a quadratic model; None: no such."""
        return None

    def lasso(self) -> Lasso | None:
        """Return the matrices of a quadratic energy with an L1 term; None: it is not of that kind."""
        return None

    def relative_gap(self, codes: Tensor, gradient: Tensor | None = None) -> Gap:
        """Return the duality gap; only convex problems without batch terms have one."""
        raise ValueError(
            f"criterion='gap' needs a convex problem: a linear decoder and beta=0. Got a {self}. "
            "Use criterion='change'."
        )

    def _reconstruction(self, point: Tensor) -> Tensor:
        return reconstruction(self._left(self.X), self.decode(point))

    def _left(self, rows: Tensor) -> Tensor:
        """Return those of `rows`, given for the whole batch, that have not left the computation."""
        return rows

    def _coupling_left(self, coupling: Coupling) -> Coupling:
        return coupling

    def _hinge_at(self, point: Tensor) -> RunningHinge | None:
        if self.hinge is None or self._running is not None:
            return self._running
        return self.hinge.start_at(point)

    def _copy(self) -> Self:
        """Return a shallow copy, in a tenth of the time of :func:`copy.copy`."""
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    def _rows_leave(self, ended_codes: Tensor) -> Self:
        """Return a copy in which rows have left with the codes `ended_codes`."""
        kept = self._copy()
        kept._running = None if self._running is None else self._running.leave(ended_codes)
        return kept

    def _smooth_curvature(self, of_reconstruction: Tensor) -> Tensor:
        """Return the curvature of the reconstruction plus those of coupling and hinge."""
        coupled = of_reconstruction + (0.0 if self.coupling is None else per_batch(self.coupling.curvature))
        return coupled + (0.0 if self.hinge is None else per_batch(self.hinge.curvature(ranks.n_rows(self.n_rows))))


def diagonal_like(matrix: Tensor, value: Weight) -> Tensor:
    """Return `value` times the identity, in the size of `matrix`."""
    return value * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
