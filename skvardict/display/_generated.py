"""What a model generates: samples from its prior, and sweeps along single components."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict.display._sheet import (
    ImageShape,
    SheetDisplay,
    as_pictures,
    as_rows,
    check_counts,
    codes_of,
    limits_of,
    resolve_picture_shape,
    tile,
)


class SamplesDisplay(SheetDisplay):
    """Rows as pictures with common colour limits: samples from a prior, reconstructions, data.

    Parameters
    ----------
    tiles, image_shape, limits, caption
        As in :class:`DictionaryDisplay`; `limits` are the smallest and the largest value.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.display import SamplesDisplay
    >>> SamplesDisplay.from_rows(np.random.default_rng(0).uniform(size=(4, 9))).tiles.shape
    (9, 9)
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_samples: int = 64,
        image_shape: ImageShape | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> "SamplesDisplay":
        """Generate from the prior of a fitted variational model.

        Parameters
        ----------
        estimator : SparseVAE, ThresholdedVSC or SpikeAndSlabVSC
            Any estimator with ``sample(n_samples, random_state=...)``.
        n_samples : int, default=64
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
            By default square.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        display : SamplesDisplay

        Raises
        ------
        ValueError
            If the estimator cannot generate.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "sample"):
            raise ValueError(
                f"SamplesDisplay expects an estimator with sample(n_samples, random_state=...), but "
                f"{type(estimator).__name__} has no prior to sample from. Use a variational model, or from_rows."
            )
        display = cls.from_rows(estimator.sample(n_samples, random_state=random_state), image_shape=image_shape)
        display.caption = f"{n_samples} samples from the prior"
        return display

    @classmethod
    def from_rows(
        cls, rows: ArrayLike, *, image_shape: ImageShape | None = None, n_columns: int | None = None
    ) -> "SamplesDisplay":
        """Show the rows of an array.

        Parameters
        ----------
        rows : array-like of shape (n_samples, n_features)
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
        n_columns : int, optional
            Pictures side by side; by default the sheet is as square as can be.

        Returns
        -------
        display : SamplesDisplay
        """
        check_counts(cls.__name__, n_columns=n_columns)
        values = as_rows(cls.__name__, rows)
        image_shape = resolve_picture_shape(cls.__name__, values.shape[1], image_shape)
        pictures = as_pictures(values, image_shape)
        return cls(tile(pictures, n_columns), image_shape=image_shape, limits=limits_of(values))


class LatentSweepDisplay(SheetDisplay):
    """Reconstructions while one component at a time takes several values: a row per component, a column per value.

    Parameters
    ----------
    tiles, image_shape, limits
        As in :class:`SamplesDisplay`.
    components : ndarray of shape (n_swept,)
        Which component each row sweeps.
    values : ndarray of shape (n_values,)
        What it is set to in each column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from skvardict.display import LatentSweepDisplay
    >>> X = np.random.default_rng(0).normal(size=(20, 9))
    >>> display = LatentSweepDisplay.from_estimator(PCA(4).fit(X), X[:1], components=[0, 2], values=[-1, 0, 1])
    >>> display.tiles.shape
    (9, 13)
    """

    def __init__(
        self,
        tiles: NDArray,
        *,
        image_shape: ImageShape,
        limits: tuple[float, float],
        components: NDArray[np.intp],
        values: NDArray,
    ):
        super().__init__(tiles, image_shape=image_shape, limits=limits, caption="one component of the code changed")
        self.components = components
        self.values = values

    def _label(self, ax: Any) -> None:
        ax.set_yticks(self._ticks(len(self.components), 0), [str(component) for component in self.components])
        ax.set_xticks(self._ticks(len(self.values), 1), [f"{value:.2g}" for value in self.values])
        ax.set(xlabel="value of the component", ylabel="component")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        *,
        components: Sequence[int] | None = None,
        values: ArrayLike | None = None,
        image_shape: ImageShape | None = None,
    ) -> "LatentSweepDisplay":
        """Sweep components of the code of one row.

        Parameters
        ----------
        estimator : fitted transformer with `inverse_transform`
        X : array-like of shape (1, n_features), optional
            Row whose code is changed; by default the code of zeros.
        components : sequence of int, optional
            By default the (at most ten) components largest in the code, or the first ten of a code of zeros.
        values : array-like of shape (n_values,), optional
            By default 7 values from -m to m, m being the largest absolute value of the code, or 1 if that is 0; from 0
            to m if the code has no negative entry.
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional

        Returns
        -------
        display : LatentSweepDisplay

        Raises
        ------
        ValueError
            If `X` has not exactly one row, `components` names one that does not exist, or `values` are no numbers.
        """
        check_is_fitted(estimator)
        code = _code_of(estimator, X)
        chosen = np.argsort(-np.abs(code), kind="stable")[:10] if components is None else np.asarray(components)
        if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind != "i" or not _all_within(chosen, len(code)):
            raise ValueError(
                f"LatentSweepDisplay expects components to hold indices from 0 to {len(code) - 1}, but got "
                f"{components!r}. Pass a list of integers in that range."
            )
        extent = np.abs(code).max() or 1.0
        low = 0.0 if code.min() >= 0 and code.any() else -extent
        steps = np.linspace(low, extent, 7) if values is None else np.asarray(values, dtype=float)
        if steps.ndim != 1 or steps.size == 0 or not np.isfinite(steps).all():
            raise ValueError(f"LatentSweepDisplay expects values to be a list of finite numbers, but got {values!r}.")
        codes = np.tile(code, (len(chosen), len(steps), 1))
        codes[np.arange(len(chosen)), :, chosen] = steps
        rows = as_rows(cls.__name__, estimator.inverse_transform(codes.reshape(-1, len(code))))
        image_shape = resolve_picture_shape(cls.__name__, rows.shape[1], image_shape)
        return cls(
            tile(as_pictures(rows, image_shape), n_columns=len(steps)),
            image_shape=image_shape,
            limits=limits_of(rows),
            components=chosen,
            values=steps,
        )


def _code_of(estimator, X) -> NDArray:
    if X is None:
        return np.zeros(len(estimator.get_feature_names_out()), dtype=np.float32)
    if len(X) != 1:
        raise ValueError(
            f"LatentSweepDisplay sweeps the code of one row, but X has {len(X)}. Pass X[:1], or one display per row."
        )
    return codes_of(estimator, X)[0]


def _all_within(indices: NDArray, n: int) -> bool:
    return bool(indices.min() >= 0 and indices.max() < n)
