"""A dictionary as a sheet of small pictures."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict.display._sheet import (
    ImageShape,
    SignedSheet,
    as_pictures,
    check_counts,
    codes_of,
    limits_about_zero,
    resolve_picture_shape,
    scaled_about_zero,
    tile,
)
from skvardict.rows import to_array


class AtomSheet(SignedSheet):
    """Rows of a matrix as pictures on one sheet: what `DictionaryDisplay` and `EncoderDisplay` share."""

    _pictures = "atoms"

    def __init__(
        self,
        tiles: NDArray,
        *,
        atom_indices: NDArray[np.intp],
        image_shape: ImageShape,
        limits: tuple[float, float] = (-1, 1),
        caption: str = "",
    ):
        super().__init__(tiles, image_shape=image_shape, limits=limits, caption=caption)
        self.atom_indices = atom_indices

    @classmethod
    def from_components(
        cls,
        components: ArrayLike,
        *,
        image_shape: ImageShape | None = None,
        n_atoms: int | None = None,
        order: str | ArrayLike | None = None,
    ) -> Self:
        """Make a display of a dictionary whose atoms are rows.

        Parameters
        ----------
        components : array-like of shape (n_components, n_features)
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
            Height and width of an atom, and where its colours stand; by default grey and square.
        n_atoms : int, optional
            Show only so many, the first ones in `order`; by default all.
        order : "norm" or array-like of int, optional
            "norm" shows the largest atoms first; indices show those atoms in that order; by default
            the order of the rows.

        Returns
        -------
        display : of the class that it is called on

        Raises
        ------
        ValueError
            If `components` is not 2-D, or `image_shape`, `n_atoms` or `order` does not fit it.
        """
        atoms = to_array(components)
        if atoms.ndim != 2 or 0 in atoms.shape:
            raise ValueError(
                f"{cls.__name__} expects components of shape (n_components, n_features), "
                f"but got {atoms.shape}. Pass atoms as rows."
            )
        image_shape = resolve_picture_shape(cls.__name__, atoms.shape[1], image_shape)
        check_counts(cls.__name__, n_atoms=n_atoms)
        atom_indices = _ordered(cls.__name__, atoms, order)[:n_atoms]
        pictures = scaled_about_zero(as_pictures(atoms[atom_indices], image_shape))
        n_shown = f"{len(pictures)} of {len(atoms)}" if len(pictures) < len(atoms) else f"{len(atoms)}"
        first = ", largest norm first" if isinstance(order, str) else ""
        return cls(
            tile(pictures),
            atom_indices=atom_indices,
            image_shape=image_shape,
            limits=limits_about_zero(pictures),
            caption=f"{n_shown} {cls._pictures}{first}",
        )


class DictionaryDisplay(AtomSheet):
    """Atoms of a dictionary, tiled in a grid that is as square as can be.

    Each atom is divided by its largest absolute value, so that zero has the same shade in all tiles and the sign of an
    entry can be seen: white is zero, red positive, blue negative. Atoms in colour have zero at the middle grey, atoms
    without a negative entry are white on black. The borders between tiles are NaN. Make one with `from_estimator` or
    `from_components`.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows * (height + b) + b, n_columns * (width + b) + b), or with a last axis of 3 colours
        The sheet: entries in [-1, 1], NaN in borders, b pixels wide (1 up to a side of 23), and in empty places.
    atom_indices : ndarray of shape (n_atoms,)
        Which atom stands where, row by row from the upper left.
    image_shape : (int, int), (int, int, 3) or (3, int, int)
        Shape of one atom.
    limits : (float, float)
        Values that have the first and the last colour.
    caption : str, default=""
        The title, unless `plot` is given one.

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

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        X: ArrayLike | None = None,
        step: str | None = None,
        response: str = "components",
        image_shape: ImageShape | None = None,
        n_atoms: int | None = None,
        order: str | ArrayLike | None = None,
    ) -> "DictionaryDisplay":
        """Make a display of a fitted estimator that has ``components_``.

        The components of a multi-layer decoder are its signed linear response ``W_1 W_2``, without bias and ReLU.
        What a code with a single active component really adds is shown by ``response="decoder"``.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Of a pipeline, the last step that has `components_` is shown.
        X : array-like of shape (n_samples, n_features), optional
            Rows that `estimator` takes; their codes are counted for ``order="use"``.
        step : str, optional
            Name of the step of the pipeline to show instead.
        response : {"components", "decoder"}, default="components"
            Show `components_`, or ``inverse_transform(e_i) - inverse_transform(0)`` for the unit codes e_i: the
            decoder's ReLUs act, and the effect of its biases is taken off. For a linear decoder they are the same.
        image_shape, n_atoms, order
            As in `from_components`; ``order="use"`` shows those atoms first that are in the codes of most rows of `X`.

        Returns
        -------
        display : DictionaryDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there are no `components_`, `step` or `response` is unknown, or the other parameters do not fit them.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.decomposition import PCA
        >>> from skvardict.display import DictionaryDisplay
        >>> pca = PCA(4).fit(np.random.default_rng(0).normal(size=(20, 9)))
        >>> DictionaryDisplay.from_estimator(pca).atom_indices
        array([0, 1, 2, 3])
        """
        if response not in ("components", "decoder"):
            raise ValueError(f"{cls.__name__} does not know response={response!r}. Use 'components' or 'decoder'.")
        model = find_model(cls.__name__, estimator, step, "components_")
        components = model.components_ if response == "components" else _decoder_response(model)
        by_use = isinstance(order, str) and order == "use"
        if by_use:
            order = _most_used(cls.__name__, estimator, model, X)
        display = cls.from_components(components, image_shape=image_shape, n_atoms=n_atoms, order=order)
        display.caption += ", most used first" if by_use else ""
        return display


def find_model(name: str, estimator: Any, step: str | None, attribute: str) -> Any:
    """Return the estimator itself, or the last or named step of a pipeline, that has `attribute` once fitted."""
    given = type(estimator).__name__
    if step is not None:
        steps = getattr(estimator, "named_steps", {})
        if step not in steps:
            raise ValueError(f"{given} has no step {step!r}; its steps are {list(steps)}. Pass one of them.")
        candidates = [steps[step]]
    else:
        candidates = [part for _, part in reversed(getattr(estimator, "steps", [("", estimator)]))]
    for candidate in candidates:
        # A step of a pipeline can be the string "passthrough".
        if hasattr(candidate, "fit"):
            check_is_fitted(candidate)
            if hasattr(candidate, attribute):
                return candidate
    where = given if step is None else f"the step {step!r} of {given}"
    raise ValueError(
        f"{name} expects an estimator with {attribute}, but {where} has none. "
        "Pass a decomposition or dictionary model, or use from_components."
    )


def _decoder_response(model: Any) -> NDArray:
    n_components = len(model.components_)
    # The codes of an estimator with split_sign=True are wider: their positive parts come first.
    units = np.eye(n_components, getattr(model, "_n_features_out", n_components), dtype=model.components_.dtype)
    return model.inverse_transform(units) - model.inverse_transform(np.zeros_like(units[:1]))


def _most_used(name: str, estimator: Any, model: Any, X: ArrayLike | None) -> NDArray[np.intp]:
    """Return components from the one that is on in most rows to the one that is on in fewest."""
    if X is None:
        raise ValueError(f"{name} counts codes for order='use', but got no rows. Pass X=.")
    steps = [part for _, part in getattr(estimator, "steps", [])]
    transformer = estimator[: steps.index(model) + 1] if model in steps else estimator
    codes = codes_of(transformer, X)
    # With split_sign=True an atom has two columns: positive parts come first, and one of the two is zero.
    use = np.count_nonzero(codes.reshape(len(codes), -1, len(model.components_)), axis=(0, 1))
    return np.argsort(-use, kind="stable")


def _ordered(name: str, atoms: NDArray, order: str | ArrayLike | None) -> NDArray[np.intp]:
    n_components = len(atoms)
    if order is None:
        return np.arange(n_components)
    if isinstance(order, str):
        if order != "norm":
            raise ValueError(
                f"{name} does not know order={order!r} here. Use 'norm', indices, or None; "
                "DictionaryDisplay.from_estimator(model, X=X) also knows 'use'."
            )
        return np.argsort(-np.linalg.norm(atoms, axis=1), kind="stable")
    indices = np.asarray(order)
    is_valid = indices.ndim == 1 and indices.size > 0 and np.issubdtype(indices.dtype, np.integer)
    if not is_valid or indices.min() < 0 or indices.max() >= n_components:
        raise ValueError(
            f"{name} expects order to hold indices from 0 to {n_components - 1}, "
            f"but got {order!r}. Pass a 1-D list of integers in that range."
        )
    return indices
