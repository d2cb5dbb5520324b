"""The iteration that ADMM and the active set method share, in a scale where every atom has curvature one."""

from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from skvardict.functional import cholesky
from skvardict.functional.graphs import Repeated
from skvardict.solvers.protocol import Lasso

RELAXATION = 1.9
_ROWS_IN_CACHE = 256


class ScaledLasso:
    """Matrices of a lasso with atoms scaled to a Hessian of unit diagonal; codes go in and out unscaled.

    With penalty ``p`` of ADMM, the matrix ``M = r p P - r/2 I`` with ``P = (H + p I)^-1`` has l x l entries. Where
    ``H = U U^T`` has less than half that rank, ``p P = I - U (U^T U + p I)^-1 U^T`` gives the same product by two thin
    ones.

    Parameters
    ----------
    lasso : Lasso
    penalty : float
    """

    def __init__(self, lasso: Lasso, penalty: float = 1.0):
        factor = lasso.factor
        self.is_thin = factor is not None and (lasso.hessian is None or 2 * factor.shape[-1] <= factor.shape[-2])
        self.scale = unit_scale(lasso)
        self.positive, self.penalty = lasso.positive, penalty
        self.tau = (lasso.alpha / penalty * self.scale).float()
        if factor is not None and self.is_thin:
            factor = self.scale.mT * factor
            inner = factor.mT @ factor
            # Positive definite: that an inverse exists need not be asked of a GPU.
            inverse, _ = torch.linalg.inv_ex(inner + _penalty_like(inner, penalty), check_errors=not inner.is_cuda)
            self.left = (factor @ inverse * -RELAXATION).float()
            self.right = factor.mT.float()
        else:
            assert lasso.hessian is not None
            hessian = self.scale.mT * lasso.hessian * self.scale
            inverse = torch.cholesky_inverse(cholesky(hessian + _penalty_like(hessian, penalty)))
            self.offset_matrix = (self.scale.mT * inverse * RELAXATION).float()
            self.matrix = (RELAXATION * penalty * inverse - _penalty_like(hessian, RELAXATION / 2)).float()

    def dual_sum(self, codes: Tensor, gradient: Tensor) -> Tensor:
        """Return the vector ``w`` that stands for `codes` and the dual variables ``b - z H``."""
        return (codes / self.scale - gradient * (self.scale / self.penalty)).float()

    def admm(self, w: Tensor, linear: Tensor, n_iter: int) -> Tensor:
        """Return ``w`` after `n_iter` iterations.

        Non-negative codes iterate on ``u = w - tau``, because ``w - 2 min(w, tau) = |u| - tau``: one pass less.
        """
        state = w - self.tau if self.positive else w.clone()
        offset = self._offset(linear)
        if self.positive:
            offset -= self._times_matrix(self.tau) + self.tau * (RELAXATION / 2)
        in_cache = state[..., 0].numel() if w.is_cuda else _ROWS_IN_CACHE
        for models in _models_at_once(state, in_cache):
            part = self._of(models)
            for u, constant in zip(state[models].split(in_cache, -2), offset[models].split(in_cache, -2), strict=True):
                (part._replay_ if u.is_cuda else part._iterate_)(u, constant, n_iter)
        return state.add_(self.tau) if self.positive else state

    def _replay_(self, u: Tensor, constant: Tensor, n_iter: int) -> None:
        """Iterate on a GPU, which is told of all iterations at once."""

        def iterated(lasso: Self, state: Tensor, argument: Tensor) -> Tensor:
            moved = state.clone()
            lasso._iterate_(moved, argument, n_iter)
            return moved

        iterations = Repeated(iterated, self, u, (type(self), n_iter), is_captured=True)
        iterations.apply(constant)
        u.copy_(iterations.state)

    def _iterate_(self, u: Tensor, constant: Tensor, n_iter: int) -> None:
        turned = torch.empty_like(u)
        for _ in range(n_iter):
            if self.positive:
                torch.abs(u, out=turned)
            else:
                torch.sub(u, self._clip(u, out=turned), alpha=2, out=turned)
            torch.add(constant, u, alpha=1 - RELAXATION / 2, out=u)
            if self.is_thin:
                _add_product_(u.add_(turned, alpha=RELAXATION / 2), turned @ self.left, self.right)
            else:
                _add_product_(u, turned, self.matrix)

    def _of(self, models: Any) -> Self:
        """Return the matrices of some of several models, which share nothing."""
        part = copy(self)
        for name in ("tau", "left", "right") if self.is_thin else ("tau", "matrix"):
            setattr(part, name, getattr(self, name)[models])
        return part

    def shrink(self, w: Tensor) -> Tensor:
        """Return the codes of ``w``."""
        return (w - self._clip(w)) * self.scale

    def _offset(self, linear: Tensor) -> Tensor:
        """Return ``r b P``."""
        if not self.is_thin:
            return linear.float() @ self.offset_matrix
        scaled = (linear * (self.scale / self.penalty)).float()
        return _add_product_(scaled * RELAXATION, scaled @ self.left, self.right)

    def _times_matrix(self, rows: Tensor) -> Tensor:
        if not self.is_thin:
            return rows @ self.matrix
        return _add_product_(rows * (RELAXATION / 2), rows @ self.left, self.right)

    def _clip(self, w: Tensor, out: Tensor | None = None) -> Tensor:
        if self.positive:
            return torch.minimum(w, self.tau, out=out)
        return torch.clamp(w, -self.tau, self.tau, out=out)


def _models_at_once(state: Tensor, n_rows: int) -> list[Any]:
    """Return indices of the first axis of `state`, of as many models as have `n_rows` rows together; a batch is one."""
    if state.dim() == 2:
        return [...]
    n_models = max(1, n_rows // state.shape[1])
    return [slice(start, start + n_models) for start in range(0, len(state), n_models)]


def _add_product_(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return (total.addmm_ if total.dim() == 2 else total.baddbmm_)(left, right)


def unit_scale(lasso: Lasso) -> Tensor:
    """Return the factors that give atoms a curvature of one, (..., 1, l); 1 for atoms of zeros."""
    if lasso.factor is not None:
        diagonal = lasso.factor.square().sum(-1)
    else:
        assert lasso.hessian is not None
        diagonal = lasso.hessian.diagonal(dim1=-2, dim2=-1)
    return torch.where(diagonal > 0, diagonal, 1).rsqrt().unsqueeze(-2)


def _penalty_like(matrix: Tensor, penalty: float) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device) * penalty
