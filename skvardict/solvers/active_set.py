"""Lasso codes of many rows in one dictionary: ADMM finds the supports, normal equations finish the codes."""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from skvardict._sklearn import COUNT, NON_NEGATIVE, BaseEstimator
from skvardict.solvers._result import SolverResult
from skvardict.solvers._supports import Exchanges, LassoMatrices, WorkingSets
from skvardict.solvers.protocol import CodingProblem, Lasso

_ROUNDS = 16, 12, 16, 24, 32, 48  # iterations of ADMM, each before a look at the supports

_MANY_ATOMS = 256  # from here on rows begin with a working set of their own,
_SET_SIZE = 24  # of so many atoms, after which
_NEAR = 0.1  # is the relative gap that a few exchanges close


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
        results = _Results(start, norm_sq, self.max_iter, self.tol)
        left = _Block(torch.arange(len(start), device=start.device), linear, norm_sq, start)
        far = left
        is_warm = bool(start.any())
        if is_warm or matrices.n_atoms >= _MANY_ATOMS:
            point = matrices.point(start, linear) if is_warm else WorkingSets(matrices).solve(linear, _SET_SIZE)
            gap = matrices.gap(point, norm_sq)
            results.take(left.rows, point.codes, gap, 1)
            left = left.replace(codes=point.codes)
            far, left = left.keep(gap > _NEAR), left.keep((gap <= _NEAR) & ~results.converged)
        else:
            left = left.keep(torch.zeros_like(results.converged))
        if len(far.rows):
            left = left.join(self._find_supports(matrices, far, results))
        if len(left.rows):
            self._exchange(matrices, left, results)
        return results.codes, results.n_iter, results.converged, results.gap

    def _find_supports(self, matrices: LassoMatrices, left: "_Block", results: "_Results") -> "_Block":
        """Return the rows that are left after ADMM on all atoms."""
        scaled = matrices.scaled(left.linear)
        w, best = (left.codes / scaled.scale).float(), torch.ones_like(left.norm_sq)
        for n_iter in _ROUNDS:
            n_iter = min(n_iter, results.n_left)
            if n_iter == 0 or len(left.rows) == 0:
                break
            w = scaled.admm(w, left.linear, n_iter)
            codes = scaled.shrink(w)
            support = codes != 0
            too_many = support.sum(1) > matrices.rank  # no unique solution, and nothing gained by one
            signs = codes.sign().to(left.linear.dtype)
            solved = matrices.solve(support & ~too_many[:, None], signs, left.linear)
            point = matrices.point(torch.where(solved * signs > 0, solved, 0.0), left.linear)
            gap = matrices.gap(point, left.norm_sq)
            is_left = ~results.take(left.rows, point.codes, gap, n_iter)
            restart = (gap < best / 2)[is_left, None]
            best = torch.fmin(best, gap)[is_left]
            left = left.replace(codes=point.codes).keep(is_left)
            w = torch.where(restart, scaled.dual_sum(left.codes, point.gradient[is_left]), w[is_left])
        of_admm = matrices.point(scaled.shrink(w).to(left.linear.dtype), left.linear)
        of_equations = matrices.point(left.codes, left.linear)
        is_lower = of_equations.value(matrices.alpha) < of_admm.value(matrices.alpha)
        return left.replace(codes=of_admm.where(is_lower, of_equations).codes)

    def _exchange(self, matrices: LassoMatrices, left: "_Block", results: "_Results") -> None:
        exchanges = Exchanges(matrices, left.linear, left.norm_sq, left.codes)
        while len(left.rows) and results.n_left > 0:
            gap, cannot_go_on = exchanges.step()
            is_left = ~results.take(left.rows, exchanges.at.codes, gap, 1) & ~cannot_go_on
            exchanges.keep(is_left.nonzero().squeeze(1))
            left = left.keep(is_left)


class _Block(NamedTuple):
    """Some of the rows: their numbers, what their problems are, and codes to go on from."""

    rows: Tensor
    linear: Tensor
    norm_sq: Tensor
    codes: Tensor

    def keep(self, where: Tensor) -> "_Block":
        """Return the rows of a mask."""
        return _Block(*(a[where] for a in self))

    def join(self, other: "_Block") -> "_Block":
        """Return these rows and those."""
        return _Block(*(torch.cat(pair) for pair in zip(self, other, strict=True))) if len(self.rows) else other

    def replace(self, codes: Tensor) -> "_Block":
        """Return the same rows with other codes."""
        return self._replace(codes=codes)


class _Results:
    """Codes of all rows as they are best known, and what they took."""

    def __init__(self, start: Tensor, norm_sq: Tensor, max_iter: int, tol: float):
        self.codes, self.tol, self.n_left = start.clone(), tol, max_iter
        self.max_iter = max_iter
        self.n_iter = torch.full_like(norm_sq, max_iter, dtype=torch.int64)
        self.gap = torch.full_like(norm_sq, torch.inf)
        self.converged = torch.zeros_like(norm_sq, dtype=torch.bool)

    def take(self, rows: Tensor, codes: Tensor, gap: Tensor, n_iter: int) -> Tensor:
        """Take codes after `n_iter` more iterations where they are better; return which rows have converged."""
        self.n_left -= n_iter
        better = gap < self.gap[rows]
        self.codes[rows[better]], self.gap[rows[better]] = codes[better], gap[better]
        met = gap <= self.tol
        self.n_iter[rows[met]], self.converged[rows[met]] = self.max_iter - self.n_left, True
        return met


def _lasso(problem: CodingProblem) -> Lasso:
    lasso = problem.lasso()
    if lasso is None or lasso.linear.dim() != 2 or not lasso.alpha > 0:
        raise ValueError(
            f"ActiveSetADMM solves problems of one linear dictionary with an L1 term, alpha > 0 and beta = 0, but got "
            f"a {problem!r}. Use FISTA()."
        )
    return lasso
