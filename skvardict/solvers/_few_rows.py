"""Lasso codes of a few rows: coordinate descent on a working set of atoms, in numpy, one row after another.

For a handful of rows, matrices of the whole dictionary cost more than the codes. A row needs the atoms that may enter
its code, a few dozen, and scikit-learn's compiled loop over them; its certificate is a pass over all atoms.
"""

from typing import NamedTuple

import numpy as np

from skvardict._sklearn import coordinate_descent

_FIRST_ATOMS = 32  # of a working set, all of them if there are no more than
_ALL_ATOMS = 128
_FEWEST_ADDED = 16  # at a time, if there are so many, and at most as many as there are
_TOLERANCES = 1e-3, 1e-5, 1e-7  # of coordinate descent, relative to |x|^2, tried in turn: normal equations finish
_MOST_DROPS = 3  # of entries with a wrong sign, by which normal equations are solved again
_MOST_SWEEPS = 1_000_000
_TINY = float(np.finfo(np.float64).tiny)
_JITTER = 64 * float(np.finfo(np.float64).eps)


class RowCode(NamedTuple):
    """Code of a row, number of coordinate descents, and relative duality gap."""

    code: np.ndarray
    n_solved: int
    gap: float


class _NoDraws:
    """Coordinates are taken in order: the generator that coordinate descent wants draws nothing."""

    @staticmethod
    def randint(low: int, high: int) -> int:
        return low


def encode_row(
    atoms: np.ndarray,
    x: np.ndarray,
    linear: np.ndarray,
    weight: float,
    *,
    gram: np.ndarray | None = None,
    positive: bool,
    tol: float,
    most_atoms: int,
    most_nonzeros: float,
) -> RowCode:
    """Return the code that minimises ``1/2 |x - z W|^2 + weight |z|_1`` for one row.

    Parameters
    ----------
    atoms : ndarray of shape (l, d), float64
    x : ndarray of shape (d,), float64
    linear : ndarray of shape (l,)
        ``W x``.
    weight : float
        Greater than zero.
    gram : ndarray of shape (l, l), optional
        ``W W^T``; spares products where supports are short.
    positive : bool
    tol : float
        Duality gap, relative to the objective. Where it is missed, the code is the best known.
    most_atoms : int
        Of a working set; a row that needs more is given up.
    most_nonzeros : float
        A row that needs more is given up: where supports fill the features, coordinate descent is slow.
    """
    code, norm_sq = np.zeros(len(linear)), float(x @ x)
    if _largest(linear, positive) <= weight:
        return RowCode(code, 0, 0.0)
    n_first = len(linear) if len(linear) <= _ALL_ATOMS else _FIRST_ATOMS
    working, best = _strongest(_score(linear, positive), n_first), RowCode(code, 0, np.inf)
    values, n_solved = np.zeros(len(working)), 0
    while True:
        if gram is None:
            chosen = atoms[working]
            matrix = chosen @ chosen.T
        else:
            matrix = gram[working[:, None], working]
        right, inner = linear[working], np.inf
        for cd_tol in _TOLERANCES:
            n_solved += 1
            values = coordinate_descent(
                values, weight, 0.0, matrix, right, x, _MOST_SWEEPS, cd_tol, _NoDraws, False, positive
            )[0]
            if np.count_nonzero(values) > most_nonzeros:
                return best
            polished = _polish(matrix, right, values, weight)
            inner = _gap(polished, right, matrix @ polished - right, norm_sq, weight, positive)
            if inner <= tol:
                break
        if gram is None:
            residual = x - polished @ chosen
            pull, along, residual_sq = atoms @ residual, residual @ x, residual @ residual
        else:
            support = np.flatnonzero(polished)
            pull, along = linear - polished[support] @ gram[working[support]], norm_sq - right @ polished
            residual_sq = along - polished @ pull[working]
        gap = _relative_gap(residual_sq, along, polished, _largest(pull, positive), weight)
        if gap < best.gap:
            code = np.zeros(len(atoms))
            code[working] = polished
            best = RowCode(code, n_solved, gap)
        score = _score(pull, positive)
        score[working] = 0
        violators = np.flatnonzero(score > weight)
        if gap <= tol or inner > tol or len(violators) == 0 or len(working) > most_atoms:
            return best
        most = max(len(working), _FEWEST_ADDED)
        added = violators if len(violators) <= most else violators[_strongest(score[violators], most)]
        working, values = np.concatenate([working, added]), np.concatenate([polished, np.zeros(len(added))])


def _polish(gram: np.ndarray, right: np.ndarray, values: np.ndarray, weight: float) -> np.ndarray:
    """Return the stationary code on the support of `values`, or `values` where it does not keep the signs."""
    signs = np.sign(values)
    for _ in range(_MOST_DROPS):
        support = np.flatnonzero(signs)
        if len(support) == 0:
            break
        matrix = gram[support[:, None], support]
        matrix.flat[:: len(support) + 1] *= 1 + _JITTER
        try:
            solved = np.linalg.solve(matrix, right[support] - weight * signs[support])
        except np.linalg.LinAlgError:
            break
        is_right = solved * signs[support] > 0
        if is_right.all():
            polished = np.zeros_like(values)
            polished[support] = solved
            return polished
        signs[support[~is_right]] = 0
    return values


def _gap(code, linear, gradient, norm_sq: float, weight: float, positive: bool) -> float:
    along = norm_sq - linear @ code
    return _relative_gap(along + code @ gradient, along, code, _largest(-gradient, positive), weight)


def _relative_gap(residual_sq, along, code, largest: float, weight: float) -> float:
    """Return what :func:`skvardict.functional.duality.gap_along_residual` does, of one row, over the objective."""
    gauge = weight * np.abs(code).sum()
    scale = max(min(along / max(residual_sq, _TINY), weight / max(largest, _TINY)), 0.0)
    primal = residual_sq / 2 + gauge
    gap = primal - (scale * along - scale**2 * residual_sq / 2)
    return float(gap / primal) if gap > 0 else 0.0


def _score(pull: np.ndarray, positive: bool) -> np.ndarray:
    return pull.copy() if positive else np.abs(pull)


def _largest(pull: np.ndarray, positive: bool) -> float:
    return float(pull.max()) if positive else float(max(pull.max(), -pull.min()))


def _strongest(score: np.ndarray, most: int) -> np.ndarray:
    """Return the indices of the `most` largest entries."""
    if len(score) <= most:
        return np.arange(len(score))
    return np.argpartition(score, len(score) - most)[-most:]
