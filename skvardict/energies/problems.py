"""The inference problems that solvers minimise: smooth part, proximal operator, curvature, and row removal.

A solver knows none of the formulas below; it asks a problem for ``forward_step``, ``prox`` and ``curvature``.
With non-negative codes the L1 term is linear on the feasible set, so it joins the gradient and the proximal
operator is a plain projection; signed codes shrink on both sides.

Everything is evaluated at the momentum point, which may be negative. A batch enters the hinge only through its
moments: rows that have converged leave the computation and stay as running sums (`frozen`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skvardict.energies import terms
from skvardict.functional import (
    HingeScale,
    Moments,
    affine,
    batch_moments,
    gram,
    hinge_pull,
    hinge_scale,
    hinge_value,
    schatten_bound,
    soft_threshold,
)


class Gap(NamedTuple):
    """Duality gap and objective per row, each of shape (..., n)."""

    gap: Tensor
    objective: Tensor


@dataclass(frozen=True)
class Penalties:
    """Weights of the energy, in the package's units.

    Parameters
    ----------
    alpha : float
        Weight of the L1 norm of a code; larger gives sparser codes.
    positive : bool
        Whether codes are non-negative.
    beta : float
        Weight of the variance hinge; couples the rows of a batch, so it is zero outside `fit`.
    std_threshold : float
        Floor T of the hinge on the standard deviation of each component.
    gamma : float
        Weight of the distance to the encoder's prediction.
    """

    alpha: float
    positive: bool = True
    beta: float = 0.0
    std_threshold: float = 0.5
    gamma: float = 0.0


class CodingProblem(ABC):
    """Codes of the rows of `X` under `penalties`; subclasses know the decoder.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    penalties : Penalties
    prediction : Tensor of shape (..., n, l) or None
        Target of the coupling term; needed where ``penalties.gamma > 0``.
    """

    check_every = 1  # iterations between two tests of convergence, where the solver does not say

    def __init__(self, X: Tensor, penalties: Penalties, prediction: Tensor | None = None):
        if penalties.gamma > 0 and prediction is None:
            raise ValueError(
                f"{type(self).__name__} has gamma={penalties.gamma}, but no prediction to couple codes to. "
                "Pass prediction=, or gamma=0."
            )
        self.X = X
        self.penalties = penalties
        self.prediction = prediction
        self.n_rows = X.shape[-2]  # of the whole batch, whatever rows leave
        self.reference: Tensor | None = None
        self.frozen: Moments | None = None
        self._hinge_scale: tuple[object, HingeScale] | None = None
        self._scratch: Tensor | None = None

    @property
    def couples_rows(self) -> bool:
        """Whether the code of one row depends on the others."""
        return self.penalties.beta > 0

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstructions of `codes`."""

    @abstractmethod
    def curvature(self) -> Tensor | None:
        """Return a bound of the largest curvature of the smooth part, shape (...); None where unknown."""

    def metric(self) -> Tensor | None:
        """Return a matrix (l, l) that stands for the Hessians of all rows in a quadratic model; None: no such."""
        return None

    @abstractmethod
    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of reconstruction and coupling at `point`."""

    @abstractmethod
    def keep_rows(self, keep: Tensor, frozen_codes: Tensor) -> "CodingProblem":
        """Return the problem of the rows `keep` (indices), the others having ended at `frozen_codes`."""

    def forward_step(self, point: Tensor, step, out: Tensor | None = None) -> Tensor:
        """Return ``point - step * gradient`` of the smooth part (with the L1 term where codes are positive).

        `out` is memory that may be used for the result.
        """
        moved = torch.addcmul(point, self.gradient(point), _as_tensor(-step, point))
        if self.penalties.positive:
            moved = moved - step * self.penalties.alpha
        if not self.couples_rows:
            return moved
        pull, mean = self._hinge(point, step)
        return moved + pull * (point - mean)

    def prox(self, point: Tensor, step) -> Tensor:
        """Return the proximal step that belongs to :meth:`forward_step`; may overwrite `point`."""
        if self.penalties.positive:
            return point.clamp_min_(0)
        return soft_threshold(point, step * self.penalties.alpha)

    def smooth_value(self, point: Tensor) -> Tensor:
        """Return reconstruction, coupling and an equal share of the hinge, per row, shape (..., n)."""
        value = terms.reconstruction(self._left(self.X), self.decode(point))
        if self.penalties.gamma > 0:
            assert self.prediction is not None
            value = value + self.penalties.gamma * terms.coupling(point, self._left(self.prediction))
        if self.couples_rows:
            moments, _ = self._moments(point)
            hinge = hinge_value(moments, self.penalties.std_threshold)
            value = value + self.penalties.beta * hinge[..., None] / point.shape[-2]
        return value

    def smooth_gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of :meth:`smooth_value`, summed over rows."""
        gradient = self.gradient(point)
        if self.couples_rows:
            pull, mean = self._hinge(point)
            gradient = gradient - pull * (point - mean)
        return gradient

    def energy(self, codes: Tensor) -> Tensor:
        """Return the whole energy per row, shape (..., n); its sum is the energy of the batch."""
        return self.smooth_value(codes) + self.penalties.alpha * terms.l1_norm(codes)

    def relative_gap(self, codes: Tensor) -> Gap:
        """Return the duality gap; only convex problems without batch terms have one."""
        raise ValueError(
            f"criterion='gap' needs a convex problem: a linear decoder and beta=0. {type(self).__name__} "
            f"has beta={self.penalties.beta}. Use criterion='change'."
        )

    def start_at(self, codes: Tensor) -> None:
        """Fix the reference point of the moments; called once, before the first step."""
        if self.couples_rows:
            self.reference = codes.mean(-2, keepdim=True)

    def _left(self, rows: Tensor) -> Tensor:
        """Return those of `rows` that have not left the computation."""
        return rows

    def _hinge(self, point: Tensor, weight=1.0) -> tuple[Tensor, Tensor]:
        """Return the hinge's pull, times beta and `weight`, and the mean it pulls away from."""
        if self._hinge_scale is None or self._hinge_scale[0] is not weight:
            constants = hinge_scale(self.n_rows, self.penalties.std_threshold, weight * self.penalties.beta, point)
            self._hinge_scale = (weight, constants)
        moments, reference = self._moments(point)
        return hinge_pull(moments, reference, self._hinge_scale[1])

    def _moments(self, point: Tensor) -> tuple[Moments, Tensor]:
        """Return the moments of the whole batch, rows that have left included, and their reference."""
        if self.reference is None:
            self.start_at(point)
        assert self.reference is not None
        if self._scratch is None or self._scratch.shape != point.shape:
            self._scratch = torch.empty_like(point)
        moments = batch_moments(point, self.reference, out=self._scratch)
        return (moments if self.frozen is None else moments.merge(self.frozen)), self.reference

    def _hinge_curvature(self) -> float:
        # Exact maximum over codes: 2 beta / (n - 1); negative curvature does not limit the step.
        return 2 * self.penalties.beta / max(self.n_rows - 1, 1)

    def _inherit(self, parent: "CodingProblem", frozen_codes: Tensor) -> None:
        self.reference = parent.reference
        if parent.couples_rows:
            assert parent.reference is not None
            left = batch_moments(frozen_codes, parent.reference)
            self.frozen = left if parent.frozen is None else left.merge(parent.frozen)


class LinearProblem(CodingProblem):
    """Codes for a linear dictionary, from its Gram matrix; no autograd, one product per iteration.

    With ``H = 2/d W W^T + 2 gamma/l I`` and ``B = 2/d X W^T + 2 gamma/l E``, one forward step is

        z - step (z H - B + alpha) = z M + C,    M = I - step H,    C = step (B - alpha)

    and the hinge adds its pull to the diagonal of M and a row vector to C.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    components : Tensor of shape (..., l, d)
        Atoms are rows.
    penalties : Penalties
    prediction : Tensor of shape (..., n, l) or None
    """

    # An iteration costs about as much as a test for convergence on small dictionaries.
    check_every = 4

    def __init__(
        self,
        X: Tensor,
        components: Tensor,
        penalties: Penalties,
        prediction: Tensor | None = None,
    ):
        super().__init__(X, penalties, prediction)
        n_components, n_features = components.shape[-2:]
        self.components = components
        self.reconstruction_hessian = gram(components) * (2 / n_features)
        self.linear = X @ (components.mT * (2 / n_features))
        self.hessian = self.reconstruction_hessian
        if penalties.gamma > 0:
            assert prediction is not None
            weight = 2 * penalties.gamma / n_components
            eye = torch.eye(n_components, dtype=X.dtype, device=X.device)
            self.hessian = self.reconstruction_hessian + weight * eye
            self.linear = torch.add(self.linear, prediction, alpha=weight)
        self._rows: Tensor | None = None  # indices into X of the rows that are left; None is all
        self._fused: tuple[Any, ...] | None = None

    def decode(self, codes: Tensor) -> Tensor:
        """Return ``codes @ components``."""
        return codes @ self.components

    def curvature(self) -> Tensor:
        """Return ``2 sigma_max(W)^2 / d + 2 gamma / l + 2 beta / (n - 1)``, the first term as an upper bound."""
        bound = schatten_bound(self.reconstruction_hessian)
        return bound + 2 * self.penalties.gamma / self.hessian.shape[-1] + self._hinge_curvature()

    def gradient(self, point: Tensor) -> Tensor:
        """Return ``z H - B``."""
        return affine(-self._left(self.linear), point, self.hessian)

    def forward_step(self, point: Tensor, step, out: Tensor | None = None) -> Tensor:
        """Return ``z M + C``, with the hinge folded into the diagonal of M and a row of C."""
        matrix, offset, diagonal, base = self._fuse(step)
        if not self.couples_rows:
            return affine(offset, point, matrix, out=out)
        pull, mean = self._hinge(point, step)
        torch.add(base, pull, out=diagonal)
        return affine(offset, point, matrix, out=out).sub_(pull.mul_(mean))

    def keep_rows(self, keep: Tensor, frozen_codes: Tensor) -> "LinearProblem":
        """Return the problem of the rows `keep`, sharing the matrices."""
        kept = object.__new__(LinearProblem)
        kept.__dict__.update(self.__dict__)
        kept._rows = keep if self._rows is None else self._rows.index_select(0, keep)
        if self._fused is not None:
            step, matrix, offset, *diagonals = self._fused
            kept._fused = (step, matrix, offset.index_select(0, keep), *diagonals)
        kept._inherit(self, frozen_codes)
        return kept

    def relative_gap(self, codes: Tensor, gradient: Tensor | None = None) -> Gap:
        """Return the duality gap of every row against its best dual point along the residual.

        The coupling is the squared error of further features ``sqrt(gamma d / l) e`` seen through atoms
        ``sqrt(gamma d / l) I``, so one formula serves both. With ``r`` the residual of these features ``x``, all
        scaled by ``sqrt(2 / d)``, the objective is ``1/2 |r|^2 + alpha |z|_1`` and a dual feasible point is ``s r``
        where ``s`` is the value in ``[-alpha / max_j c_j, alpha / max_j c_j]`` nearest to ``r x / |r|^2``; ``c`` are
        the correlations of the residual with the atoms (absolute values for signed codes).

        With `gradient` = ``z H - B`` given, all is computed from it, at a fraction of the cost; the rounding error is
        then relative to ``|x|^2`` instead of ``|r|^2``, so do it in double precision.
        """
        if self.couples_rows:
            super().relative_gap(codes)
        if gradient is None:
            residual_sq, along, gradient = self._residual_products(codes)
        else:
            norm_sq = 2 * self._left(self.constant)
            projection = torch.einsum("...j,...j->...", self._left(self.linear), codes)
            residual_sq = norm_sq - projection + torch.einsum("...j,...j->...", codes, gradient)
            along = norm_sq - projection
        alpha = self.penalties.alpha
        tiny = torch.finfo(codes.dtype).tiny
        steepest = -gradient.amin(-1) if self.penalties.positive else gradient.abs().amax(-1)
        limit = alpha / steepest.clamp_min(tiny)
        scale = torch.minimum(along / residual_sq.clamp_min(tiny), limit).clamp_min(0)
        primal = residual_sq / 2 + alpha * terms.l1_norm(codes)
        dual = scale * along - scale.square() * residual_sq / 2
        return Gap(primal - dual, primal)

    @cached_property
    def constant(self) -> Tensor:
        """Reconstruction and coupling at the zero code, per row, shape (..., n)."""
        value = torch.linalg.vector_norm(self.X, dim=-1).square() / self.X.shape[-1]
        if self.penalties.gamma > 0:
            assert self.prediction is not None
            value = value + self.penalties.gamma * self.prediction.square().mean(-1)
        return value

    def _residual_products(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``|r|^2``, ``r x`` and ``-c`` of :meth:`relative_gap`."""
        X, unit = self._left(self.X), 2 / self.components.shape[-1]
        residual = X - self.decode(codes)
        gradient = residual @ (-unit * self.components.mT)
        residual_sq = unit * residual.square().sum(-1)
        along = unit * (residual * X).sum(-1)
        if self.penalties.gamma > 0:
            weight = 2 * self.penalties.gamma / codes.shape[-1]
            assert self.prediction is not None
            prediction = self._left(self.prediction)
            shortfall = prediction - codes
            gradient = torch.sub(gradient, shortfall, alpha=weight)
            residual_sq = residual_sq + weight * shortfall.square().sum(-1)
            along = along + weight * (shortfall * prediction).sum(-1)
        return residual_sq, along, gradient

    def _left(self, rows: Tensor) -> Tensor:
        return rows if self._rows is None else rows.index_select(0, self._rows)

    def _fuse(self, step) -> tuple[Tensor, ...]:
        """Return M, C, the diagonal of M as a row (a view, into which the hinge writes), and a copy of it."""
        if self._fused is None or self._fused[0] is not step:
            eye = torch.eye(self.hessian.shape[-1], dtype=self.hessian.dtype, device=self.hessian.device)
            matrix = eye - step * self.hessian
            diagonal = matrix.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
            shift = self.penalties.alpha if self.penalties.positive else 0.0
            offset = (self._left(self.linear) - shift) * step
            self._fused = (step, matrix, offset, diagonal, diagonal.clone())
        return self._fused[1:]


class DecoderProblem(CodingProblem):
    """Codes for any decoder module, by its ``reconstruction_gradient(codes, X)`` or else by autograd.

    No graph survives an iteration.

    Parameters
    ----------
    X : Tensor of shape (n, d)
    decoder : callable
        Maps codes (n, l) to reconstructions (n, d), row by row.
    penalties : Penalties
    prediction : Tensor of shape (n, l) or None
    reconstruction_curvature : Tensor of shape () or None
        Bound of the curvature of ``1/d |x - D(z)|^2``; without one the solver has to backtrack.
    reconstruction_metric : Tensor of shape (l, l) or None
        Matrix that stands for the Hessians of ``1/d |x - D(z)|^2``, used while rows are not coupled.
    """

    def __init__(
        self,
        X: Tensor,
        decoder: Callable[[Tensor], Tensor],
        penalties: Penalties,
        prediction: Tensor | None = None,
        reconstruction_curvature: Tensor | None = None,
        reconstruction_metric: Tensor | None = None,
    ):
        super().__init__(X, penalties, prediction)
        self.decoder = decoder
        self.reconstruction_curvature = reconstruction_curvature
        self.reconstruction_metric = reconstruction_metric

    def decode(self, codes: Tensor) -> Tensor:
        """Return ``decoder(codes)`` without a graph."""
        with torch.no_grad():
            return self.decoder(codes)

    def curvature(self) -> Tensor | None:
        """Return the given bound plus the curvatures of coupling and hinge."""
        if self.reconstruction_curvature is None:
            return None
        return self.reconstruction_curvature + self._coupling_curvature() + self._hinge_curvature()

    def metric(self) -> Tensor | None:
        """Return the given matrix plus the curvature of the coupling, or None where the hinge couples rows."""
        if self.reconstruction_metric is None or self.couples_rows:
            return None
        matrix = self.reconstruction_metric
        eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        return matrix + self._coupling_curvature() * eye

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of reconstruction (the decoder's own, or by autograd) and coupling."""
        gradient = self._reconstruction_gradient(point)
        if self.penalties.gamma > 0:
            assert self.prediction is not None
            gradient = gradient + self.penalties.gamma * terms.coupling_gradient(point, self.prediction)
        return gradient

    def _coupling_curvature(self) -> float:
        return 0.0 if self.prediction is None else 2 * self.penalties.gamma / self.prediction.shape[-1]

    def _reconstruction_gradient(self, point: Tensor) -> Tensor:
        if hasattr(self.decoder, "reconstruction_gradient"):
            return self.decoder.reconstruction_gradient(point, self.X)
        with torch.enable_grad():
            leaf = point.detach().requires_grad_()
            value = terms.reconstruction(self.X, self.decoder(leaf)).sum()
            return torch.autograd.grad(value, leaf)[0]

    def keep_rows(self, keep: Tensor, frozen_codes: Tensor) -> "DecoderProblem":
        """Return the problem of the rows `keep`."""
        kept = object.__new__(DecoderProblem)
        kept.__dict__.update(self.__dict__)
        kept.X = self.X.index_select(0, keep)
        if self.prediction is not None:
            kept.prediction = self.prediction.index_select(0, keep)
        kept._inherit(self, frozen_codes)
        return kept


def _as_tensor(value, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=like.dtype, device=like.device)
