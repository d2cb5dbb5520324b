"""Orthogonal matching pursuit, all rows of a batch at once."""

import torch
from torch import Tensor

_INDEPENDENT = 1e-7  # an atom of unit norm adds a direction if this much of it lies outside the span of the chosen ones


@torch.no_grad()
def orthogonal_matching_pursuit(X: Tensor, components: Tensor, n_nonzero_coefs: int, tol: float = 0.0) -> Tensor:
    """Return codes that grow by the atom most aligned with what is left of the row, fitted anew after each.

    With ``r`` the residual of a row, the atom of largest ``|<r, w_j>| / |w_j|`` joins; its part outside the span of the
    atoms before it, by Gram-Schmidt done twice, is the next column of an orthonormal basis ``Q`` and takes its share
    out of ``r``. The codes solve ``z W_S = Q Q^T x``. A row ends when ``|r|^2 <= tol |x|^2``, or when no atom adds a
    direction.

    Parameters
    ----------
    X : Tensor of shape (n, d)
    components : Tensor of shape (l, d)
        Of any norms; atoms of norm zero are never chosen.
    n_nonzero_coefs : int
        Most atoms per row.
    tol : float
        Squared error relative to ``|x|^2`` at which a row ends.

    Returns
    -------
    codes : Tensor of shape (n, l)

    References
    ----------
    Pati, Rezaiifar & Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993.
    """
    norms = torch.linalg.vector_norm(components, dim=1)
    units = components / torch.where(norms > 0, norms, 1)[:, None]
    n_steps = min(n_nonzero_coefs, *components.shape)
    basis = X.new_zeros(len(X), n_steps, X.shape[1])
    triangle = torch.eye(n_steps, dtype=X.dtype, device=X.device).repeat(len(X), 1, 1)
    chosen = torch.zeros(len(X), n_steps, dtype=torch.int64, device=X.device)
    along = X.new_zeros(len(X), n_steps)
    residual, norm_sq = X.clone(), X.square().sum(1)
    ended = torch.zeros_like(norm_sq, dtype=torch.bool)
    for step in range(n_steps):
        ended = ended | (residual.square().sum(1) <= tol * norm_sq)
        if bool(ended.all()):
            break
        chosen[:, step] = (residual @ units.mT).abs().argmax(1)
        direction = units[chosen[:, step]]
        for _ in range(2):
            shares = torch.einsum("nkd,nd->nk", basis[:, :step], direction)
            direction = direction - torch.einsum("nkd,nk->nd", basis[:, :step], shares)
            triangle[:, :step, step] += shares
        height = torch.linalg.vector_norm(direction, dim=1)
        ended = ended | (height <= _INDEPENDENT)
        triangle[:, step, step] = torch.where(ended, 1, height)
        basis[:, step] = torch.where(ended, 0, 1 / height)[:, None] * direction
        along[:, step] = (basis[:, step] * residual).sum(1)
        residual = residual - along[:, step, None] * basis[:, step]
    values = torch.linalg.solve_triangular(triangle, along[:, :, None], upper=True)[:, :, 0]
    values = values / torch.where(norms > 0, norms, 1)[chosen]
    return X.new_zeros(len(X), len(components)).scatter_add_(1, chosen, values)  # of steps not made, values are zero
