"""Codes for a fixed dictionary as a transformer."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    Interval,
    StrOptions,
    TransformerMixin,
    checks_parameters,
)
from skvardict._utils.defaults import RunsWithDefaults
from skvardict._utils.parameters import RUN, parameter, with_parameters
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import Array, ArrayLike, FilePath
from skvardict.estimators._coding import Encoding, check_codes
from skvardict.estimators._files import save
from skvardict.estimators._fixed_dictionary import ALGORITHMS, OTHER_NAMES, Coding, FixedDictionary, encode_rows
from skvardict.functional.signs import join_signs
from skvardict.metrics import r2
from skvardict.rows import Rows, as_numbers, for_output, has_columns, to_array


@with_parameters
class SparseCoder(RunsWithDefaults, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transformer of rows to their sparse codes in a given dictionary; nothing is learnt.

    `transform` is :func:`skvardict.sparse_encode`. `fit` checks parameters and data and remembers the names of the
    features; without it the estimator works as well.

    See Also
    --------
    skvardict.sparse_encode : The same as a function.
    skvardict.sparse_encode_path : The same along many `alpha`, and for a wanted number of non-zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict import SparseCoder
    >>> X = np.array([[3.0, 0.5, -1.0]])
    >>> coder = SparseCoder(np.eye(3), alpha=2 / 3)
    >>> coder.transform(X).round(4)
    array([[2., 0., 0.]])
    >>> SparseCoder(np.eye(3), transform_algorithm="omp", n_nonzero_coefs=2, positive_code=False).transform(X).round(4)
    array([[ 3.,  0., -1.]])
    """

    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "components_ : ndarray of shape (n_components, n_features)": "The dictionary.",
        "n_components_ : int": "Number of atoms.",
        "n_features_in_, feature_names_in_": "As in scikit-learn; after `fit`.",
    }

    _OTHER_NAMES: ClassVar[Mapping[str, str]] = {
        **{name: meant for name, meant in OTHER_NAMES.items() if name != "dictionary"},
        "components": "dictionary",
        "positive": "positive_code",
        "algorithm": "transform_algorithm",
    }

    dictionary: Any = parameter(
        accepts=["array-like", Tensor],
        kind="array-like or Tensor of shape (n_components, n_features)",
        text="Atoms, as rows; their norms are used as they are.",
        kw_only=False,
    )
    transform_algorithm: str = parameter(
        default="lasso",
        accepts=[StrOptions(set(ALGORITHMS))],
        kind='{"lasso", "omp", "threshold"}',
        text='"lasso" minimises ``1/d |x - z W|^2 + alpha |z|_1``, to a duality gap; "omp" is orthogonal matching '
        'pursuit; "threshold" shrinks the correlations with the atoms.',
    )
    alpha: float = parameter(
        default=0.005,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Sparsity weight, scikit-learn's times ``2 / n_features`` "
        '(:func:`skvardict.energies.from_sklearn_alpha`); larger gives sparser codes. Not for "omp".',
    )
    n_nonzero_coefs: int | None = parameter(
        default=None,
        accepts=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        text='Non-zeros of each code of "omp"; None: as many as it takes until the squared error is at most '
        "``tol |x|^2``. Other algorithms do not use it.",
    )
    positive_code: bool = parameter(
        default=True,
        accepts=["boolean"],
        kind="bool",
        text='Whether codes are non-negative; False for "omp".',
    )
    split_sign: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether `transform` gives positive and negative parts of codes side by side, 2 l non-negative numbers "
        "per row. `inverse_transform` takes such codes.",
        group=RUN,
    )
    sparse_output: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether codes of arrays are a scipy matrix in CSR format, with the same values.",
        group=RUN,
    )
    tol: float = parameter(
        default=1e-4,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Duality gap of a row, relative to its objective, at which it has converged.",
        group=RUN,
    )
    max_iter: int = parameter(
        default=10_000,
        accepts=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Iterations after which a row is given up, with a warning.",
        group=RUN,
    )
    device: str | torch.device = parameter(
        default="auto",
        accepts=[str, torch.device],
        kind='"auto", str or torch.device',
        text="For arrays; a tensor is worked on where it is.",
        group=RUN,
    )

    @checks_parameters
    @fits_at_once
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Check parameters and data.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter is out of range, or the dictionary has atoms of another number of features than `X`.
        """
        self._check_width(Rows.check(self, X, reset=True))
        self._coding().check(type(self).__name__)
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Return the codes of the rows of `X`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray, Tensor or CSR matrix of shape (n_samples, n_components)
            Twice as many columns with ``split_sign=True``.
        """
        return for_output(self, self._encode(X, split_sign=self.split_sign, sparse_output=self.sparse_output).codes)

    def encode(self, X: ArrayLike) -> Encoding:
        """Return codes, as :meth:`transform` does, together with iterations and convergence per row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        Encoding
        """
        return self._encode(X, split_sign=self.split_sign, sparse_output=self.sparse_output)

    def inverse_transform(self, codes: Any) -> Array:
        """Return ``codes @ dictionary``.

        Parameters
        ----------
        codes : array-like, Tensor or sparse matrix of shape (n_samples, n_components)
            What `transform` returns: with ``split_sign=True``, positive and negative parts side by side.

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        return self._decode(check_codes(self, codes), split_sign=self.split_sign)

    def reconstruct(self, X: ArrayLike) -> Array:
        """Return ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        return self._reconstruct(X)

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return R^2 of the reconstruction of `y` from the codes of `X`; 1 is perfect.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples, n_features) or (n_samples,), optional
            Rows to reconstruct, e.g. clean versions of noisy `X`; by default `X`. One-dimensional labels are ignored.

        Returns
        -------
        r2 : float
        """
        rows = target = Rows.check(self, X, reset=False)
        if y is not None and has_columns(y):
            target = Rows.check_columns(self, y, "y")
            self._check_width(target)
            if len(target) != len(rows):
                raise ValueError(f"y has {len(target)} rows, but X has {len(rows)}. Pass one target per row.")
        return float(r2(target.X, self._reconstruct(X)))

    def save(self, path: FilePath) -> None:
        """Write the estimator to a file without code in it; :func:`skvardict.load` reads it.

        Parameters
        ----------
        path : path
        """
        save(self, path)

    @property
    def components_(self) -> np.ndarray:
        """The dictionary as an array, (n_components, n_features)."""
        return to_array(as_numbers(self.dictionary, f"{type(self).__name__}: dictionary", allow_masked=False))

    @property
    def n_components_(self) -> int:
        """Number of atoms."""
        return len(self.components_)

    @property
    def _n_features_out(self) -> int:
        return (2 if self.split_sign else 1) * self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def _coding(self) -> Coding:
        is_greedy = self.transform_algorithm == "omp"
        return Coding(
            self.transform_algorithm,
            self.alpha,
            self.positive_code,
            self.n_nonzero_coefs if is_greedy else None,
            self.tol,
            self.max_iter,
        )

    def _check_width(self, rows: Rows) -> np.ndarray:
        """Return the dictionary as an array, if it is one of atoms with the features of `rows`."""
        atoms = self.components_
        if atoms.ndim != 2 or len(atoms) == 0 or atoms.shape[1] != rows.n_features or not np.isfinite(atoms).all():
            raise ValueError(
                f"{type(self).__name__} expects a dictionary of finite numbers, of shape (n_components, "
                f"{rows.n_features}) for {rows.name} with {rows.n_features} features, but it has shape {atoms.shape}"
                f"{'' if atoms.ndim != 2 or atoms.shape[1] != rows.n_features else ' and holds NaN or infinity'}."
            )
        return atoms

    def _encode(self, X: ArrayLike, *, split_sign: bool = False, sparse_output: bool = False) -> Encoding:
        rows = Rows.check(self, X, reset=False)
        atoms, coding = self._check_width(rows), self._coding()
        coding.check(type(self).__name__)
        dictionary = FixedDictionary(Rows(atoms).to(rows.device, torch.float64).read(), coding)
        result = encode_rows(rows, dictionary, type(self).__name__, split_sign=split_sign, sparse_output=sparse_output)
        return Encoding(*result)

    def _reconstruct(self, X: ArrayLike) -> Array:
        return self._decode(Rows(self._encode(X).codes, device=self.device), split_sign=False)

    def _decode(self, codes: Rows, *, split_sign: bool) -> Array:
        atoms = Rows(self.components_).to(codes.device, codes.dtype).read()
        X = codes.new_rows(atoms.shape[1])
        for where, block in codes.in_chunks(lambda block: (join_signs(block) if split_sign else block) @ atoms):
            X[where] = codes.give_back(block)
        return X
