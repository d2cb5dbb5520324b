"""Codes for a fixed dictionary, row by row: what `sparse_encode` and `SparseCoder` share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skvardict._utils.messages import warn
from skvardict._utils.parameters import check_count
from skvardict.energies import L1, LinearProblem
from skvardict.functional import soft_threshold
from skvardict.functional.signs import split_signs
from skvardict.rows import Rows
from skvardict.rows.maps import MappedPages
from skvardict.solvers import FISTA, ActiveSetADMM
from skvardict.solvers._few_rows import encode_row
from skvardict.solvers._supports import LassoMatrices
from skvardict.solvers.matching_pursuit import orthogonal_matching_pursuit
from skvardict.solvers.protocol import Lasso

ALGORITHMS = ("lasso", "omp", "threshold")
OTHER_NAMES = {
    "dictionary": "components",
    "n_jobs": "torch.set_num_threads",
    "regularization": "alpha",
    "transform_alpha": "alpha",
    "transform_max_iter": "max_iter",
    "transform_n_nonzero_coefs": "n_nonzero_coefs",
}
_CHANGE_PER_GAP = 1e-2
_FEW_ROWS = 8  # are coded one by one, and any number of rows from
_MANY_ATOMS = 1024  # on, as long as
_MOST_ATOMS = 256  # suffice for a working set, and non-zeros are at most
_MOST_OF_FEATURES = 0.75  # of the features; where the rows are more than
_ROWS_PER_GRAM = 1 / 16  # of the atoms, the Gram matrix is worth its cost
_ROWS_PER_CHUNK = 2500  # codes, momentum and gradients of a chunk stay in the processor's cache


@dataclass(frozen=True)
class Coding:
    """How rows are coded; the parameters of :func:`skvardict.sparse_encode`."""

    algorithm: str
    alpha: float | None
    positive: bool
    n_nonzero_coefs: int | None
    tol: float
    max_iter: int

    def check(self, owner: str) -> None:
        """Raise a ValueError that names what is out of range or does not belong to the algorithm."""
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"{owner} expects the algorithm to be one of {', '.join(ALGORITHMS)}, but got {self.algorithm!r}. "
                'scikit-learn\'s "lasso_cd" and "lasso_lars" are "lasso" here.'
            )
        check_number(owner, "tol", self.tol)
        check_count("max_iter", self.max_iter)
        if self.algorithm != "omp":
            self._check_weight(owner)
        elif self.positive:
            raise ValueError(
                f'{owner}: codes of "omp" are signed. Pass positive=False (of SparseCoder: positive_code).'
            )
        elif self.n_nonzero_coefs is not None:
            check_count("n_nonzero_coefs", self.n_nonzero_coefs)

    def _check_weight(self, owner: str) -> None:
        if self.alpha is None:
            raise ValueError(f'{owner} expects alpha, a number, for algorithm="{self.algorithm}".')
        check_number(owner, "alpha", self.alpha)
        if self.n_nonzero_coefs is not None:
            raise ValueError(
                f'{owner}: n_nonzero_coefs={self.n_nonzero_coefs!r} belongs to algorithm="omp". '
                "alpha_for_nonzeros gives the alpha of about so many non-zeros."
            )


def check_number(owner: str, name: str, value: Any) -> None:
    """Raise a ValueError where `value`, an argument called `name`, is no finite number of at least 0."""
    if not isinstance(value, Real) or not 0 <= float(value) < inf:
        raise ValueError(f"{owner} expects {name} to be a finite number, at least 0, but got {value!r}.")


class Codes(NamedTuple):
    """Codes of a block of rows, and how they were reached; None where nothing was iterated, or there is no gap."""

    codes: Tensor
    n_iter: Tensor | None = None
    converged: Tensor | None = None
    gap: Tensor | None = None


class FixedDictionary:
    """Atoms and how rows are coded with them: what depends on the atoms only is built once.

    Parameters
    ----------
    components : Tensor of shape (l, d), float64
    coding : Coding
    """

    def __init__(self, components: Tensor, coding: Coding):
        self.components = components
        self.coding = coding

    def encode(self, X: Tensor, start: Tensor | None = None) -> Codes:
        """Return the codes of rows (n, d) in float64; `start` is where a lasso begins."""
        coding = self.coding
        if coding.algorithm == "threshold":
            correlation = X @ self.components.mT
            return Codes(soft_threshold(correlation, self._alpha * X.shape[1] / 2, positive=coding.positive))
        if coding.algorithm == "omp":
            by_error = coding.n_nonzero_coefs is None
            most = len(self.components) if coding.n_nonzero_coefs is None else coding.n_nonzero_coefs
            max_error = coding.tol * X.square().sum(1) if by_error else 0.0
            return Codes(orthogonal_matching_pursuit(X, self.components, most, max_error))
        one_by_one = len(X) <= _FEW_ROWS or len(self.components) >= _MANY_ATOMS
        if self._alpha > 0 and one_by_one and start is None and X.device.type == "cpu":
            return self._encode_one_by_one(X)
        start = X.new_zeros(len(X), len(self.components)) if start is None else start
        if self._alpha == 0:  # no supports to find, and no dual point near the solution is feasible
            problem = LinearProblem(X, self.components, L1(0.0, coding.positive))
            solver = FISTA(max_iter=coding.max_iter, tol=_CHANGE_PER_GAP * coding.tol, restart=True, check_every=10)
            result = solver.solve(problem, start)
            return Codes(result.codes, result.n_iter, result.converged)
        return self._encode_together(X, start)

    def with_alpha(self, alpha: float) -> "FixedDictionary":
        """Return the same atoms for a lasso of another weight, sharing what does not depend on it."""
        other = FixedDictionary(self.components, replace(self.coding, alpha=alpha))
        shared = vars(self)
        vars(other).update({name: shared[name] for name in ("_factor", "_hessian", "_gram") if name in shared})
        return other

    def _encode_one_by_one(self, X: Tensor) -> Codes:
        """Return the codes of each row on its own; those that resist go together."""
        n_atoms, coding = len(self.components), self.coding
        weight, atoms = self._alpha * X.shape[1] / 2, self.components.numpy()
        gram = self._gram.numpy() if len(X) >= n_atoms * _ROWS_PER_GRAM else None
        few = len(X) <= _FEW_ROWS
        limits: dict[str, Any] = {
            "most_atoms": n_atoms if few else _MOST_ATOMS,
            "most_nonzeros": n_atoms if few else _MOST_OF_FEATURES * X.shape[1],
        }
        linear = (X @ self.components.mT).numpy()
        results = [
            encode_row(atoms, x, b, weight, gram=gram, positive=coding.positive, tol=coding.tol, **limits)
            for x, b in zip(X.numpy(), linear, strict=True)
        ]
        codes = torch.from_numpy(np.stack([result.code for result in results]))
        gaps = np.array([result.gap for result in results])
        n_iter, gap = torch.from_numpy(np.array([result.n_solved for result in results])), torch.from_numpy(gaps)
        converged = torch.from_numpy(gaps <= coding.tol)
        if not (gaps <= coding.tol).all():
            left = (~converged).nonzero().squeeze(1)
            rest = self._encode_together(X[left], codes[left])
            for whole, part in zip((codes, n_iter, converged, gap), rest, strict=True):
                whole[left] = part  # type: ignore[assignment]
        return Codes(codes, n_iter, converged, gap)

    def _encode_together(self, X: Tensor, start: Tensor) -> Codes:
        X = X * (2 / X.shape[1]) ** 0.5
        linear, norm_sq = X @ self._factor.mT, X.square().sum(1)
        return Codes(*self._solver.solve_rows(self._matrices, linear, norm_sq, start))

    @property
    def _alpha(self) -> float:
        assert self.coding.alpha is not None, "checked by Coding.check"
        return float(self.coding.alpha)

    @cached_property
    def _solver(self) -> ActiveSetADMM:
        return ActiveSetADMM(self.coding.max_iter, self.coding.tol)

    @cached_property
    def _gram(self) -> Tensor:
        return self.components @ self.components.mT

    @cached_property
    def _matrices(self) -> LassoMatrices:
        factor, nothing = self._factor, self._factor.new_zeros(0, len(self._factor))
        lasso = Lasso(self._hessian, nothing, self._alpha, self.coding.positive, min(factor.shape), factor)
        return LassoMatrices(lasso)

    @cached_property
    def _factor(self) -> Tensor:
        return self.components * (2 / self.components.shape[1]) ** 0.5

    @cached_property
    def _hessian(self) -> Tensor | None:
        """``2/d W W^T``; None where products with its factor are cheaper."""
        return None if 2 * self._factor.shape[1] <= len(self._factor) else self._factor @ self._factor.mT


class RowCodes:
    """Codes of all rows, gathered chunk by chunk: dense in the caller's kind of container, or as CSR.

    Parameters
    ----------
    rows : Rows
    n_components : int
    split_sign, sparse_output : bool
    out : ndarray or Tensor, optional
        Where dense codes are put.

    Raises
    ------
    ValueError
        If sparse codes are wanted of a tensor or in `out`, or codes cannot be written into `out`.
    """

    def __init__(
        self, rows: Rows, n_components: int, *, split_sign: bool = False, sparse_output: bool = False, out: Any = None
    ):
        if sparse_output and (rows.is_tensor or out is not None):
            problem = "X is a tensor. Pass X.cpu().numpy()" if rows.is_tensor else "out= is an array. Leave it out"
            raise ValueError(f"{rows.owner}: sparse_output=True gives a scipy matrix, but {problem}.")
        self.rows, self.split_sign, self.sparse_output = rows, split_sign, sparse_output
        self.width = 2 * n_components if split_sign else n_components
        self.dense: Any = None
        if not sparse_output:
            self.dense = rows.new_rows(self.width) if out is None else rows.check_out(out, self.width)
        self.pages = MappedPages(self.dense)
        self.blocks: list[Any] = []

    def put(self, where: slice, codes: Tensor) -> None:
        """Take the codes of the rows `where`; chunks come in order."""
        if self.split_sign:
            codes = split_signs(codes)
        if self.sparse_output:
            self.blocks.append(csr_matrix(codes.to(self.rows.dtype).cpu().numpy()))
        else:
            self.dense[where] = self.rows.give_back(codes)
            self.pages.count(codes.nbytes)

    def result(self) -> Any:
        """Return the codes of all rows."""
        return vstack(self.blocks, format="csr") if self.sparse_output else self.dense


def encode_rows(
    rows: Rows, dictionary: FixedDictionary, owner: str, *, split_sign: bool = False, sparse_output: bool = False
) -> tuple[Any, Any, Any]:
    """Return codes, iterations and convergence of `rows`; warn in the name of `owner` of rows that did not converge."""
    if sparse_output and rows.is_tensor:
        raise ValueError(f"{owner}: sparse_output=True gives a scipy matrix, but X is a tensor. Pass X.cpu().numpy().")
    gathered = RowCodes(rows, len(dictionary.components), split_sign=split_sign, sparse_output=sparse_output)
    n_iter, converged = rows.new_rows(dtype=torch.int64), rows.new_rows(dtype=torch.bool)
    n_iter[:], converged[:] = 0, True
    for where, block in read_shared(rows):
        part = dictionary.encode(block)
        gathered.put(where, part.codes)
        if part.n_iter is not None and part.converged is not None:
            n_iter[where], converged[where] = rows.give_back(part.n_iter), rows.give_back(part.converged)
    if not converged.all():
        coding = dictionary.coding
        warn(
            f"{owner}: {int((~converged).sum())} of {len(rows)} rows did not reach "
            f"{'a relative duality gap of ' if coding.alpha else ''}tol={coding.tol} within {coding.max_iter} "
            "iterations. Raise max_iter or tol.",
            ConvergenceWarning,
        )
    return gathered.result(), n_iter, converged


def read_shared(rows: Rows) -> Iterator[tuple[slice, Tensor]]:
    """Yield positions and values of `rows` in float64, in chunks, without a copy where that is possible."""
    shared = Rows(share(rows.X), name=rows.name, owner=rows.owner).to(rows.device, torch.float64)
    return shared.slices(_ROWS_PER_CHUNK)


def share(X):
    """Return an array in memory as a tensor that shares it, anything else as it is.

    A copy would cost a twentieth of the codes. Where `X` lies may then decide the last bit of a code.
    """
    sharable = type(X) is np.ndarray and X.flags.c_contiguous and X.flags.writeable and X.dtype.isnative
    return torch.from_numpy(X) if sharable and X.dtype in (np.float32, np.float64) else X
