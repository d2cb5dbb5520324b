"""The inference problem of a linear dictionary, from its Gram matrix."""

from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from skvardict.energies.coupling import Coupling
from skvardict.energies.energy_problem import EnergyProblem, diagonal_like
from skvardict.energies.penalty import Penalty
from skvardict.energies.variance_hinge import VarianceHinge
from skvardict.functional import (
    HingeConstants,
    add_weighted,
    affine,
    gram,
    is_on,
    per_row,
    schatten_bound,
)
from skvardict.functional.duality import gap_along_residual
from skvardict.solvers.protocol import Gap, Lasso


class _StepMatrices(NamedTuple):
    """What one step size makes constant: see :class:`LinearProblem`."""

    matrix: Tensor
    offset: Tensor
    own_diagonal: Tensor  # a copy of that of `matrix`, (..., 1, l), without the hinge
    hinge: HingeConstants | None

    @property
    def diagonal(self) -> Tensor:
        """The diagonal of `matrix`, which the hinge writes into."""
        return self.matrix.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)


class LinearProblem(EnergyProblem):
    """Codes for a linear dictionary; no autograd, one product per iteration.

    With ``H = 2/d W W^T + 2 gamma/l I`` and ``B = 2/d X W^T + 2 gamma/l E``, and the slope of the penalty, a step is

        prox_of_rest_(z - step (z H - B + slope)) = prox_of_rest_(z M + C),    M = I - step H,    C = step (B - slope)

    and the hinge adds its pull to the diagonal of M and a row vector to C.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    components : Tensor of shape (..., l, d)
        Atoms are rows.
    penalty : Penalty
    coupling : Coupling or None
    hinge : VarianceHinge or None

    Attributes
    ----------
    linear : Tensor of shape (..., n, l)
        B, of all rows, also those that have left.
    """

    check_every = 4  # on small dictionaries a test for convergence costs about as much as an iteration

    def __init__(
        self,
        X: Tensor,
        components: Tensor,
        penalty: Penalty,
        coupling: Coupling | None = None,
        hinge: VarianceHinge | None = None,
    ):
        super().__init__(X, penalty, coupling, hinge)
        per_feature = 2 / components.shape[-1]
        self.components = components
        self.reconstruction_hessian = gram(components).mul_(per_feature)
        weight = 0.0 if self.coupling is None else self.coupling.curvature
        if self.coupling is not None and not isinstance(weight, Tensor):
            prediction = self.coupling.prediction
            self.linear = affine(prediction, X, components.mT, offset_weight=weight, weight=per_feature)
        else:
            self.linear = (X @ components.mT).mul_(per_feature)
            if self.coupling is not None:
                self.linear = add_weighted(self.linear, weight, self.coupling.prediction)
        self._rows: Tensor | None = None  # indices into X of the rows that are left; None is all
        self._matrices: _StepMatrices | None = None

    @property
    def is_set_up_by_itself(self) -> bool:
        """True: all is in the Gram matrix of the atoms."""
        return True

    @cached_property
    def hessian(self) -> Tensor:
        """H, of reconstruction and coupling, shape (..., l, l)."""
        if self.coupling is None:
            return self.reconstruction_hessian
        return self.reconstruction_hessian + diagonal_like(self.reconstruction_hessian, self.coupling.curvature)

    def decode(self, codes: Tensor) -> Tensor:
        """Return ``codes @ components``."""
        return codes @ self.components

    def curvature(self) -> Tensor:
        """Return ``2 sigma_max(W)^2 / d + 2 gamma / l + 2 beta / (n - 1)``, the first term as an upper bound."""
        return self._smooth_curvature(schatten_bound(self.reconstruction_hessian))

    def row_gradient(self, point: Tensor) -> Tensor:
        """Return ``z H - B``."""
        return affine(-self._left(self.linear), point, self.hessian)

    def with_step(self, step: float | Tensor) -> Self:
        """Return the problem with the matrices of one step size."""
        stepping = super().with_step(step)
        matrix = self.hessian * -step
        diagonal = matrix.diagonal(dim1=-2, dim2=-1).unsqueeze(-2).add_(1)
        offset = (self._left(self.linear) - self.slope).mul_(step)
        hinge = None if self._running is None else self._running.constants_times(step, offset)
        stepping._matrices = _StepMatrices(matrix, offset, diagonal.clone(), hinge)
        return stepping

    def for_steps(self) -> Self:
        """Return the problem with what `proximal_step` reads: the matrices, the hinge, and the rest of the penalty."""
        made = object.__new__(type(self))
        vars(made).update(penalty=self.penalty.rest, _matrices=self._matrices, _running=self._running, _step=self._step)
        made.hinge = self.hinge  # whether rows are coupled, where they restart
        return made

    def proximal_step(self, point: Tensor) -> Tensor:
        """Return ``prox_of_rest_(z M + C)``, with the hinge in the diagonal of M and a row of C."""
        assert self._matrices is not None, "with_step comes first"
        assert self._step is not None
        matrix, offset, own_diagonal, hinge = self._matrices
        if hinge is None or self._running is None:
            return self.prox_of_rest_(affine(offset, point, matrix), self._step)
        pull, mean = self._running.pull(point, hinge)
        torch.add(
            own_diagonal, pull, out=self._matrices.diagonal
        )  # in place: a copy of M would cost as much as the hinge
        return self.prox_of_rest_(affine(offset, point, matrix).addcmul_(pull, mean, value=-1), self._step)

    def keep_rows(self, keep: Tensor, ended_codes: Tensor) -> Self:
        """Return the problem of the rows `keep`, sharing the matrices; X and B are taken apart when asked for."""
        kept = self._rows_leave(ended_codes)
        kept._rows = keep if self._rows is None else self._rows.index_select(0, keep)
        if self._matrices is not None:
            kept._matrices = self._matrices._replace(offset=self._matrices.offset.index_select(0, keep))
        return kept

    def lasso(self) -> Lasso | None:
        """Return Hessian, linear term and L1 weight, the penalty's quadratic part in the Hessian."""
        penalty = self.penalty.l1
        if self.couples_rows or penalty is None:
            return None
        hessian, curvature = self.hessian, self.penalty.curvature
        if is_on(curvature):
            hessian = hessian + diagonal_like(hessian, curvature)
        is_full = self.coupling is not None or is_on(curvature)
        rank = hessian.shape[-1] if is_full else min(self.components.shape[-2:])
        factor = None if is_full else self.components * (2 / self.components.shape[-1]) ** 0.5
        norm_sq = 2 * self._left(self.constant)
        return Lasso(hessian, self._left(self.linear), penalty.alpha, penalty.positive, rank, factor, norm_sq)

    def relative_gap(self, codes: Tensor, gradient: Tensor | None = None) -> Gap:
        """Return the duality gap of every row against its best dual point along the residual.

        The coupling is the squared error of further features ``sqrt(gamma d / l) e`` seen through atoms
        ``sqrt(gamma d / l) I``, and a quadratic part of the penalty is that of further zeros, so one formula serves
        all. With ``r`` the residual of these features ``x``, all scaled by ``sqrt(2 / d)``, the objective is
        ``1/2 |r|^2`` plus the penalty's gauge. A dual feasible point is ``s r``, where ``s`` is the value in
        ``[0, dual_limit]`` nearest to ``r x / |r|^2``; the penalty gives the limit for the correlations of ``r`` with
        the atoms.

        It is computed in double precision, where the device has it: at a small alpha the rounding of the correlations
        is not small beside alpha, and squares of small numbers are beyond single precision.

        With `gradient` = ``z H - B``, H that of :meth:`lasso`, all is computed from it, at a fraction of the cost; the
        rounding error is then relative to ``|x|^2`` instead of ``|r|^2``, so do it in double precision.
        """
        if self.couples_rows:
            return super().relative_gap(codes)
        if gradient is None and codes.dtype == torch.float32 and codes.device.type != "mps":
            return self._in_double().relative_gap(codes.double())
        curvature = self.penalty.curvature
        if gradient is None:
            residual_sq, along, gradient = self._residual_products(codes)
        else:
            norm_sq = 2 * self._left(self.constant)
            projection = torch.einsum("...j,...j->...", self._left(self.linear), codes)
            residual_sq = norm_sq - projection + torch.einsum("...j,...j->...", codes, gradient)
            along = norm_sq - projection
        gauge = self.penalty.value(codes)
        if is_on(curvature):
            gauge = gauge - per_row(curvature) / 2 * codes.square().sum(-1)
        return Gap(*gap_along_residual(residual_sq, along, gauge, self.penalty.dual_limit(gradient)))

    def _in_double(self) -> Self:
        """Return the problem of the rows that are left in double precision, as far as the duality gap is concerned."""
        exact = self._copy()
        exact.X, exact.components, exact._rows = self._left(self.X).double(), self.components.double(), None
        if self.coupling is not None:
            exact.coupling = Coupling(self.coupling.gamma, self._left(self.coupling.prediction).double())
        return exact

    @cached_property
    def constant(self) -> Tensor:
        """Reconstruction and coupling at the zero code, per row of the whole batch, shape (..., n)."""
        value = torch.linalg.vector_norm(self.X, dim=-1).square() / self.X.shape[-1]
        if self.coupling is not None:
            value = value + per_row(self.coupling.gamma) * self.coupling.prediction.square().mean(-1)
        return value

    def _residual_products(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``|r|^2``, ``r x`` and minus the correlations of :meth:`relative_gap`."""
        X, per_feature = self._left(self.X), 2 / self.components.shape[-1]
        residual = X - self.decode(codes)
        gradient = residual @ (-per_feature * self.components.mT)
        residual_sq = per_feature * residual.square().sum(-1)
        along = per_feature * (residual * X).sum(-1)
        if self.coupling is not None:
            weight, prediction = self.coupling.curvature, self._left(self.coupling.prediction)
            shortfall = prediction - codes
            gradient = add_weighted(gradient, -weight, shortfall)
            residual_sq = residual_sq + per_row(weight) * shortfall.square().sum(-1)
            along = along + per_row(weight) * (shortfall * prediction).sum(-1)
        if is_on(self.penalty.curvature):
            gradient = add_weighted(gradient, self.penalty.curvature, codes)
            residual_sq = residual_sq + per_row(self.penalty.curvature) * codes.square().sum(-1)
        return residual_sq, along, gradient

    def _left(self, rows: Tensor) -> Tensor:
        return rows if self._rows is None else rows.index_select(0, self._rows)

    def _coupling_left(self, coupling: Coupling) -> Coupling:
        return coupling if self._rows is None else coupling.keep_rows(self._rows)
