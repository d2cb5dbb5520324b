"""Coders that are ready, and estimators whose ``fit`` takes them from there.

Keys are digests of the parameters up to the coder and of the rows, so that a copy of an estimator that scikit-learn's
search has made, configured and given the rows of a fold finds its own. All lies in files: processes of joblib read what
they need, and memory holds one coder at a time.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from joblib import wrap_non_picklable_objects

from skvardict._utils.state import set_at_once
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.model_selection._parts import Parts, cut, put_together
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import ObjectStore, all_versions, point_key


class Keys(NamedTuple):
    """Under what the two trained parts of an estimator are kept, for the rows of one fold."""

    before: str | None
    coder: str


class _Files(ObjectStore):
    """Files that also hold what is defined in a notebook or a function, as joblib's processes accept it."""

    def save(self, key: str, value: Any) -> None:
        super().save(key, wrap_non_picklable_objects(value, keep_wrapper=False))


class Shelf:
    """Fitted steps before coders, their rows, and fitted coders.

    Parameters
    ----------
    folder : path
        Empty, and gone after the search.
    kept : path or None
        Where coders stay after the search.
    """

    def __init__(self, folder: FilePath, kept: FilePath | None = None):
        self.scratch = _Files(folder, durable=False)
        self.coders = _Files(folder, "coder", durable=False) if kept is None else _Files(kept, "coder")
        self.is_kept = kept is not None
        self.uses: Counter[Keys] = Counter()  # how many candidates have the same coder
        self.seconds = 0.0  # spent on training
        self.n_fits = 0

    def close(self) -> None:
        """Find nothing from now on: later fits are ordinary ones."""
        self.uses.clear()

    def put_before(self, key: str, before: Any, rows: Any) -> None:
        """Keep fitted steps, and the rows that they made of a fold."""
        self.scratch.save(key, (before, rows))

    def put_coder(self, keys: Keys, coder: Any, error: Exception | None) -> None:
        """Keep a fitted coder, or what its fit has raised."""
        if error is None:
            self.coders.save(keys.coder, coder)
        else:
            self.put_error(keys.coder, error)

    def put_error(self, key: str, error: Exception) -> None:
        """Keep what a fit has raised until the end of the search; the next search tries again."""
        self.scratch.save(f"{key}-error", error)

    def has_coder(self, keys: Keys) -> bool:
        """Return whether an earlier search has left the coder, in a file that can be read."""
        return self.is_kept and self.coders.load(keys.coder) is not None

    def find(self, parts: Parts, rows: Mapping[str, str]) -> Keys | None:
        """Return the keys of what is ready for an estimator and the rows of :func:`rows_key`; None if nothing is."""
        try:
            keys = keys_of(parts, rows)
        except ValueError:  # a parameter that cannot be told from others
            return None
        return keys if keys in self.uses else None

    def take(self, keys: Keys, X: ArrayLike) -> tuple[Any, Any, Any]:
        """Return fitted steps before the coder, the coder, and the rows that it was trained on.

        Raises
        ------
        Exception
            What the fit of one of them has raised.
        """
        before, rows = (None, X) if keys.before is None else self._load(self.scratch, keys.before)
        return before, self._load(self.coders, keys.coder), rows

    def _load(self, store: ObjectStore, key: str) -> Any:
        error = self.scratch.load(f"{key}-error")
        if error is not None:
            raise error
        return store.load(key)


class Remembered:
    """The ``transform`` of a fitted coder that several candidates share: codes of the same rows are computed once."""

    def __init__(self, coder: Any, key: str, store: ObjectStore):
        self.coder, self.key, self.store = coder, key, store

    def __call__(self, X: ArrayLike, **options: Any) -> Any:
        """Return the codes of `X`, in an array of the caller's own."""
        transform = partial(type(self.coder).transform, self.coder)
        if options:
            return transform(X, **options)
        key = point_key({"coder": self.key, "X": fingerprint(X)})
        codes = self.store.load(key)
        if codes is None:
            codes = transform(X)
            self.store.save(key, codes)
        return codes


def rows_key(X: Any, y: Any) -> dict[str, str]:
    """Return what tells rows from others."""
    return {"X": fingerprint(X, "X"), "y": fingerprint(y, "y")}


def keys_of(parts: Parts, rows: Mapping[str, str]) -> Keys:
    """Return the keys of the trained parts of an estimator.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others.
    """
    origin: dict[str, Any] = {"versions": all_versions(), "X": rows["X"]}
    before = None
    if parts.before is not None:  # which may learn from y; the coder does not
        origin |= {"before": fingerprint_parameters(parts.before), "y": rows["y"]}
        before = point_key(origin)
    return Keys(before, point_key({**origin, "coder": fingerprint_parameters(parts.coder)}))


def serve(estimator: Any, shelf: Shelf) -> Any:
    """Let `estimator` and its clones take coders from the shelf in their next ``fit``; return it.

    The methods are replaced on the object, so that it keeps its class: scorers and callbacks see what they expect.
    """
    estimator.fit = partial(_fit, estimator, shelf)
    estimator.__sklearn_clone__ = partial(_clone, estimator, shelf)
    return estimator


def _clone(estimator: Any, shelf: Shelf) -> Any:
    return serve(type(estimator).__sklearn_clone__(estimator), shelf)


def _fit(estimator: Any, shelf: Shelf, X: ArrayLike, y: Any = None, **params: Any) -> Any:
    """Fit as ``fit`` of the class does; what is ready on the shelf is not fitted again."""
    del estimator.fit, estimator.__sklearn_clone__
    parts = cut(estimator)
    if isinstance(parts, str) or not shelf.uses or (keys := shelf.find(parts, rows_key(X, y))) is None:
        return estimator.fit(X, y, **params)
    parts.before, coder, rows = shelf.take(keys, X)
    if parts.coder is estimator:
        set_at_once(estimator, vars(coder))
        return estimator
    parts.coder = coder
    if shelf.uses[keys] > 1:
        coder.transform = Remembered(coder, keys.coder, shelf.scratch)
    if parts.after is not None:
        parts.after.fit(coder.transform(rows), y, **params)
    put_together(estimator, parts)
    return estimator
