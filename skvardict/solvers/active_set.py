"""Lasso codes of many rows in one dictionary: ADMM finds the supports, normal equations finish the codes."""

from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skvardict._sklearn import COUNT, NON_NEGATIVE
from skvardict.solvers._result import SolverResult
from skvardict.solvers._supports import Exchanges, LassoMatrices
from skvardict.solvers.protocol import CodingProblem, Lasso

_ROUNDS = 16, 12, 16, 24, 32, 48  # iterations of ADMM, each before a look at the supports


class ActiveSetADMM(BaseEstimator):
    """Solver of convex problems without batch terms, to a duality gap per row.

    With ``H`` and ``b`` the Hessian and linear term of a :class:`~skvardict.energies.LinearProblem`, atoms scaled to
    ``H_jj = 1`` and ``tau`` the L1 weights in that scale, a row minimises ``1/2 z H z - b z + sum_j tau_j |z_j|``.
    ADMM with penalty ``p``, over-relaxed by ``r = 1.9`` and written for the one vector ``w`` (relaxed point plus dual
    variable over ``p``), is one product per iteration with a matrix that all rows share:

        q = clip(w, -tau/p, tau/p),  w <- r b P + (w - 2 q)(r p P - r/2 I) + (1 - r/2) w,  P = (H + p I)^-1,  z = w - q

    with ``q = min(w, tau/p)`` for non-negative codes. The penalty is the mean of ``tau`` over the mean non-zero code of
    a few rows after some iterations. ADMM runs in single precision; all that its result is used for is the support
    ``S`` and the signs of ``z``. In double precision, ``H_SS z_S = b_S - tau_S sign(z_S)`` then gives the code, exact
    where the support is, and its duality gap tells: a row within ``tol`` times its objective ends. The others go on,
    from ``w = z + (b - z H)/p`` at the solved code where its relative gap is less than half of the row's best so far
    (a step of the primal-dual active set method), from their own ``w`` where not. Rows that are left after 148
    iterations exchange atoms of their supports until they are exact, with an objective that falls at every exchange.

    Parameters
    ----------
    max_iter : int
        Iterations of ADMM and exchanges per row, together.
    tol : float
        Duality gap, relative to the objective, at which a row has converged.

    References
    ----------
    Boyd et al. (2011), sections 3.4.3 and 6.4; Hintermueller, Ito & Kunisch (2002) for the active set step; Lee,
    Battle, Raina & Ng (2006), feature-sign search, for the exchanges.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import L1, LinearProblem
    >>> from skvardict.solvers import ActiveSetADMM
    >>> problem = LinearProblem(torch.tensor([[3.0, 0.5, 0.0]]), torch.eye(3), L1(alpha=2 / 3))
    >>> ActiveSetADMM(tol=1e-6).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "max_iter": COUNT,
        "tol": NON_NEGATIVE,
    }

    def __init__(self, max_iter: int = 10_000, tol: float = 1e-4):
        self.max_iter = max_iter
        self.tol = tol

    @torch.no_grad()
    def solve(self, problem: CodingProblem, start: Tensor) -> SolverResult:
        """Minimise the energy of `problem`, from `start`.

        Parameters
        ----------
        problem : CodingProblem
            One that is a lasso: :class:`~skvardict.energies.LinearProblem` without leading batch axes, with an L1 term
            (of an elastic net, too), ``alpha > 0`` and ``beta = 0``.
        start : Tensor of shape (n, l)
            First codes; not modified.

        Returns
        -------
        SolverResult

        Raises
        ------
        ValueError
            If a setting is invalid, or the problem another one.
        """
        self._validate_params()
        problem = problem.start_at(start)
        lasso = _lasso(problem)
        assert lasso.norm_sq is not None
        return SolverResult(*self.solve_rows(LassoMatrices(lasso), lasso.linear, lasso.norm_sq, start)[:3], problem)

    def solve_rows(
        self, matrices: LassoMatrices, linear: Tensor, norm_sq: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return codes, iterations, convergence and relative gaps of rows of a dictionary whose matrices are built."""
        rows = _RowsLeft(start, norm_sq, self.max_iter, self.tol)
        scaled = matrices.scaled(linear)
        w, best, solved = (start / scaled.scale).float(), torch.ones_like(norm_sq), start
        for n_iter in _ROUNDS:
            n_iter = min(n_iter, self.max_iter - rows.iteration)
            if n_iter == 0 or rows.all_ended():
                break
            w = scaled.admm(w, linear, n_iter)
            codes = scaled.shrink(w)
            support = codes != 0
            too_many = support.sum(1) > matrices.rank  # no unique solution, and nothing gained by one
            signs = codes.sign().to(linear.dtype)
            solved = matrices.solve(support & ~too_many[:, None], signs, linear)
            point = matrices.point(torch.where(solved * signs > 0, solved, 0.0), linear)
            gap = matrices.gap(point, linear, norm_sq)
            keep = rows.end(point.codes, gap, n_iter)
            restart = (gap < best / 2)[keep, None]
            best = torch.fmin(best, gap)[keep]
            solved = point.codes[keep]
            w = torch.where(restart, scaled.dual_sum(solved, point.gradient[keep]), w[keep])
            linear, norm_sq = linear.index_select(0, keep), norm_sq.index_select(0, keep)
        if not rows.all_ended() and rows.iteration < self.max_iter:
            shrunk = matrices.point(scaled.shrink(w).to(linear.dtype), linear)
            other = matrices.point(solved, linear)
            better = shrunk.where(other.value < shrunk.value, other).codes
            exchanges = Exchanges(matrices, linear, norm_sq, better)
            while not rows.all_ended() and rows.iteration < self.max_iter:
                gap, cannot_go_on = exchanges.step()
                keep = rows.end(exchanges.at.codes, gap, 1, cannot_go_on)
                exchanges.keep(keep)
        return rows.codes, rows.n_iter, rows.converged, rows.gap


class _RowsLeft:
    """Codes of all rows as they are best known, and which rows are left."""

    def __init__(self, start: Tensor, norm_sq: Tensor, max_iter: int, tol: float):
        self.codes, self.tol, self.iteration = start.clone(), tol, 0
        self.n_iter = torch.full_like(norm_sq, max_iter, dtype=torch.int64)
        self.gap = torch.full_like(norm_sq, torch.inf)
        self.converged = torch.zeros_like(norm_sq, dtype=torch.bool)
        self.left = torch.arange(len(start), device=start.device)

    def end(self, codes: Tensor, gap: Tensor, n_iter: int, cannot_go_on: Tensor | None = None) -> Tensor:
        """Take the codes of the rows left after `n_iter` more iterations; return the indices of those that go on."""
        self.iteration += n_iter
        met = gap <= self.tol
        better = gap < self.gap[self.left]
        rows = self.left[better]
        self.codes[rows], self.gap[rows] = codes[better], gap[better]
        ended = met if cannot_go_on is None else met | cannot_go_on
        rows = self.left[ended]
        self.n_iter[rows], self.converged[rows] = self.iteration, met[ended]
        keep = (~ended).nonzero().squeeze(1)
        self.left = self.left[keep]
        return keep

    def all_ended(self) -> bool:
        """Return whether no row is left."""
        return len(self.left) == 0


def _lasso(problem: CodingProblem) -> Lasso:
    lasso = problem.lasso()
    if lasso is None or not lasso.alpha > 0:
        raise ValueError(
            f"ActiveSetADMM solves problems of a linear dictionary with an L1 term, alpha > 0 and beta = 0, but got a "
            f"{problem!r}. Use FISTA()."
        )
    return lasso
