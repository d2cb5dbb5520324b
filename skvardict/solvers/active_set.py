"""Lasso codes of many rows in one dictionary: ADMM finds the supports, normal equations finish the codes."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from skvardict._sklearn import COUNT, NON_NEGATIVE, BaseEstimator
from skvardict.solvers._result import SolverResult
from skvardict.solvers._scaled_lasso import ScaledLasso
from skvardict.solvers.fista import FISTA
from skvardict.solvers.protocol import CodingProblem, Lasso

_FIRST_ITERATIONS = 18  # of ADMM before the first look at the supports
_ITERATIONS = 5  # between two looks after that; few, since they start near the solution
_MOST_ITERATIONS = 375  # after which first-order iterations take what is left
_JITTER = 64  # in units of the rounding error; keeps the normal equations of repeated atoms solvable
_ENTRIES = 2**18  # of the normal matrices built at a time: 2 MB in double precision


class ActiveSetADMM(BaseEstimator):
    """Solver of convex problems without batch terms, to a duality gap per row.

    With ``H`` and ``b`` the Hessian and linear term of a :class:`~skvardict.energies.LinearProblem`, atoms scaled to
    ``H_jj = 1`` and ``tau`` the L1 weights in that scale, a row minimises ``1/2 z H z - b z + sum_j tau_j |z_j|``.
    ADMM with penalty 1, over-relaxed by ``r = 1.9`` and written for the one vector ``w`` (relaxed point plus dual
    variable), is one product per iteration with a matrix that all rows share:

        q = clip(w, -tau, tau),  w <- r b P + (w - 2 q)(r P - r/2 I) + (1 - r/2) w,  P = (H + I)^-1,  z = w - q

    with ``q = min(w, tau)`` for non-negative codes. It runs in single precision; all that its result is used for is
    the support ``S`` and the signs of ``z``. In double precision, ``H_SS z_S = b_S - tau_S sign(z_S)`` then gives the
    code, exact where the support is, and its duality gap tells: a row within ``tol`` times its objective ends. The
    others go on, from ``w = z + b - z H`` at the solved code where its relative gap is less than half of the row's
    best so far (a step of the primal-dual active set method), from their own ``w`` where not. Rows that are left
    after 375 iterations go to FISTA with adaptive restart.

    Parameters
    ----------
    max_iter : int
        Iterations per row, of either kind.
    tol : float
        Duality gap, relative to the objective, at which a row has converged.

    References
    ----------
    Boyd et al. (2011), sections 3.4.3 and 6.4; Hintermueller, Ito & Kunisch (2002) for the active set step.

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
        scaled = _SupportSolver(lasso)
        codes, whole = start.clone(), problem
        n_iter = torch.full(start.shape[:1], self.max_iter, device=start.device)
        converged = torch.zeros(start.shape[:1], dtype=torch.bool, device=start.device)
        rows = torch.arange(start.shape[0], device=start.device)
        w, best = (start / scaled.scale).float(), torch.ones_like(start[:, 0])
        linear = lasso.linear
        iteration = 0
        while len(rows) and iteration < min(self.max_iter, _MOST_ITERATIONS):
            block = min(_ITERATIONS if iteration else _FIRST_ITERATIONS, self.max_iter - iteration)
            w = scaled.admm(w, linear, block)
            iteration += block
            solved = scaled.solve_on_support(w, linear)
            gradient = torch.addmm(linear, solved, lasso.hessian, beta=-1)
            gap, objective = problem.relative_gap(solved, gradient)
            met = gap <= self.tol * objective
            ended, keep = met.nonzero().squeeze(1), (~met).nonzero().squeeze(1)
            ended_rows = rows.index_select(0, ended)
            codes.index_copy_(0, ended_rows, solved.index_select(0, ended))
            n_iter[ended_rows], converged[ended_rows] = iteration, True
            if len(keep) == 0:
                return SolverResult(codes, n_iter, converged, whole)
            gap = gap / objective
            restart = (gap < best / 2)[keep, None]
            best = torch.fmin(best, gap)[keep]
            w = torch.where(restart, scaled.dual_sum(solved[keep], gradient[keep]), w[keep])
            rows, linear = rows.index_select(0, keep), linear.index_select(0, keep)
            problem = problem.keep_rows(keep, codes[:0])
        if len(rows):
            codes.index_copy_(0, rows, scaled.shrink(w).to(codes.dtype))
            if iteration < self.max_iter:
                fista = FISTA(self.max_iter - iteration, self.tol, restart=True, criterion="gap", check_every=10)
                rest = fista.solve(problem, codes.index_select(0, rows))
                codes.index_copy_(0, rows, rest.codes)
                n_iter[rows], converged[rows] = iteration + rest.n_iter, rest.converged
        return SolverResult(codes, n_iter, converged, whole)


def _lasso(problem: CodingProblem) -> Lasso:
    lasso = problem.lasso()
    if lasso is None or not lasso.alpha > 0:
        raise ValueError(
            f"ActiveSetADMM solves problems of a linear dictionary with an L1 term, alpha > 0 and beta = 0, but got a "
            f"{problem!r}. Use FISTA()."
        )
    return lasso


class _SupportSolver(ScaledLasso):
    """Adds the normal equations of given supports."""

    def __init__(self, lasso: Lasso):
        super().__init__(lasso)
        self.alpha = lasso.alpha
        # A row and a column of zeros at the end: where rows of unequal support point to in a common block.
        self.padded_hessian = torch.nn.functional.pad(lasso.hessian, (0, 1, 0, 1)).flatten()
        # More atoms than this on a support: no unique solution, and nothing gained by one.
        self.rank = lasso.rank
        self.jitter = _JITTER * torch.finfo(lasso.hessian.dtype).eps * lasso.hessian.diagonal().max()

    def solve_on_support(self, w: Tensor, linear: Tensor) -> Tensor:
        """Return the stationary codes with the support and signs of ``w``; entries that change sign become zero.

        The rows are taken in the order of the sizes of their supports, in blocks with one size of matrix each.
        """
        support = w > self.tau if self.positive else w.abs() > self.tau
        sizes, order = support.sum(1).sort()
        codes, begin, zero = torch.zeros_like(linear), 0, support.shape[1]
        host_sizes = sizes.tolist()
        while begin < len(order):
            end = _block_end(host_sizes, begin)
            rows, size = order[begin:end], host_sizes[end - 1]
            begin = end
            if size == 0:
                continue
            if size > self.rank:
                break
            index = torch.full((len(rows), size), zero, dtype=torch.int32, device=w.device)
            row, column = support[rows].nonzero(as_tuple=True)
            counts = sizes[end - len(rows) : end]
            place = torch.arange(len(row), device=w.device) - (counts.cumsum(0) - counts)[row]
            index[row, place] = column.int()
            flat_index = (index * (zero + 1))[:, :, None] + index[:, None, :]
            matrices = self.padded_hessian.index_select(0, flat_index.flatten()).view(len(rows), size, size)
            matrices.diagonal(dim1=1, dim2=2).add_(torch.where(index == zero, 1.0, self.jitter))
            row_of_all = rows[row]
            sign = 1.0 if self.positive else w[row_of_all, column].sign().to(linear.dtype)
            right = linear.new_zeros(len(rows), size, 1)
            right[row, place, 0] = linear[row_of_all, column] - self.alpha * sign
            factor, _ = torch.linalg.cholesky_ex(matrices)
            half = torch.linalg.solve_triangular(factor, right, upper=False)
            values = torch.linalg.solve_triangular(factor.mT, half, upper=True)[row, place, 0]
            codes[row_of_all, column] = torch.where(values * sign > 0, values, 0.0)
        return codes


def _block_end(sizes: list[int], begin: int) -> int:
    """Return the end of the longest block from `begin` whose matrices have at most ``_ENTRIES`` entries."""
    end = begin + 1
    while end < len(sizes) and (end + 1 - begin) * sizes[end] ** 2 <= _ENTRIES:
        end += 1
    return end
