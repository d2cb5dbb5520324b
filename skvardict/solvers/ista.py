"""ISTA, the proximal gradient method without momentum."""

from skvardict.solvers._proximal_gradient import ProximalGradientSolver


class ISTA(ProximalGradientSolver):
    """Iterative shrinkage-thresholding: ``z+ = prox(z - step * grad(z))``.

    The energy never rises when ``step`` is at most 1 over the curvature, and falls like ``1 / k``: prefer
    :class:`FISTA` unless a paper's protocol or a monotone energy is wanted.

    Parameters
    ----------
    max_iter, tol, step_size, criterion, check_every
        As in :class:`FISTA`.
    restart : bool, default=False
        Without effect: there is no momentum to drop.

    References
    ----------
    Daubechies, Defrise & De Mol, An iterative thresholding algorithm for linear inverse problems, CPAM 2004.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import LinearProblem, Penalties
    >>> from skvardict.solvers import ISTA
    >>> problem = LinearProblem(torch.tensor([[3.0, 0.5, 0.0]]), torch.eye(3), Penalties(alpha=2 / 3))
    >>> ISTA(tol=1e-6).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _accelerated = False
