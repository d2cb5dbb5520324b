"""The inference problem of any decoder module."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from skvardict.energies.coupling import Coupling
from skvardict.energies.energy_problem import EnergyProblem, diagonal_like
from skvardict.energies.penalty import Penalty
from skvardict.energies.reconstruction import reconstruction
from skvardict.energies.variance_hinge import VarianceHinge


class DecoderProblem(EnergyProblem):
    """Codes for any decoder module, by its ``reconstruction_gradient(codes, X)`` or else by autograd.

    No graph survives an iteration.

    Parameters
    ----------
    X : Tensor of shape (n, d)
    decoder : callable
        Maps codes (n, l) to reconstructions (n, d), row by row.
    penalty : Penalty
    coupling : Coupling or None
    hinge : VarianceHinge or None
    reconstruction_curvature : Tensor of shape () or None
        Bound of the curvature of ``1/d |x - D(z)|^2``; without one the solver has to backtrack.
    reconstruction_metric : Tensor of shape (l, l) or None
        Matrix that stands for the Hessians of ``1/d |x - D(z)|^2``, used while rows are not coupled.
    """

    first_code = 1e-2  # at zero a decoder of ReLUs whose biases are zero has no gradient

    def __init__(
        self,
        X: Tensor,
        decoder: Callable[[Tensor], Tensor],
        penalty: Penalty,
        coupling: Coupling | None = None,
        hinge: VarianceHinge | None = None,
        *,
        reconstruction_curvature: Tensor | None = None,
        reconstruction_metric: Tensor | None = None,
    ):
        super().__init__(X, penalty, coupling, hinge)
        self.decoder = decoder
        self.reconstruction_curvature = reconstruction_curvature
        self.reconstruction_metric = reconstruction_metric

    @property
    def has_own_gradient(self) -> bool:
        """Whether the decoder gives its gradient."""
        return hasattr(self.decoder, "reconstruction_gradient")

    def decode(self, codes: Tensor) -> Tensor:
        """Return ``decoder(codes)`` without a graph."""
        with torch.no_grad():
            return self.decoder(codes)

    def curvature(self) -> Tensor | None:
        """Return the given bound plus the curvatures of coupling and hinge."""
        bound = self.reconstruction_curvature
        return None if bound is None else self._smooth_curvature(bound)

    def metric(self) -> Tensor | None:
        """Return the given matrix plus the curvature of the coupling, or None where the hinge couples rows."""
        matrix = self.reconstruction_metric
        if matrix is None or self.couples_rows:
            return None
        return matrix if self.coupling is None else matrix + diagonal_like(matrix, self.coupling.curvature)

    def row_gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of reconstruction (the decoder's own, or by autograd) and coupling."""
        gradient = self._reconstruction_gradient(point)
        return gradient if self.coupling is None else gradient + self.coupling.gradient(point)

    def keep_rows(self, keep: Tensor, ended_codes: Tensor) -> Self:
        """Return the problem of the rows `keep`."""
        kept = self._rows_leave(ended_codes)
        kept.X = self.X.index_select(0, keep)
        kept.coupling = None if self.coupling is None else self.coupling.keep_rows(keep)
        return kept

    def _reconstruction_gradient(self, point: Tensor) -> Tensor:
        if self.has_own_gradient:
            return self.decoder.reconstruction_gradient(point, self.X)  # type: ignore[attr-defined]
        with torch.enable_grad():
            leaf = point.detach().requires_grad_()
            value = reconstruction(self.X, self.decoder(leaf)).sum()
            return torch.autograd.grad(value, leaf)[0]
