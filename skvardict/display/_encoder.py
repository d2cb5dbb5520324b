"""What an encoder looks for in its input."""

from typing import Any

from numpy.typing import ArrayLike
from torch import nn

from skvardict.display._dictionary import AtomSheet, find_model
from skvardict.display._sheet import ImageShape


class EncoderDisplay(AtomSheet):
    """Input filters of a LISTA encoder, tiled like atoms: the columns of U in ``u = x U + b``.

    Make one with `from_estimator`; `plot`, its parameters and the attributes are those of `DictionaryDisplay`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.display import EncoderDisplay
    >>> X = load_digits().data / 8 - 1
    >>> model = VarianceDictionaryLearning(16, max_iter=2, random_state=0).fit(X)
    >>> EncoderDisplay.from_estimator(model).tiles.shape
    (37, 37)
    """

    _pictures = "encoder filters"

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        step: str | None = None,
        image_shape: ImageShape | None = None,
        n_atoms: int | None = None,
        order: str | ArrayLike | None = None,
    ) -> "EncoderDisplay":
        """Make a display of a fitted estimator that has a LISTA encoder.

        Parameters
        ----------
        estimator : estimator or Pipeline
            Of a pipeline, the last step that has `encoder_` is shown.
        step : str, optional
            Name of the step of the pipeline to show instead.
        image_shape, n_atoms, order
            As in :meth:`DictionaryDisplay.from_components`.

        Returns
        -------
        display : EncoderDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no encoder, it has no matrix `input` of shape (n_features, n_components), or the other
            parameters do not fit it.
        """
        encoder = find_model(cls.__name__, estimator, step, "encoder_").encoder_
        filters = getattr(encoder, "input", None)
        if not isinstance(filters, nn.Parameter):
            given = "encoder=None" if encoder is None else f"an encoder of class {type(encoder).__name__}"
            raise ValueError(
                f"{cls.__name__} shows the matrix `input` (n_features, n_components) of a LISTA encoder, but the "
                f"estimator has {given}. Pass filters as rows to {cls.__name__}.from_components."
            )
        filters = filters.detach().numpy().T
        return cls.from_components(filters, image_shape=image_shape, n_atoms=n_atoms, order=order)
