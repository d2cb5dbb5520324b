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

from skvardict._utils.defaults import with_defaults
from skvardict._utils.messages import say, shown
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.evaluation._codes import as_named, check_not_empty, evaluate_codes, seed_names
from skvardict.evaluation._store import fit_or_load, fit_together_or_load
from skvardict.evaluation._tasks import run_elsewhere, sent_once
from skvardict.model_selection._fits import can_be_fitted_together
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import PointStore, fingerprint_fit, point_key

_AVERAGED = ("psnr", "r2", "sparsity", "l1", "n_dead")
_MEASURED = (*_AVERAGED, "component_std", "fit_seconds")  # what a point that was kept has, as numbers


@with_defaults
def regret_curve(
    estimators: Any,
    X_train: ArrayLike,
    X_test: ArrayLike,
    *,
    alphas: Sequence[float] | Mapping[str, Sequence[float]],
    seeds: Sequence[int] | None = None,
    n_seeds: int = 1,
    param_name: str = "alpha",
    fit_params: Mapping[str, Any] | None = None,
    to_pixels: Callable[[Any], Any] | None = None,
    data_range: float = 1.0,
    folder: FilePath | None = None,
    keep_models: bool = False,
    n_jobs: int | None = None,
    max_bytes: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Fit estimators over a grid of `alphas` and `seeds`, and measure sparsity against reconstruction.

    Dictionary estimators of this package, and pipelines that end in one, are trained together, as one tensor program:
    several seeds cost little more than one.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        Anything with `fit`, `transform` and `inverse_transform`: of this package, scikit-learn's, a pipeline. Clones
        are fitted.
    X_train, X_test : array-like or Tensor of shape (n_samples, n_features)
        Rows to fit on, and rows to measure on.
    alphas : sequence of float, or dict of str to such
        Values of `param_name`, for all estimators or by name.
    seeds : sequence of int, optional
        Values of every `random_state` of an estimator; 0 to ``n_seeds - 1`` by default. An estimator without any is
        fitted once per alpha.
    n_seeds : int, default=1
        How many seeds, where `seeds` does not name them.
    param_name : str, default="alpha"
        The parameter that is varied, ``"sc__alpha"`` of a pipeline for instance.
    fit_params : dict, optional
        Further arguments of `fit`, e.g. ``{"X_val": X_val}``.
    to_pixels, data_range
        As in :func:`evaluate_codes`.
    folder : str or path, optional
        Every finished point is kept here in a small file of its own, under a digest of all parameters and of the
        content of the data, and is not computed again: a killed run continues where it was. With a folder, models of
        one seed are trained together, those of the next one after them.
    keep_models : bool, default=False
        Keep the fitted estimators too, in ``folder/models``, where :func:`fit_or_load` finds them. Points that were
        finished without it are not fitted again for their models.
    n_jobs : int, optional
        Points computed at the same time, by joblib; of models that are trained together, points measured. Under
        ``joblib.parallel_config(backend="dask")`` every point is a task of the cluster, and the data are sent once.
    max_bytes : int, optional
        Memory that models trained together may take; by default what suits the machine.
    verbose : int, default=0
        1 prints a line per finished point.

    Returns
    -------
    table : DataFrame
        One row per point: `model`, `alpha` (the value of `param_name`), `seed`, the entries of
        :func:`evaluate_codes`, `n_iter` (epochs or iterations, where the estimator says so), `fit_seconds` (of models
        trained together: an equal share), and `error`: empty, or why the fit failed; the measurements are then NaN.
        :func:`regret_summary` makes means and standard errors over seeds of it.

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
    seeds = range(n_seeds) if seeds is None else seeds
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
    sent = sent_once(X_train, X_test)
    found = {index: None if key is None else store.load(point_key(key), _MEASURED) for index, key in enumerate(keys)}
    rows = {index: {**points[index][0], **row, "error": ""} for index, row in found.items() if row is not None}
    todo = [index for index in found if index not in rows]
    alone, groups = _groups(points, todo, by_seed=folder is not None, fit_params=fit_params)

    def job(index: int, fitted: Any = None):
        point, key = points[index], keys[index]
        return delayed(_point)(index, point, key, store, *sent, models, to_pixels, data_range, fitted, **fit_params)

    def run(jobs) -> None:
        for index, row in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
            rows[index] = row
            if verbose:
                say(f"[regret_curve {len(rows)}/{len(points)}] {_summary(row)}")

    run(map(job, alone))
    for group in groups:
        fits = fit_together_or_load([points[index][1] for index in group], X_train, folder=models, max_bytes=max_bytes)
        run(map(job, group, fits))
    table = pd.DataFrame([rows[index] for index in range(len(points))])
    _report_failures(table)
    return table


@with_defaults
def regret_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Average a regret curve over seeds.

    Parameters
    ----------
    table : DataFrame
        From :func:`regret_curve`.

    Returns
    -------
    summary : DataFrame
        One row per `model` and `alpha`: means of `psnr`, `r2`, `sparsity`, `l1` and `n_dead` over the seeds that did
        not fail, their standard errors `psnr_se` and so on (NaN for a single seed), and `n_seeds`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.evaluation import regret_summary
    >>> rows = [("VDL", 0.01, 0, 18.0, 0.8), ("VDL", 0.01, 1, 20.0, 0.9)]
    >>> table = pd.DataFrame(rows, columns=["model", "alpha", "seed", "psnr", "sparsity"])
    >>> regret_summary(table)[["psnr", "psnr_se", "n_seeds"]].values.tolist()
    [[19.0, 1.0, 2.0]]
    """
    measured = [name for name in _AVERAGED if name in table.columns]
    grouped = table.dropna(subset=["psnr"]).groupby(["model", "alpha"], sort=False)
    errors = grouped[measured].sem().add_suffix("_se")
    return pd.concat([grouped[measured].mean(), errors, grouped.size().rename("n_seeds")], axis=1).reset_index()


def _groups(points, todo: list[int], *, by_seed: bool, fit_params) -> tuple[list[int], list[list[int]]]:
    """Return which points are fitted alone, and which together; on a cluster workers fit what they measure."""
    together: dict[int, list[int]] = {}
    for index in todo:
        label, estimator = points[index]
        if not fit_params and not run_elsewhere() and can_be_fitted_together(estimator):
            together.setdefault(label["seed"] if by_seed else 0, []).append(index)
    groups = [group for group in together.values() if len(group) > 1]
    grouped = {index for group in groups for index in group}
    return [index for index in todo if index not in grouped], groups


def _point(
    index, point, key, store, X_train, X_test, models, to_pixels, data_range, fitted, /, **fit_params
) -> tuple[int, dict[str, Any]]:
    """Return a point, which is kept; it is measured on `fitted`, or else fitted first."""
    label, estimator = point
    try:
        fitted = _fit(estimator, X_train, fit_params, models) if fitted is None else fitted
        found = _measure(fitted, X_test, to_pixels, data_range)
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    else:
        if key is not None:
            store.save(point_key(key), found, {**label, **key})
    return index, {**label, **found}


def _fit(estimator, X_train, fit_params, models) -> Any:
    if models is not None:
        return fit_or_load(estimator, X_train, folder=models, fit_params=fit_params)
    begin = perf_counter()
    fitted = estimator.fit(X_train, **fit_params)
    fitted.fit_seconds_ = perf_counter() - begin
    return fitted


def _measure(fitted, X_test, to_pixels, data_range) -> dict[str, Any]:
    if isinstance(fitted, Exception):
        raise fitted
    measured = evaluate_codes(fitted, X_test, to_pixels=to_pixels, data_range=data_range)
    return {**measured, "n_iter": _n_iter(fitted), "fit_seconds": fitted.fit_seconds_, "error": ""}


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
