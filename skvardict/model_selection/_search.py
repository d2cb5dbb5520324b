"""Searches over parameters whose models are trained together.

The search itself is scikit-learn's: candidates, splits, scores, failures, results and the last fit. What changes is
what the copies of the estimator do in ``fit`` while candidates are scored: they take their coder, which was trained
before together with those of all other candidates and folds, from a shelf.
"""

from collections.abc import Mapping
from copy import copy
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline

from skvardict._sklearn import COUNT
from skvardict._utils.messages import warn
from skvardict._utils.state import set_at_once
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.model_selection._checkpoint import open_checkpoint
from skvardict.model_selection._parts import cut
from skvardict.model_selection._shelf import Shelf, serve
from skvardict.model_selection._training import TrainingSplitter


class _Batched:
    """What the two searches share; stands left of scikit-learn's."""

    estimator: Any
    max_bytes: int | None
    verbose: int
    cv_results_: dict[str, Any]
    cv: Any

    def fit(self, X: ArrayLike, y: Any = None, *, checkpoint: FilePath | None = None, **params: Any) -> Self:
        """Search, and fit the best candidate on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like, optional
            Labels, for later steps and scores.
        checkpoint : path, optional
            A folder that trained coders are kept in, those of a fold as soon as they are ready: a search that was
            killed goes on from there, and so does one with more candidates. Loading runs code from its files: use
            folders that you trust.
        **params
            Passed on as scikit-learn's search does: ``groups``, and parameters of later steps such as
            ``clf__sample_weight``.

        Returns
        -------
        self : estimator

        Raises
        ------
        CheckpointMismatchError
            If `checkpoint` belongs to other data, parameters or versions; the message says which.
        ValueError
            If all fits failed, or `checkpoint` is given where nothing can be trained together.

        Warns
        -----
        UserWarning
            If candidates cannot be trained together, and why; they are fitted by scikit-learn's search.
        FitFailedWarning
            If some fits failed. They have `error_score`.
        """
        reason = _why_not(self.estimator, params)
        if reason is not None:
            self._say_that_nothing_is_shared(reason, checkpoint)
            return super().fit(X, y, **params)  # type: ignore[misc]
        with TemporaryDirectory(prefix="skvardict-search-") as folder:
            kept = None if checkpoint is None else open_checkpoint(checkpoint, self.estimator, self._searched(), X, y)
            search = copy(self)
            search._search(Shelf(folder, kept), X, y, params)
        set_at_once(self, {name: value for name, value in vars(search).items() if _is_fitted_attribute(name)})
        return self

    def _search(self, shelf: Shelf, X: Any, y: Any, params: dict[str, Any]) -> None:
        """Run scikit-learn's search with an estimator that takes its coder from the shelf; changes `self`."""
        self._shelf, self._original = shelf, self.estimator
        self.cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self.estimator = serve(clone(self.estimator), shelf)
        super().fit(X, y, **params)  # type: ignore[misc]
        self.cv_results_["mean_fit_time"] += shelf.seconds / shelf.n_fits

    def _run_search(self, evaluate_candidates: Any, callback_ctx: Any = None) -> None:
        """Let splits be asked for once coders can be trained: scikit-learn's way for searches of one's own."""
        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}  # scikit-learn < 1.9 has none
        shelf = getattr(self, "_shelf", None)
        if shelf is None:
            super()._run_search(evaluate_candidates, **context)  # type: ignore[misc]
            return

        def train_and_evaluate(candidate_params, cv=None, **more):
            candidates = list(candidate_params)
            splitter = TrainingSplitter(
                cv or self.cv,
                self._original,
                candidates,
                shelf=shelf,
                name=type(self).__name__,
                max_bytes=self.max_bytes,
                verbose=self.verbose,
            )
            return evaluate_candidates(candidates, cv=splitter, **more)

        super()._run_search(train_and_evaluate, **context)  # type: ignore[misc]
        shelf.close()

    def _searched(self) -> set[str]:
        """Return the names of the parameters that candidates set."""
        grids = self.param_grid if isinstance(self, GridSearchCV) else self.param_distributions  # type: ignore[attr-defined]
        return {name for grid in ([grids] if isinstance(grids, Mapping) else grids) for name in grid}

    def _say_that_nothing_is_shared(self, reason: str, checkpoint: FilePath | None) -> None:
        name = type(self).__name__
        if checkpoint is not None:
            raise ValueError(
                f"{name}: checkpoint= keeps coders that are trained together, but {reason}. Leave checkpoint out."
            )
        warn(f"{name} fits all candidates one by one, as scikit-learn's search does: {reason}.")


class BatchedGridSearchCV(_Batched, GridSearchCV):
    """:class:`sklearn.model_selection.GridSearchCV` whose dictionaries are trained together.

    The estimator is a coder of this package or a `Pipeline` with one among its steps. Steps before the coder are fitted
    once per fold and setting of theirs; the coders of all candidates and folds are trained as one tensor program;
    candidates that differ in later steps only share one coder. Parameters, splits, scores and fitted attributes are
    those of scikit-learn's search, and so are results within rounding. What cannot be trained together is fitted as
    there, and a warning says why.

    Parameters
    ----------
    estimator : estimator
        A coder, or a Pipeline.
    param_grid : dict or list of dict
        Values to try by name of parameter.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in :class:`sklearn.model_selection.GridSearchCV`. `n_jobs` counts for later steps and scores.
    max_bytes : int, optional
        Memory that the coders trained at the same time may take; by default what suits the machine. A smaller number
        makes smaller groups and the same results.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in :class:`sklearn.model_selection.GridSearchCV`, with two differences. ``mean_fit_time`` contains an equal
        share of what was spent on training together, so that all fits together took the time that its sum says. With
        ``random_state=None`` candidates that differ in later steps only share one random coder.

    See Also
    --------
    skvardict.evaluation.regret_curve : The trade-off between sparsity and reconstruction along alpha.

    Notes
    -----
    Fitted coders, the rows that earlier steps make, and shared codes lie in a temporary folder during the search.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.model_selection import BatchedGridSearchCV
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X, y = load_digits(return_X_y=True)
    >>> coder = VarianceDictionaryLearning(16, max_iter=5, random_state=0)
    >>> pipeline = make_pipeline(GlobalStandardizer(), coder, LogisticRegression(max_iter=2000))
    >>> grid = {"variancedictionarylearning__alpha": [0.002, 0.01], "logisticregression__C": [0.1, 1.0]}
    >>> search = BatchedGridSearchCV(pipeline, grid, cv=2).fit(X, y)  # trains 4 coders, together
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.7)
    (4, True)
    """

    _parameter_constraints: ClassVar[Any] = {**GridSearchCV._parameter_constraints, "max_bytes": [*COUNT, None]}

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_bytes: int | None = None,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_bytes = max_bytes


class BatchedRandomizedSearchCV(_Batched, RandomizedSearchCV):
    """:class:`sklearn.model_selection.RandomizedSearchCV` whose dictionaries are trained together.

    See :class:`BatchedGridSearchCV` for what is shared and what is fitted one by one.

    Parameters
    ----------
    estimator : estimator
        A coder, or a Pipeline.
    param_distributions : dict or list of dict
        Lists, or distributions with a method ``rvs``, by name of parameter.
    n_iter : int, default=10
        Candidates to draw.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, random_state, error_score, return_train_score
        As in :class:`sklearn.model_selection.RandomizedSearchCV`.
    max_bytes : int, optional
        Memory that the coders trained at the same time may take; by default what suits the machine.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in :class:`BatchedGridSearchCV`.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.model_selection import BatchedRandomizedSearchCV
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = VarianceDictionaryLearning(16, max_iter=5, random_state=0)
    >>> alphas = {"alpha": loguniform(1e-3, 1e-1)}
    >>> search = BatchedRandomizedSearchCV(coder, alphas, n_iter=3, cv=2, random_state=0).fit(X)
    >>> bool(1e-3 < search.best_params_["alpha"] < 1e-1)
    True
    """

    _parameter_constraints: ClassVar[Any] = {**RandomizedSearchCV._parameter_constraints, "max_bytes": [*COUNT, None]}

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_bytes: int | None = None,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_bytes = max_bytes


def _why_not(estimator: Any, params: Mapping[str, Any]) -> str | None:
    """Return why nothing of a search can be shared, whatever the candidates; None if something may be."""
    parts = cut(estimator)
    if isinstance(parts, str) and type(estimator) is not Pipeline:  # candidates may bring the coder into a Pipeline
        return parts
    given = [name for name, value in params.items() if name != "groups" and value is not None]
    later = [] if isinstance(parts, str) or parts.after is None else [name for name, _ in parts.after.steps]
    of_earlier = [name for name in given if name.partition("__")[0] not in later or "__" not in name]
    if of_earlier or (given and get_config()["enable_metadata_routing"]):
        return f"fit was given {', '.join(of_earlier or given)}, which is not for later steps alone"
    return None


def _is_fitted_attribute(name: str) -> bool:
    return (name.endswith("_") and not name.startswith("_")) or name == "_checked_cv_orig"
