"""How much few labels are worth: a linear classifier on codes, on raw rows, and a classifier from scratch."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, has_fit_parameter

from skvardict._utils.defaults import with_defaults
from skvardict._utils.messages import say
from skvardict._utils.types import FilePath
from skvardict.evaluation._codes import as_named, as_plain, check_not_empty, seed_names
from skvardict.evaluation._linear_layer import LinearLayer
from skvardict.evaluation._store import fit_or_load, fit_together_or_load
from skvardict.evaluation._tasks import run_elsewhere, sent_once
from skvardict.model_selection._fits import can_be_fitted_together
from skvardict.rows import to_array
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import PointStore, all_versions, point_key

_MAX_ITER = 2000
_MEASURED = ("C", "validation_accuracy", "top1_error", "top3_error", "seconds")  # numbers of a row that was kept
Labelled = tuple[Any, Any]


@with_defaults
def low_label_curve(
    estimators: Any,
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    *,
    labels_per_class: Sequence[int | None] = (1, 2, 5, 10, 20, 50, 100),
    n_draws: int = 10,
    n_seeds: int = 1,
    classifier: str = "logistic",
    Cs: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0),
    folder: FilePath | None = None,
    n_jobs: int | None = None,
    max_bytes: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Classify from few labels per class: a linear classifier on codes, or a classifier of its own.

    For every number of labels and every draw the same rows are labelled for all models. By default features are divided
    by their root mean square over the labelled rows, one number, so that `Cs` mean the same for all; a multinomial
    logistic regression is fitted for each C until it converges, and the C of the best validation accuracy is kept.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        A transformer; a dict of such, candidates by label (models of several alpha, for :func:`low_label_summary` to
        choose from); ``"passthrough"`` for the rows as they are; or a classifier, of which clones are fitted on the
        labelled rows (given `X_val` and `y_val` if its `fit` takes them), such as :class:`LISTAClassifier`. Of a
        transformer that is not fitted, clones with `n_seeds` values of `random_state` are fitted on all rows of
        `train`, without labels; dictionary estimators of this package together, as one tensor program.
    train, validation, test : tuple (X, y)
        Rows of shape (n_samples, n_features) and labels of shape (n_samples,). Labels are drawn from `train`.
    labels_per_class : sequence of int or None
        How many labels to draw of each class; None takes all of `train`, once.
    n_draws : int, default=10
    n_seeds : int, default=1
        Models of each transformer that is not fitted, with `random_state` 0 to ``n_seeds - 1``.
    classifier : {"logistic", "sgd-linear"}, default="logistic"
        On the features of transformers: logistic regression with C chosen on validation; or the protocol of the paper,
        one linear layer on features as they are, Adam with a rate of 1e-3 on batches of 250 for 100 epochs. That one
        has not converged with few labels, and ranks models differently.
    Cs : sequence of float
        Inverse regularisation strengths to choose from; not used by ``"sgd-linear"``.
    folder : str or path, optional
        Every finished point is kept here, under a digest of features and labels, and is not computed again; models
        that are fitted are kept in ``folder/models``, where :func:`fit_or_load` finds them, those of one seed before
        those of the next one.
    n_jobs : int, optional
        Models worked on at the same time, by joblib. Under ``joblib.parallel_config(backend="dask")`` every model is a
        task of the cluster, fitted there if it is not yet, and the data are sent once.
    max_bytes : int, optional
        Memory that models trained together may take; by default what suits the machine.
    verbose : int, default=0
        1 prints a line per finished model.

    Returns
    -------
    table : DataFrame
        One row per model, candidate, seed, number of labels and draw: `model`, `candidate` (its label, empty if there
        is one only), `seed` (0 where `n_seeds` does not count), `classifier` ("own" for classifiers), `n_per_class`,
        `draw`, `C` (NaN where there is none), `validation_accuracy`, `top1_error` and `top3_error` on the test rows in
        percent, `converged`, `seconds`.

    Raises
    ------
    ValueError
        If a class has too few rows, the labels of the three splits do not agree, or there is no such `classifier`.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, figure 9.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import NMF
    >>> from skvardict.evaluation import low_label_curve
    >>> X, y = load_digits(return_X_y=True)
    >>> models = {"raw": "passthrough", "NMF": NMF(16, init="nndsvd", tol=1e-2).fit(X[:1000])}
    >>> splits = (X[:1000], y[:1000]), (X[1000:1400], y[1000:1400]), (X[1400:], y[1400:])
    >>> table = low_label_curve(models, *splits, labels_per_class=[5], n_draws=2)
    >>> table.groupby("model").top1_error.mean().lt(50).all()
    np.True_
    """
    check_not_empty(
        "low_label_curve", Cs=Cs, labels_per_class=labels_per_class, draws=range(n_draws), seeds=range(n_seeds)
    )
    if classifier not in CLASSIFIERS:
        known = ", ".join(map(repr, CLASSIFIERS))
        raise ValueError(f"low_label_curve: classifier={classifier!r} is not known. Use one of {known}.")
    splits = tuple(
        _checked(name, split) for name, split in zip(("train", "validation", "test"), (train, validation, test))
    )
    classes = np.unique(splits[0][1])
    _check_labels(classes, splits[1:])
    draws = [
        (n, draw, _draw_rows(splits[0][1], classes, n, draw))
        for n in labels_per_class
        for draw in range(n_draws if n is not None else 1)
    ]
    store = PointStore(folder)
    candidates = [
        ({"model": name, "candidate": label, "seed": seed}, seeded)
        for name, estimator in as_named(estimators).items()
        for label, candidate in (estimator.items() if isinstance(estimator, Mapping) else [("", estimator)])
        for seed, seeded in enumerate(_seeded(candidate, n_seeds))
    ]
    models = None if folder is None else Path(folder) / "models"
    if not run_elsewhere():
        candidates = _fitted(candidates, splits[0][0], models, max_bytes)
    sent = sent_once(*chain.from_iterable(splits))
    jobs = (
        delayed(_candidate_rows)(index, *candidate, (draws, classifier, tuple(Cs)), store, models, *sent)
        for index, candidate in enumerate(candidates)
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for index, rows in Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
        found[index] = rows
        if verbose:
            seconds = sum(row["seconds"] for row in rows)
            label = " ".join(str(part) for name, part in candidates[index][0].items() if part != "" and name != "seed")
            say(f"[low_label_curve {len(found)}/{len(candidates)}] {label}  {seconds:.0f} s")
    return pd.DataFrame([row for index in range(len(candidates)) for row in found[index]])


@with_defaults
def low_label_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Choose candidates on validation, and average over draws.

    Parameters
    ----------
    table : DataFrame
        From :func:`low_label_curve`.

    Returns
    -------
    summary : DataFrame
        One row per `model`, `classifier` (where the table has several) and `n_per_class`: the `candidate` of the best
        mean validation accuracy, means `validation_accuracy`, `top1_error`, `top3_error` over seeds and draws,
        `n_draws`, `n_seeds`, and standard errors `top1_se`, `top3_se`: over seeds, of their means over draws, where
        there are several; else over draws (NaN for a single one).

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.evaluation import low_label_summary
    >>> rows = [("VDL", a, 1, d, v, e, e / 2) for a, d, v, e in [(1, 0, .5, 50.), (2, 0, .6, 44.), (2, 1, .6, 46.)]]
    >>> names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    >>> low_label_summary(pd.DataFrame(rows, columns=names))[["candidate", "top1_error", "top1_se"]].values.tolist()
    [[2.0, 45.0, 1.0]]
    """
    table = _completed(table)
    of_model = _of_model(table)
    by = [*of_model, "candidate"]
    grouped = table.groupby(by, sort=False)
    means = grouped[["validation_accuracy", "top1_error", "top3_error"]].mean()
    errors = grouped[["top1_error", "top3_error"]].sem()
    counts = grouped.agg(n_draws=("draw", "nunique"), n_seeds=("seed", "nunique"))
    of_seeds = table.groupby([*by, "seed"], sort=False)[["top1_error", "top3_error"]].mean().groupby(by, sort=False)
    errors = of_seeds.sem().where(counts["n_seeds"].gt(1), errors, axis=0).set_axis(["top1_se", "top3_se"], axis=1)
    summary = pd.concat([means, errors, counts], axis=1).reset_index()
    best = summary.groupby(of_model, sort=False)["validation_accuracy"].idxmax()
    return summary.loc[best].reset_index(drop=True)


@with_defaults
def low_label_differences(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare models with one of them on the same labelled rows: paired differences of test errors.

    The draws of few labels differ more than models do; the differences within a draw do not share that. Candidates are
    chosen on validation, as in :func:`low_label_summary`.

    Parameters
    ----------
    table : DataFrame
        From :func:`low_label_curve`.
    reference : str
        Name of the model that is subtracted. Models with several seeds are paired by seed; one with a
        single seed (raw rows) stands beside all seeds of the other.

    Returns
    -------
    differences : DataFrame
        One row per other `model`, `classifier` (where the table has several) and `n_per_class`: `top1_difference` and
        `top3_difference` in percentage points, negative where the model is better, standard errors
        `top1_difference_se` and `top3_difference_se`, over seeds (of means over draws) where there are several, else
        over draws, `n_pairs` and `n_seeds`.

    Raises
    ------
    ValueError
        If the table has no model `reference`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.evaluation import low_label_differences
    >>> rows = [("raw", 0, 50.0), ("raw", 1, 40.0), ("VDL", 0, 47.0), ("VDL", 1, 36.0)]
    >>> table = pd.DataFrame(rows, columns=["model", "draw", "top1_error"])
    >>> table = table.assign(candidate="", n_per_class=1, validation_accuracy=0.5, top3_error=20.0)
    >>> low_label_differences(table, "raw")[["model", "top1_difference", "top1_difference_se"]].values.tolist()
    [['VDL', -3.5, 0.5]]
    """
    known = table["model"].unique().tolist()
    if reference not in known:
        raise ValueError(f"low_label_differences: the table has no model {reference!r}. It has {known}.")
    table = _completed(table)
    of_model = _of_model(table)
    errors = ["top1_error", "top3_error"]
    summary = low_label_summary(table)
    chosen = table.merge(summary[[*of_model, "candidate"]], on=[*of_model, "candidate"])
    same = [name for name in of_model if name != "model"] + ["draw"]
    beside = chosen.loc[chosen["model"] == reference, [*same, "seed", *errors]]
    pairs = chosen[chosen["model"] != reference].merge(beside, on=same, suffixes=("", "_beside"))
    n_seeds = pairs.groupby(of_model)["seed"].transform("nunique")
    if beside["seed"].nunique() > 1:  # seed beside seed; what has one seed only, beside all of them
        pairs = pairs[(n_seeds == 1) | (pairs["seed"] == pairs["seed_beside"])]
        pairs = pairs.assign(seed=pairs["seed_beside"])
    pairs = pairs.assign(**{name: pairs[name] - pairs[f"{name}_beside"] for name in errors})
    grouped = pairs.groupby(of_model, sort=False)
    of_seeds = pairs.groupby([*of_model, "seed"], sort=False)[errors].mean().groupby(of_model, sort=False).sem()
    spread = of_seeds.where(grouped["seed"].nunique().gt(1), grouped[errors].sem(), axis=0)
    names = ["top1_difference", "top3_difference"]
    differences = pd.concat(
        [
            grouped[errors].mean().set_axis(names, axis=1),
            spread.set_axis([f"{name}_se" for name in names], axis=1),
            grouped.agg(n_pairs=("draw", "size"), n_seeds=("seed", "nunique")),
        ],
        axis=1,
    ).reset_index()
    return summary[of_model].merge(differences, on=of_model)  # in the order of the summary


def _of_model(table: pd.DataFrame) -> list[str]:
    """Return the columns that tell one line of a figure, at one number of labels, from another."""
    several = "classifier" in table.columns and table.loc[table["classifier"] != "own", "classifier"].nunique() > 1
    return ["model", "classifier", "n_per_class"] if several else ["model", "n_per_class"]


def _completed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with seeds, and with the empty name of a lone candidate where a file has lost it."""
    if "seed" not in table.columns:
        table = table.assign(seed=0)
    candidates = table["candidate"]
    if not candidates.isna().any():
        return table
    return table.assign(candidate=candidates.astype(object).where(candidates.notna(), ""))


def _seeded(candidate: Any, n_seeds: int) -> list[Any]:
    """Return clones with seeds of a transformer that is not fitted; anything else as it is."""
    if isinstance(candidate, str) or is_classifier(candidate) or _is_fitted(candidate):
        return [candidate]
    names = seed_names(candidate)
    return [clone(candidate).set_params(**dict.fromkeys(names, seed)) for seed in range(n_seeds if names else 1)]


def _is_fitted(transformer: Any) -> bool:
    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return False
    except TypeError:  # no estimator of scikit-learn's kind, but it may transform
        return True
    return True


def _needs_fit(candidate: Any) -> bool:
    return not isinstance(candidate, str) and not is_classifier(candidate) and not _is_fitted(candidate)


def _fit_alone(candidate: Any, X: NDArray, models: FilePath | None) -> Any:
    return candidate.fit(X) if models is None else fit_or_load(candidate, X, folder=models)


def _fitted(candidates: list, X: NDArray, models: FilePath | None, max_bytes: int | None) -> list:
    """Return the candidates with transformers that are fitted; dictionaries are trained together."""
    new = [index for index, (_, candidate) in enumerate(candidates) if _needs_fit(candidate)]
    together: dict[int, list[int]] = {}
    fitted: dict[int, Any] = {}
    for index in new:
        label, candidate = candidates[index]
        if can_be_fitted_together(candidate):
            together.setdefault(label["seed"] if models is not None else 0, []).append(index)
        else:
            fitted[index] = _fit_alone(candidate, X, models)
    for group in together.values():
        estimators = [candidates[index][1] for index in group]
        fitted.update(zip(group, fit_together_or_load(estimators, X, folder=models, max_bytes=max_bytes)))
    for model in fitted.values():
        if isinstance(model, Exception):
            raise model
    return [(label, fitted.get(index, candidate)) for index, (label, candidate) in enumerate(candidates)]


def _candidate_rows(index, label, candidate, settings, store, models, *data) -> tuple[int, list[dict[str, Any]]]:
    """Return the rows of one candidate on `data`, X and y of three splits; codes of all rows are computed once."""
    draws, classifier, Cs = settings
    splits = tuple(zip(data[::2], data[1::2], strict=True))
    if _needs_fit(candidate):
        candidate = _fit_alone(candidate, data[0], models)
    features, computed = splits, dict[str, Any]()
    if not isinstance(candidate, str) and is_classifier(candidate):
        classify, computed = partial(_from_scratch, candidate), {"classifier": fingerprint_parameters(candidate)}
        classifier = "own"
    else:
        features = tuple((_features(candidate, X), y) for X, y in splits)
        computed = {"Cs": list(Cs)} if classifier == "logistic" else {"classifier": classifier}
        classify = partial(CLASSIFIERS[classifier], Cs)
    rows_read = [[fingerprint(X, "the features"), fingerprint(y, "y")] for X, y in features]
    origin = {"kind": "low_label_curve", "versions": all_versions(), "features": rows_read, **computed}
    found = []
    for n, draw, rows in draws:
        key = point_key({**origin, "n_per_class": n, "draw": draw})
        row = store.load(key, _MEASURED)
        if row is None:
            begin = perf_counter()
            row = {**classify(features, rows, draw), "seconds": perf_counter() - begin}
            store.save(key, row, {**label, **origin, "n_per_class": n, "draw": draw})
        n_per_class = n if n is not None else len(rows) / len(np.unique(splits[0][1]))
        found.append({**label, "classifier": classifier, "n_per_class": n_per_class, "draw": draw, **row})
    return index, found


def _features(transformer, X) -> NDArray:
    if isinstance(transformer, str):
        if transformer != "passthrough":
            raise ValueError(
                f"low_label_curve expects a transformer, a classifier or 'passthrough', not {transformer!r}."
            )
        return X
    return to_array(as_plain(transformer.transform(X)))


def _logistic(Cs, features, rows, draw) -> dict[str, Any]:
    """Return what logistic regression reaches, with C chosen on validation; each C starts where the last one ended."""
    (X, y), (X_val, y_val), (X_test, y_test) = features
    rms = float(np.sqrt(np.mean(np.square(X[rows], dtype=np.float64))))
    scale = 1 / rms if rms > 0 else 1.0  # all codes can be zero
    model = LogisticRegression(max_iter=_MAX_ITER, warm_start=True)
    best: dict[str, Any] = {"validation_accuracy": -1.0}
    for C in sorted(Cs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in the table
            model.set_params(C=C).fit(X[rows] * scale, y[rows])
        accuracy = float(model.score(X_val * scale, y_val))
        if accuracy > best["validation_accuracy"]:
            converged = bool(model.n_iter_.max() < _MAX_ITER)
            errors = _top_errors(model.predict_proba(X_test * scale), model.classes_, y_test)
            best = {"C": float(C), "validation_accuracy": accuracy, **errors, "converged": converged}
    return best


def _linear_layer(Cs, features, rows, draw) -> dict[str, Any]:
    """Return what the paper's linear layer reaches; it has no C."""
    (X, y), (X_val, y_val), (X_test, y_test) = features
    model = LinearLayer(draw).fit(X[rows], y[rows])
    accuracy = float(np.mean(model.classes_[model.scores(X_val).argmax(1)] == y_val))
    errors = _top_errors(model.scores(X_test), model.classes_, y_test)
    return {"C": float("nan"), "validation_accuracy": accuracy, **errors, "converged": False}


CLASSIFIERS = {"logistic": _logistic, "sgd-linear": _linear_layer}


def _from_scratch(classifier, splits, rows, draw) -> dict[str, Any]:
    (X, y), (X_val, y_val), (X_test, y_test) = splits
    model = clone(classifier)
    model.set_params(**dict.fromkeys(seed_names(model), draw))
    takes_validation = has_fit_parameter(model, "X_val") and has_fit_parameter(model, "y_val")
    model.fit(X[rows], y[rows], **({"X_val": X_val, "y_val": y_val} if takes_validation else {}))
    errors = _top_errors(model.predict_proba(X_test), model.classes_, y_test)
    return {"C": float("nan"), "validation_accuracy": float(model.score(X_val, y_val)), **errors, "converged": True}


def _top_errors(scores: NDArray, classes: NDArray, y: NDArray) -> dict[str, float]:
    """Return top-1 and top-3 errors in percent; a class that scores as high as the true one counts against it.

    So does NaN, in all places.
    """
    own = np.take_along_axis(scores, np.searchsorted(classes, y)[:, None], axis=1)
    rank = (~(scores < own)).sum(axis=1) - 1
    return {f"top{k}_error": 100 * float((rank >= k).mean()) for k in (1, 3)}


def _draw_rows(y: NDArray, classes: NDArray, n: int | None, draw: int) -> NDArray[np.intp]:
    if n is None:
        return np.arange(len(y))
    rng = np.random.default_rng([draw, n])
    members = {label: np.flatnonzero(y == label) for label in classes}
    scarce = [str(label) for label, rows in members.items() if len(rows) < n]
    if n < 1 or scarce:
        raise ValueError(
            f"low_label_curve cannot draw {n} labels per class: "
            + (f"classes {', '.join(scarce)} of train have fewer. " if scarce else "")
            + "Use numbers from 1 to the size of the smallest class, or None for all rows."
        )
    return np.concatenate([rng.choice(rows, n, replace=False) for rows in members.values()])


def _checked(name: str, split) -> tuple[NDArray, NDArray]:
    if not (isinstance(split, tuple) and len(split) == 2):
        raise TypeError(f"low_label_curve expects {name}=(X, y), but got {type(split).__name__}.")
    X, y = map(to_array, split)
    y = column_or_1d(y)
    check_consistent_length(X, y)
    return X, y


def _check_labels(classes: NDArray, others) -> None:
    unknown = np.setdiff1d(np.concatenate([y for _, y in others]), classes)
    if len(unknown):
        raise ValueError(f"low_label_curve: validation or test has labels {unknown.tolist()} that train has not.")
