"""ISTA, the proximal gradient method without momentum."""

from typing import Any, ClassVar

from torch import Tensor

from skvardict.solvers._rows import Iterate
from skvardict.solvers.fista import FISTA
from skvardict.solvers.protocol import CodingProblem


class ISTA(FISTA):
    """Iterative shrinkage-thresholding: ``z+ = prox(z - step * grad(z))``.

    The energy never rises when ``step`` is at most 1 over the curvature, and falls like ``1 / k``: prefer
    :class:`FISTA` unless a paper's protocol or a monotone energy is wanted.

    Parameters
    ----------
    max_iter, tol, step_size, criterion, check_every
        As in :class:`FISTA`; "auto" is always 1 over the curvature.

    References
    ----------
    Daubechies, Defrise & De Mol, An iterative thresholding algorithm for linear inverse problems, CPAM 2004.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import L1, LinearProblem
    >>> from skvardict.solvers import ISTA
    >>> problem = LinearProblem(torch.tensor([[3.0, 0.5, 0.0]]), torch.eye(3), L1(alpha=2 / 3))
    >>> ISTA(tol=1e-6).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        name: constraint for name, constraint in FISTA._parameter_constraints.items() if name != "restart"
    }

    restart = False
    _use_metric = False

    def __init__(
        self,
        max_iter: int = 200,
        tol: float = 1e-3,
        step_size: str | float = "auto",
        criterion: str = "change",
        check_every: int | None = None,
    ):
        super().__init__(max_iter, tol, step_size, criterion=criterion, check_every=check_every)

    def _extrapolate(
        self, problem: CodingProblem, at: Iterate, z: Tensor, weight: float | Tensor
    ) -> tuple[Tensor, Tensor | None]:
        return z, at.t
