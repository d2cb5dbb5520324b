"""ADMM for the lasso: a fixed number of products with one matrix for all rows."""

from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from skvardict._sklearn import BaseEstimator, Interval
from skvardict._utils.parameters import check_settings
from skvardict.solvers._result import SolverResult
from skvardict.solvers._scaled_lasso import ScaledLasso
from skvardict.solvers.protocol import CodingProblem


class ADMM(BaseEstimator):
    """A fixed number of iterations of the alternating direction method of multipliers, in single precision.

    The iteration is that of :class:`ActiveSetADMM`, without looking at supports or gaps: 20 iterations from zero leave
    a relative error of the objective of 1e-5 to 1e-3, which is all that a batch of dictionary learning needs, at a
    fraction of the cost of exact codes.

    Parameters
    ----------
    max_iter : int, default=20
        Iterations of every row; there is no test of convergence.

    References
    ----------
    Boyd, Parikh, Chu, Peleato & Eckstein, Distributed optimization and statistical learning via the alternating
    direction method of multipliers, 2011, section 6.4.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import L1, LinearProblem
    >>> from skvardict.solvers import ADMM
    >>> problem = LinearProblem(torch.tensor([[3.0, 0.5, 0.0]]), torch.eye(3), L1(alpha=2 / 3))
    >>> ADMM(50).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"max_iter": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, max_iter=20):
        self.max_iter = max_iter

    @torch.no_grad()
    def solve(self, problem: CodingProblem, start: Tensor) -> SolverResult:
        """Return nearly optimal codes of the rows of `problem`.

        Parameters
        ----------
        problem : CodingProblem
            Of a linear dictionary with an L1 term and without batch terms.
        start : Tensor of shape (..., n, l)
            Gives shape and dtype of the codes; iterations begin with dual variables of zero.

        Returns
        -------
        SolverResult

        Raises
        ------
        ValueError
            If the setting is invalid, or the problem another one.
        """
        check_settings(self)
        lasso = problem.start_at(start).lasso()
        if lasso is None:
            raise ValueError(
                f"ADMM solves problems of a linear dictionary with an L1 term and beta = 0, but got a {problem!r}. Use "
                "FISTA()."
            )
        scaled = ScaledLasso(lasso)
        w = scaled.admm((start / scaled.scale).float(), lasso.linear, self.max_iter)
        n_iter = torch.full(start.shape[:-1], self.max_iter, device=start.device)
        codes = scaled.shrink(w).to(start.dtype)
        return SolverResult(codes, n_iter, torch.ones_like(n_iter, dtype=torch.bool), problem)
