"""A dictionary as a sheet of small pictures."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict.display._sheet import SheetDisplay, scaled_about_zero, tile
from skvardict.preprocessing._shapes import resolve_image_shape


class DictionaryDisplay(SheetDisplay):
    """Atoms of a dictionary, tiled in a grid that is as square as can be.

    Each atom is divided by its largest absolute value, so that zero has the same shade in all tiles and the
    sign of an entry can be seen; the borders between tiles are NaN and take no colour. Make one with
    `from_estimator` or `from_components`.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows * (height + 1) + 1, n_columns * (width + 1) + 1)
        The sheet: entries in [-1, 1], NaN in borders and empty places.
    atom_indices : ndarray of shape (n_atoms,)
        Which atom stands where, row by row from the upper left.
    image_shape : (int, int)
        Height and width of one atom.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the sheet; set by `plot`, like the next two.
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.display import DictionaryDisplay
    >>> display = DictionaryDisplay.from_components(np.eye(9), image_shape=(3, 3))
    >>> display.tiles.shape
    (13, 13)
    >>> display.plot(cmap="RdBu")  # doctest: +SKIP
    """

    def __init__(self, tiles: NDArray, *, atom_indices: NDArray[np.intp], image_shape: tuple[int, int]):
        super().__init__(tiles, image_shape=image_shape)
        self.atom_indices = atom_indices

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        step: str | None = None,
        image_shape: tuple[int, int] | None = None,
        n_atoms: int | None = None,
        order: str | ArrayLike | None = None,
    ) -> "DictionaryDisplay":
        """Make a display of a fitted estimator that has ``components_``.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Of a pipeline, the last step that has `components_` is shown.
        step : str, optional
            Name of the step of the pipeline to show instead.
        image_shape, n_atoms, order
            As in `from_components`.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there are no `components_`, `step` is unknown, or the other parameters do not fit them.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.decomposition import PCA
        >>> from skvardict.display import DictionaryDisplay
        >>> pca = PCA(4).fit(np.random.default_rng(0).normal(size=(20, 9)))
        >>> DictionaryDisplay.from_estimator(pca).atom_indices
        array([0, 1, 2, 3])
        """
        components = _find_components(estimator, step)
        return cls.from_components(components, image_shape=image_shape, n_atoms=n_atoms, order=order)

    @classmethod
    def from_components(
        cls,
        components: ArrayLike,
        *,
        image_shape: tuple[int, int] | None = None,
        n_atoms: int | None = None,
        order: str | ArrayLike | None = None,
    ) -> "DictionaryDisplay":
        """Make a display of a dictionary whose atoms are rows.

        Parameters
        ----------
        components : array-like of shape (n_components, n_features)
        image_shape : (int, int), optional
            Height and width of an atom; by default square.
        n_atoms : int, optional
            Show only so many, the first ones in `order`; by default all.
        order : "norm" or array-like of int, optional
            "norm" shows the largest atoms first; indices show those atoms in that order; by default
            the order of the rows.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        ValueError
            If `components` is not 2-D, or `image_shape`, `n_atoms` or `order` does not fit it.
        """
        atoms = np.asarray(components)
        if atoms.ndim != 2 or 0 in atoms.shape:
            raise ValueError(
                "DictionaryDisplay expects components of shape (n_components, n_features), "
                f"but got {atoms.shape}. Pass atoms as rows."
            )
        image_shape = resolve_image_shape(cls.__name__, atoms.shape[1], image_shape)
        atom_indices = _ordered(atoms, order)[: _checked_count(n_atoms)]
        tiles = tile(scaled_about_zero(atoms[atom_indices].reshape(-1, *image_shape)))
        return cls(tiles, atom_indices=atom_indices, image_shape=image_shape)


def _find_components(estimator: Any, step: str | None) -> NDArray:
    name = type(estimator).__name__
    if step is not None:
        steps = getattr(estimator, "named_steps", {})
        if step not in steps:
            raise ValueError(f"{name} has no step {step!r}; its steps are {list(steps)}. Pass one of them.")
        candidates = [steps[step]]
    else:
        candidates = [part for _, part in reversed(getattr(estimator, "steps", [("", estimator)]))]
    for candidate in candidates:
        # A step of a pipeline can be the string "passthrough".
        if hasattr(candidate, "fit"):
            check_is_fitted(candidate)
            if hasattr(candidate, "components_"):
                return candidate.components_
    where = name if step is None else f"the step {step!r} of {name}"
    raise ValueError(
        f"DictionaryDisplay expects an estimator with components_ of shape (n_components, n_features), "
        f"but {where} has none. Pass a decomposition or dictionary model, or use from_components."
    )


def _ordered(atoms: NDArray, order: str | ArrayLike | None) -> NDArray[np.intp]:
    n_components = len(atoms)
    if order is None:
        return np.arange(n_components)
    if isinstance(order, str):
        if order != "norm":
            raise ValueError(f"DictionaryDisplay does not know order={order!r}. Use 'norm', indices, or None.")
        return np.argsort(-np.linalg.norm(atoms, axis=1), kind="stable")
    indices = np.asarray(order)
    is_valid = indices.ndim == 1 and indices.size > 0 and np.issubdtype(indices.dtype, np.integer)
    if not is_valid or indices.min() < 0 or indices.max() >= n_components:
        raise ValueError(
            f"DictionaryDisplay expects order to hold indices from 0 to {n_components - 1}, "
            f"but got {order!r}. Pass a 1-D list of integers in that range."
        )
    return indices


def _checked_count(n_atoms: int | None) -> int | None:
    if n_atoms is not None and n_atoms < 1:
        raise ValueError(f"DictionaryDisplay expects n_atoms >= 1, but got {n_atoms}. Leave it out to show all.")
    return n_atoms
