"""What the lasso codes of many rows need to be exact: normal equations on supports, gradients, gaps, and exchanges."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from skvardict.functional.duality import gap_along_residual
from skvardict.solvers._scaled_lasso import RELAXATION, ScaledLasso, unit_scale
from skvardict.solvers.protocol import Lasso

_JITTER = 64  # in units of the rounding error; keeps the normal equations of repeated atoms solvable
_ENTRIES = 2**18  # of the normal matrices built at a time: 2 MB in double precision
_PENALTIES = 1 / 32, 8.0
_ROUNDING = 1e-13  # relative to |x|^2: what no longer is progress of an objective
_TINY = torch.finfo(torch.float32).tiny
_LARGEST_PER_CODE = 7.0  # largest correlation over mean non-zero code, about; sets the penalty of a row
_SET_ITERATIONS = 20
_MOST_IDLE = 4  # exchanges without progress after which a row has reached the precision of its numbers
_SHARE_ADDED = 0.25  # of the size of a support: the most atoms that join it at a time


class Point(NamedTuple):
    """Codes of rows with their gradients ``z H - b``, and the products ``b z``, ``z (z H - b)`` and ``|z|_1``."""

    codes: Tensor
    gradient: Tensor
    projection: Tensor
    slope: Tensor
    norm: Tensor

    def value(self, alpha: float) -> Tensor:
        """Return the objective without the constant, per row."""
        return (self.slope - self.projection) / 2 + alpha * self.norm

    def where(self, rows: Tensor, other: "Point") -> "Point":
        """Return `other` for the rows where `rows` (n,) is true."""
        pairs = zip(self, other, strict=True)
        return Point(*(torch.where(rows.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in pairs))

    def keep(self, index: Tensor) -> "Point":
        """Return the rows in `index`."""
        return Point(*(a.index_select(0, index) for a in self))


class LassoMatrices:
    """A dictionary and an L1 weight: everything that all rows share, built once and where it is first needed.

    Parameters
    ----------
    lasso : Lasso
        Its `linear` and `norm_sq`, which belong to rows, are not used.
    """

    def __init__(self, lasso: Lasso):
        self.lasso = lasso
        self.alpha, self.positive, self.rank = float(lasso.alpha), lasso.positive, lasso.rank
        of = lasso.hessian if lasso.factor is None else lasso.factor
        assert of is not None
        self.n_atoms = len(of)
        largest = lasso.factor.square().sum(1).max() if lasso.factor is not None else of.diagonal().max()
        self.jitter = _JITTER * torch.finfo(of.dtype).eps * largest
        self._scaled: ScaledLasso | None = None
        self._padded: Tensor | None = None

    def scaled(self, linear: Tensor) -> ScaledLasso:
        """Return the matrices of ADMM, with a penalty set from the first rows."""
        if self._scaled is None:
            scale = unit_scale(self.lasso)
            largest = (linear * scale).abs().amax(1).mean()
            penalty = float(_LARGEST_PER_CODE * self.alpha * scale.mean() / largest.clamp_min(_TINY))
            self._scaled = ScaledLasso(self.lasso, min(max(penalty, _PENALTIES[0]), _PENALTIES[1]))
        return self._scaled

    def gradient(self, codes: Tensor, linear: Tensor) -> Tensor:
        """Return ``z H - b``."""
        factor, hessian = self.lasso.factor, self.lasso.hessian
        if hessian is not None and (factor is None or 2 * factor.shape[1] > len(factor)):
            return torch.addmm(linear, codes, hessian, beta=-1)
        assert factor is not None
        return torch.addmm(linear, codes @ factor, factor.mT, beta=-1)

    def point(self, codes: Tensor, linear: Tensor) -> Point:
        """Return `codes` with gradients and products."""
        gradient, dot = self.gradient(codes, linear), torch.linalg.vecdot
        norm = torch.linalg.vector_norm(codes, 1, dim=1)
        return Point(codes, gradient, dot(linear, codes), dot(codes, gradient), norm)

    def gap(self, point: Point, norm_sq: Tensor) -> Tensor:
        """Return the duality gap relative to the objective, per row."""
        along = norm_sq - point.projection
        largest = -point.gradient.amin(1)
        if not self.positive:
            largest = torch.maximum(largest, point.gradient.amax(1))
        limit = self.alpha / largest.clamp_min(torch.finfo(largest.dtype).tiny)
        gap, objective = gap_along_residual(along + point.slope, along, self.alpha * point.norm, limit)
        return torch.where(gap <= 0, 0.0, gap / objective.clamp_min(torch.finfo(objective.dtype).tiny))

    def solve(self, support: Tensor, signs: Tensor, linear: Tensor) -> Tensor:
        """Return the stationary codes on the given supports for the given signs, which they need not have.

        The rows are taken in the order of the sizes of their supports, in blocks with one size of matrix each.

        Parameters
        ----------
        support : Tensor of shape (n, l), bool
        signs : Tensor of shape (n, l)
        linear : Tensor of shape (n, l)
        """
        sizes, order = support.sum(1).sort()
        codes, host_sizes, begin = torch.zeros_like(linear), sizes.tolist(), 0
        while begin < len(order):
            end = _block_end(host_sizes, begin)
            rows, size = order[begin:end], host_sizes[end - 1]
            begin = end
            if size == 0:
                continue
            index = torch.full((len(rows), size), self.n_atoms, dtype=torch.int32, device=linear.device)
            row, column = support[rows].nonzero(as_tuple=True)
            counts = sizes[end - len(rows) : end]
            place = torch.arange(len(row), device=linear.device) - (counts.cumsum(0) - counts)[row]
            index[row, place] = column.int()
            matrices = self.normal_matrices(index)
            matrices.diagonal(dim1=1, dim2=2).add_(torch.where(index == self.n_atoms, 1.0, self.jitter))
            row_of_all = rows[row]
            right = linear.new_zeros(len(rows), size, 1)
            right[row, place, 0] = linear[row_of_all, column] - self.alpha * signs[row_of_all, column]
            triangle, _ = torch.linalg.cholesky_ex(matrices)
            half = torch.linalg.solve_triangular(triangle, right, upper=False)
            codes[row_of_all, column] = torch.linalg.solve_triangular(triangle.mT, half, upper=True)[row, place, 0]
        return codes

    def normal_matrices(self, index: Tensor) -> Tensor:
        """Return ``H_SS`` per row of `index` (n, k), of which entries l stand for no atom: a row of zeros."""
        factor = self.lasso.factor
        if self._padded is None and self.lasso.hessian is None:
            assert factor is not None
            if 4 * index.shape[1] * index.numel() < self.n_atoms**2:
                atoms = pad(factor, (0, 0, 0, 1))[index] if len(factor) < 64 else _gather(factor, index)
                return atoms @ atoms.mT
        if self._padded is None:
            hessian = self.lasso.hessian if factor is None or self.lasso.hessian is not None else factor @ factor.mT
            assert hessian is not None
            self._padded = pad(hessian, (0, 1, 0, 1)).flatten()
        flat = (index * (self.n_atoms + 1))[:, :, None] + index[:, None, :]
        return self._padded.index_select(0, flat.flatten()).view(*index.shape, index.shape[1])


def _gather(factor: Tensor, index: Tensor) -> Tensor:
    """Return the rows `index` of `factor`, zeros where the index is beyond the last."""
    is_atom = index < len(factor)
    return factor[index.clamp_max(len(factor) - 1)] * is_atom[..., None]


def _block_end(sizes: list[int], begin: int) -> int:
    """Return the end of the longest block from `begin` whose matrices have at most ``_ENTRIES`` entries."""
    end = begin + 1
    while end < len(sizes) and (end + 1 - begin) * sizes[end] ** 2 <= _ENTRIES:
        end += 1
    return end


class WorkingSets:
    """The atoms of each row that may enter its code, with ADMM on them: where supports are short and atoms many.

    Every row has its own small matrix and its own penalty.

    Parameters
    ----------
    matrices : LassoMatrices
    """

    def __init__(self, matrices: LassoMatrices):
        self.matrices = matrices

    def solve(self, linear: Tensor, n_atoms: int) -> Point:
        """Return the codes on the supports that ADMM finds among the `n_atoms` most correlated atoms of a row."""
        matrices = self.matrices
        index = (linear if matrices.positive else linear.abs()).topk(n_atoms, dim=1, sorted=False).indices
        right = linear.gather(1, index)
        gram = matrices.normal_matrices(index.int())
        codes = self._admm(gram, right)
        support, signs = codes != 0, codes.sign().to(right.dtype)
        # All rows have the same number of atoms: those off the support become rows of the identity.
        gram = torch.where(support[:, :, None] & support[:, None, :], gram, 0.0)
        gram.diagonal(dim1=1, dim2=2).add_(torch.where(support, matrices.jitter, 1.0))
        right_side = torch.where(support, right - matrices.alpha * signs, 0.0)[:, :, None]
        triangle, _ = torch.linalg.cholesky_ex(gram)
        half = torch.linalg.solve_triangular(triangle, right_side, upper=False)
        solved = torch.linalg.solve_triangular(triangle.mT, half, upper=True)[:, :, 0]
        solved = torch.where(solved * signs > 0, solved, 0.0)
        whole = torch.zeros_like(linear).scatter_(1, index, solved)
        gradient, dot = matrices.gradient(whole, linear), torch.linalg.vecdot
        slope = dot(solved, gradient.gather(1, index))
        return Point(whole, gradient, dot(right, solved), slope, solved.abs().sum(1))

    def _admm(self, gram: Tensor, right: Tensor) -> Tensor:
        """Return codes (n, m) after a few iterations in single precision; see :class:`ActiveSetADMM`."""
        diagonal = gram.diagonal(dim1=1, dim2=2)
        scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt().float()
        linear, tau = right.float() * scale, self.matrices.alpha * scale
        penalty = (_LARGEST_PER_CODE * tau.amax(1) / linear.abs().amax(1).clamp_min(_TINY)).clamp(*_PENALTIES)
        penalty = penalty[:, None]
        matrix = gram.float() * scale[:, :, None] * scale[:, None, :]
        matrix.diagonal(dim1=1, dim2=2).add_(penalty)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(matrix)[0])
        tau = tau / penalty
        offset = torch.bmm(linear[:, None] * RELAXATION, inverse)[:, 0]
        w = linear / penalty
        for _ in range(_SET_ITERATIONS):
            dual = torch.minimum(w, tau) if self.matrices.positive else torch.clamp(w, -tau, tau)
            turned = (w - 2 * dual) * (RELAXATION * penalty)
            moved = torch.baddbmm(offset[:, None], turned[:, None], inverse)[:, 0]
            w = moved + RELAXATION * dual + (1 - RELAXATION) * w
        return w - (torch.minimum(w, tau) if self.matrices.positive else torch.clamp(w, -tau, tau))


class Exchanges:
    """Supports of rows that change atom by atom, or several at a time, while the objective of every row falls.

    The stationary code on a support is the next one where it has the signs of the support. Where not, its entries of
    the wrong sign are set to zero; where that does not lower the objective, the way to it is taken only until the
    first entry vanishes. Atoms whose correlation with the residual exceeds `alpha` then join, up to a quarter of the
    support at a time. A row that has made no progress takes one, and only from a stationary point, which always lowers
    the objective: no support comes twice.

    Parameters
    ----------
    matrices : LassoMatrices
    linear : Tensor of shape (n, l)
    norm_sq : Tensor of shape (n,)
    codes : Tensor of shape (n, l)

    References
    ----------
    Lee, Battle, Raina & Ng, Efficient sparse coding algorithms, NIPS 2006 (feature-sign search), with several atoms at
    a time and all rows at once.
    """

    def __init__(self, matrices: LassoMatrices, linear: Tensor, norm_sq: Tensor, codes: Tensor):
        self.matrices, self.linear, self.norm_sq = matrices, linear, norm_sq
        self.at = matrices.point(codes, linear)
        self.is_careful = torch.zeros_like(norm_sq, dtype=torch.bool)
        self.is_stationary = torch.zeros_like(self.is_careful)
        self.n_idle = torch.zeros_like(norm_sq, dtype=torch.int64)

    def step(self) -> tuple[Tensor, Tensor]:
        """Make one exchange in every row; return the relative gaps, and which rows cannot go on."""
        codes = self.at.codes
        support, signs = self._supports()
        solved = self.matrices.solve(support, signs, self.linear)
        is_wrong = support & (solved * signs <= 0)
        is_consistent = ~is_wrong.any(1)
        moved = self.matrices.point(torch.where(is_wrong, 0.0, solved), self.linear)
        alpha = self.matrices.alpha
        limit = self.at.value(alpha) - _ROUNDING * self.norm_sq
        rises = ~is_consistent & (moved.value(alpha) >= limit)
        if bool(rises.any()):
            stopped = _until_first_zero(codes, solved, is_wrong)
            moved = moved.where(rises, self.matrices.point(stopped, self.linear))
        has_moved = moved.value(alpha) < limit
        self.n_idle = torch.where(has_moved, 0, self.n_idle + 1)
        self.is_careful = ~has_moved & (self.is_careful | ~is_consistent)
        self.is_stationary, self.at = is_consistent, moved
        return self.matrices.gap(moved, self.norm_sq), self.n_idle >= _MOST_IDLE

    def keep(self, index: Tensor) -> None:
        """Go on with the rows in `index`."""
        self.at = self.at.keep(index)
        for name in ("linear", "norm_sq", "is_careful", "is_stationary", "n_idle"):
            setattr(self, name, getattr(self, name).index_select(0, index))

    def _supports(self) -> tuple[Tensor, Tensor]:
        """Return the supports with the atoms that join, and the signs on them."""
        codes, pull = self.at.codes, -self.at.gradient
        support = codes != 0
        excess = (pull if self.matrices.positive else pull.abs()) - self.matrices.alpha
        excess = torch.where(support | (excess <= _ROUNDING * self.norm_sq.sqrt()[:, None]), 0.0, excess)
        share = (support.sum(1) * _SHARE_ADDED).long().clamp_min(1)
        most = torch.where(self.is_careful, self.is_stationary.long(), share).minimum((excess > 0).sum(1))
        n_added = int(most.max())
        if n_added == 0:
            return support, codes.sign()
        values, columns = excess.topk(n_added, dim=1)
        joins = torch.zeros_like(support)
        joins.scatter_(1, columns, (values > 0) & (torch.arange(n_added, device=columns.device) < most[:, None]))
        return support | joins, torch.where(joins, pull.sign(), codes.sign())


def _until_first_zero(codes: Tensor, solved: Tensor, is_wrong: Tensor) -> Tensor:
    """Return the point on the way from `codes` to `solved` where the first of the entries `is_wrong` vanishes."""
    change = solved - codes
    part = torch.where(is_wrong, torch.where(codes == 0, 0.0, codes / -change), torch.inf)
    first = part.amin(1, keepdim=True)
    there = codes + first * change
    return torch.where((is_wrong & (part <= first)) | (there * codes < 0), 0.0, there)
