"""Fits that are found again."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from skvardict._utils.defaults import with_defaults
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.model_selection._fits import fit_all
from skvardict.storage.points import ObjectStore, fingerprint_fit, point_key
from skvardict.training import CheckpointMismatchError


@with_defaults
def fit_or_load(estimator: Any, X: ArrayLike, *, folder: FilePath, fit_params: Mapping[str, Any] | None = None) -> Any:
    """Return a fitted clone of `estimator`, from `folder` if the same fit was finished before.

    Parameters
    ----------
    estimator : estimator
        Not modified.
    X : array-like or Tensor of shape (n_samples, n_features)
    folder : str or path
        Fitted estimators are kept here, one joblib file each, named after a digest of versions, parameters, and the
        content of `X` and `fit_params`. Loading runs code from the file: use folders that you trust. Where `fit` takes
        a `checkpoint`, it stands beside the file until the fit is finished: a killed fit continues from there.
    fit_params : dict, optional
        Further arguments of `fit`, for instance ``{"X_val": X_val}``.

    Returns
    -------
    fitted : estimator
        With the duration of its fit (after a kill, of the last part) in `fit_seconds_`, whether or not it was loaded.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others, e.g. an object with an open file. The message says how to name it.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.datasets import load_digits
    >>> from skvardict.evaluation import fit_or_load
    >>> X = load_digits().data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = fit_or_load(PCA(2, random_state=0), X, folder=folder)
    ...     again = fit_or_load(PCA(2, random_state=0), X, folder=folder)
    >>> first.fit_seconds_ == again.fit_seconds_
    True
    """
    fit_params = dict(fit_params or {})
    models, key = ObjectStore(folder), point_key(fingerprint_fit(estimator, X, fit_params))
    found = models.load(key)
    if found is not None:
        return found
    fitted = clone(estimator)
    checkpoint = models.path(key).with_suffix(".checkpoint")
    if has_fit_parameter(fitted, "checkpoint"):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        fit_params.setdefault("checkpoint", checkpoint)
    begin = perf_counter()
    try:
        fitted.fit(X, **fit_params)
    except CheckpointMismatchError:  # another process makes the same fit, with a seed of its own
        if fit_params.pop("checkpoint", None) is not checkpoint:
            raise
        fitted = clone(estimator).fit(X, **fit_params)
    fitted.fit_seconds_ = perf_counter() - begin
    models.save(key, fitted)
    for left in (checkpoint, checkpoint.with_name(f"{checkpoint.name}.previous")):
        left.unlink(missing_ok=True)  # another process may have fitted the same
    return fitted


def fit_together_or_load(
    estimators: Sequence[Any], X: ArrayLike, *, folder: FilePath | None = None, max_bytes: int | None = None
) -> list[Any]:
    """Return fitted clones of estimators that can be trained together, or what their fits have raised.

    Parameters
    ----------
    estimators : sequence of estimator
        Of which :func:`skvardict.model_selection._fits.can_be_fitted_together` is true. Not modified.
    X : array-like or Tensor of shape (n_samples, n_features)
    folder : str or path, optional
        Where :func:`fit_or_load` finds them later; those that are there are not fitted again.
    max_bytes : int or None
        Memory that they may take together.

    Returns
    -------
    fitted : list of estimator or Exception
        With an equal share of the time in `fit_seconds_`.
    """
    models = None if folder is None else ObjectStore(folder)
    keys = ["" if models is None else point_key(fingerprint_fit(estimator, X, {})) for estimator in estimators]
    found = [None if models is None else models.load(key) for key in keys]
    new = {index: clone(estimators[index]) for index, model in enumerate(found) if model is None}
    begin = perf_counter()
    errors = fit_all(list(new.values()), X, max_bytes=max_bytes)
    seconds = (perf_counter() - begin) / max(len(new), 1)
    for (index, model), error in zip(new.items(), errors):
        model.fit_seconds_ = seconds
        found[index] = model if error is None else error
        if error is None and models is not None:
            models.save(keys[index], model)
    return found
