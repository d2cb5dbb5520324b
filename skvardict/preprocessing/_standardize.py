"""Standardisation by one mean and one standard deviation for the whole array."""

from math import inf, isfinite, sqrt
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skvardict._sklearn import BaseEstimator, TransformerMixin
from skvardict._utils.messages import warn
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import Array, ArrayLike
from skvardict.rows import Rows, for_output

_RESOLUTION = float(np.finfo(np.float32).eps)
_LONG = 4  # bytes of integers


class GlobalStandardizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Subtract one mean and divide by one standard deviation, the same for all features.

    ``z = (x - mean_) / scale_``. Where pixels of an image are standardised one by one, a border that is
    almost always black gets as much weight as the centre; one pair of numbers keeps the picture as it is.

    Parameters
    ----------
    mean : float, optional
        Value to subtract; by default the mean of all entries seen in `fit`.
    std : float, optional
        Positive value to divide by; by default the standard deviation (division by n) of all entries seen in
        `fit`.

    Attributes
    ----------
    mean_, scale_ : float
        What is subtracted and divided by; `scale_` is 1.0 where the data of the fit are constant.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where `fit` got a data frame with string columns.

    Notes
    -----
    float32 and float64 are kept, any other dtype becomes float32, long integers (time stamps, say) after mean and scale
    were taken out in double precision; a tensor in gives a tensor on its device out. `fit` reads blocks of rows and
    adds their moments up in float64, so that a memory map is never copied whole.

    References
    ----------
    Evtimova and LeCun, "Sparse coding with multi-layer decoders using variance regularization", TMLR 2022,
    section 4: the papers' MNIST is standardised by 0.1307 and 0.3081.

    Examples
    --------
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> scaler = GlobalStandardizer().fit([[0.0, 2.0], [0.0, 2.0]])
    >>> scaler.mean_, scaler.scale_
    (1.0, 1.0)
    >>> scaler.transform([[3.0, 1.0]])
    array([[2., 0.]])
    """

    _parameter_constraints: ClassVar[dict] = {"mean": [Real, None], "std": [Real, None]}

    def __init__(self, mean: float | None = None, std: float | None = None):
        self.mean = mean
        self.std = std

    @fits_at_once
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the mean and the standard deviation of all entries of `X`, where they are not given.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : GlobalStandardizer

        Raises
        ------
        ValueError
            If `std` is given and not positive, `mean` or `std` is not finite, or `X` is not a 2-D array of finite
            real numbers.
        """
        self._validate_params()
        if self.std is not None and not 0 < self.std < inf:
            raise ValueError(
                f"GlobalStandardizer expects std > 0, but got {self.std!r}. Leave it out to use that of the data."
            )
        if self.mean is not None and not isfinite(self.mean):
            raise ValueError(
                f"GlobalStandardizer expects a finite mean, but got {self.mean!r}. Leave it out to use the data's."
            )
        rows = Rows.check(self, X, reset=True)
        mean, std = self.mean, self.std
        if mean is None or std is None:
            data_mean, data_std = _pooled_moments(rows)
            mean, std = data_mean if mean is None else mean, data_std if std is None else std
        self.mean_, self.scale_ = float(mean), float(std)
        if _has_long_integers(rows) and self.scale_ * _RESOLUTION > 1:
            warn(
                f"GlobalStandardizer: X holds integers of standard deviation {self.scale_:.3g}. Results for integers "
                f"are float32, in which numbers closer than {self.scale_ * _RESOLUTION:.2g} become equal. Pass "
                "X.astype(float) to keep them apart."
            )
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Return ``(X - mean_) / scale_``.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        rows = Rows.check(self, X, reset=False)
        if _has_long_integers(rows):
            return for_output(self, self._transform_exactly(rows))
        if rows.is_tensor:
            return for_output(self, (rows.X.to(rows.dtype) - self.mean_) / self.scale_)
        Z = _as_floats(rows)
        Z -= self.mean_
        Z /= self.scale_
        return Z

    def _transform_exactly(self, rows: Rows) -> Array:
        """Return results rounded at the end: digits that all numbers have in common are gone by then."""
        Z = rows.new_rows(rows.n_features)
        for where, block in rows.to(dtype=rows.exact_dtype).blocks():
            Z[where] = rows.give_back((block - self.mean_) / self.scale_)
        return Z

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Return ``X * scale_ + mean_``.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Standardised rows, or reconstructions of them.

        Returns
        -------
        X_original : ndarray or Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        rows = Rows.check_columns(self, X)
        if rows.is_tensor:
            return rows.X.to(rows.dtype) * self.scale_ + self.mean_
        X_original = _as_floats(rows)
        X_original *= self.scale_
        X_original += self.mean_
        return X_original

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags


def _has_long_integers(rows: Rows) -> bool:
    """Return whether `rows` may hold integers of more digits than float32 has."""
    if rows.is_tensor:
        return not rows.X.is_floating_point() and rows.X.element_size() >= _LONG
    return rows.X.dtype.kind in "iu" and rows.X.dtype.itemsize >= _LONG


def _as_floats(rows: Rows) -> NDArray:
    """Return a copy of an array in the dtype of results; of a memory map the numbers are checked on the way."""
    copy = rows.new_rows(rows.n_features)
    for where, block in rows.blocks():
        copy[where] = rows.give_back(block)
    return copy


def _pooled_moments(rows: Rows) -> tuple[float, float]:
    """Return the mean and the standard deviation of all entries, 1.0 in place of a deviation of zero."""
    count, mean, squares = 0, 0.0, 0.0
    for _, block in rows.to(dtype=rows.exact_dtype).blocks():
        block_mean = float(block.mean())
        block_squares = float(((block - block_mean) ** 2).sum())
        # Moments of a union: the squares about the common mean, from those about the two means.
        total = count + block.numel()
        shift = block_mean - mean
        squares += block_squares + shift**2 * count * block.numel() / total
        mean += shift * block.numel() / total
        count = total
    std = sqrt(squares / count)
    # The computed mean of equal numbers can be off by rounding, so their deviation is not exactly zero.
    return mean, std if std > 10 * np.finfo(np.float64).eps * abs(mean) else 1.0
