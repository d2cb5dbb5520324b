"""The trade-off between sparsity and reconstruction, over a grid of the parameter that moves it."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from skvardict._utils.messages import say, shown
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.evaluation._codes import as_named, check_not_empty, evaluate_codes, seed_names
from skvardict.evaluation._store import fit_or_load
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import PointStore, fingerprint_fit, point_key


def regret_curve(
    estimators: Any,
    X_train: ArrayLike,
    X_test: ArrayLike,
    *,
    alphas: Sequence[float] | Mapping[str, Sequence[float]],
    seeds: Sequence[int] = (0,),
    param_name: str = "alpha",
    fit_params: Mapping[str, Any] | None = None,
    to_pixels: Callable[[Any], Any] | None = None,
    data_range: float = 1.0,
    folder: FilePath | None = None,
    keep_models: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Fit estimators over a grid of `alphas` and `seeds`, and measure sparsity against reconstruction.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        Anything with `fit`, `transform` and `inverse_transform`: of this package, scikit-learn's, a pipeline. Clones
        are fitted.
    X_train, X_test : array-like or Tensor of shape (n_samples, n_features)
        Rows to fit on, and rows to measure on.
    alphas : sequence of float, or dict of str to such
        Values of `param_name`, for all estimators or by name.
    seeds : sequence of int, default=(0,)
        Values of every `random_state` of an estimator. One without any is fitted once per alpha.
    param_name : str, default="alpha"
        The parameter that is varied, ``"sc__alpha"`` of a pipeline for instance.
    fit_params : dict, optional
        Further arguments of `fit`, e.g. ``{"X_val": X_val}``.
    to_pixels, data_range
        As in :func:`evaluate_codes`.
    folder : str or path, optional
        Every finished point is kept here in a small file of its own, under a digest of all parameters and of the
        content of the data, and is not computed again: a killed run continues where it was.
    keep_models : bool, default=False
        Keep the fitted estimators too, in ``folder/models``, where :func:`fit_or_load` finds them. Points that were
        finished without it are not fitted again for their models.
    n_jobs : int, optional
        Points computed at the same time, by joblib.
    verbose : int, default=0
        1 prints a line per finished point.

    Returns
    -------
    table : DataFrame
        One row per point: `model`, `alpha` (the value of `param_name`), `seed`, the entries of
        :func:`evaluate_codes`, `n_iter` (epochs or iterations, where the estimator says so), `fit_seconds`, and
        `error`: empty, or why the fit failed; the measurements are then NaN.

    Raises
    ------
    ValueError
        If a parameter is unknown, or every point failed.

    Warns
    -----
    FitFailedWarning
        If some points failed. They are not kept, so the next call tries them again.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, figure 6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.evaluation import regret_curve
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> scaler = GlobalStandardizer()
    >>> X = scaler.fit_transform(load_digits().data / 16)
    >>> model = VarianceDictionaryLearning(32, max_iter=3)
    >>> table = regret_curve(model, X[:1000], X[1000:], alphas=[0.01, 0.1], data_range=1 / scaler.scale_)
    >>> table[["alpha", "seed"]].values.tolist()
    [[0.01, 0.0], [0.1, 0.0]]
    """
    if keep_models and folder is None:
        raise ValueError("regret_curve: keep_models=True needs a folder. Pass folder=.")
    check_not_empty("regret_curve", seeds=seeds)
    fit_params = dict(fit_params or {})
    points = [
        ({"model": name, "alpha": alpha, "seed": seed}, _configured(name, estimator, param_name, alpha, seed))
        for name, estimator in as_named(estimators).items()
        for alpha in _alphas_of(name, alphas)
        for seed in (seeds if seed_names(estimator) else seeds[:1])
    ]
    store = PointStore(folder)
    keys = _keys(points, X_train, X_test, fit_params, to_pixels, data_range) if folder else [None] * len(points)
    models = os.path.join(folder, "models") if keep_models and folder is not None else None
    jobs = (
        delayed(_point)(index, point, key, store, (X_train, fit_params, models), (X_test, to_pixels, data_range))
        for index, (point, key) in enumerate(zip(points, keys))
    )
    rows: dict[int, dict[str, Any]] = {}
    for index, row in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
        rows[index] = row
        if verbose:
            say(f"[regret_curve {len(rows)}/{len(points)}] {_summary(row)}")
    table = pd.DataFrame([rows[index] for index in range(len(points))])
    _report_failures(table)
    return table


def _point(index, point, key, store, training, testing) -> tuple[int, dict[str, Any]]:
    """Return a finished point from the store, or compute and keep it."""
    label, estimator = point
    found = None if key is None else store.load(point_key(key))
    if found is not None:
        return index, {**label, **found}
    try:
        found = _fit_and_measure(estimator, *training, *testing)
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    else:
        if key is not None:
            store.save(point_key(key), found, {**label, **key})
    return index, {**label, **found}


def _fit_and_measure(estimator, X_train, fit_params, models, X_test, to_pixels, data_range) -> dict[str, Any]:
    if models is None:
        begin = perf_counter()
        fitted = estimator.fit(X_train, **fit_params)
        seconds = perf_counter() - begin
    else:
        fitted = fit_or_load(estimator, X_train, folder=models, fit_params=fit_params)
        seconds = fitted.fit_seconds_
    measured = evaluate_codes(fitted, X_test, to_pixels=to_pixels, data_range=data_range)
    return {**measured, "n_iter": _n_iter(fitted), "fit_seconds": seconds, "error": ""}


def _keys(points, X_train, X_test, fit_params, to_pixels, data_range) -> list[dict[str, Any]]:
    """Return what each point is computed from; arrays are read once."""
    common = {
        **fingerprint_fit(points[0][1], X_train, fit_params),
        "kind": "regret_curve",
        "X_test": fingerprint(X_test, "X_test"),
        # What a function makes of the test rows says more than its code.
        "pixels": None if to_pixels is None else fingerprint(to_pixels(X_test), "to_pixels(X_test)"),
        "data_range": data_range,
    }
    return [{**common, "estimator": fingerprint_parameters(estimator)} for _, estimator in points]


def _configured(name: str, estimator, param_name: str, alpha, seed: int):
    parameters = estimator.get_params(deep=True)
    if param_name not in parameters:
        raise ValueError(
            f"regret_curve varies param_name={param_name!r}, but {name} has no such parameter. It has: "
            f"{', '.join(sorted(parameters))}."
        )
    return clone(estimator).set_params(**{param_name: alpha}, **dict.fromkeys(seed_names(estimator), seed))


def _alphas_of(name: str, alphas) -> Sequence[float]:
    if isinstance(alphas, Mapping):
        if name not in alphas:
            known = ", ".join(map(repr, alphas))
            raise ValueError(f"regret_curve: alphas has no entry for {name!r}, only for {known}.")
        alphas = alphas[name]
    check_not_empty("regret_curve", alphas=alphas)
    return alphas


def _n_iter(fitted) -> int | None:
    """Return the iterations of an estimator, or of the last step of a pipeline that counts them."""
    parts = [step for _, step in getattr(fitted, "steps", [("", fitted)])]
    counts = [part.n_iter_ for part in parts if getattr(part, "n_iter_", None) is not None]
    return int(np.max(counts[-1])) if counts else None


def _summary(row: Mapping[str, Any]) -> str:
    point = f"{row['model']}  alpha {shown(row['alpha'])}  seed {row['seed']}"
    if row["error"]:
        return f"{point}  failed: {row['error']}"
    return f"{point}  psnr {row['psnr']:.2f}  sparsity {row['sparsity']:.4f}  {row['fit_seconds']:.0f} s"


def _report_failures(table: pd.DataFrame) -> None:
    failed = table[table["error"] != ""]
    if failed.empty:
        return
    first = failed.iloc[0]
    what = f"{first['model']} at alpha={shown(first['alpha'])}, seed={first['seed']}: {first['error']}"
    if len(failed) == len(table):
        raise ValueError(f"regret_curve: all {len(table)} points failed. The first was {what}")
    warnings.warn(
        f"regret_curve: {len(failed)} of {len(table)} points failed, and are NaN. The first was {what}",
        FitFailedWarning,
        stacklevel=3,
    )
