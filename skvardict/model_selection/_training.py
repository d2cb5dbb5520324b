"""The coders of all candidates and folds of a search, trained together when the search asks for its splits."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.base import clone

from skvardict._sklearn import split_rows
from skvardict._utils.messages import say, warn
from skvardict.estimators._together import why_alone
from skvardict.model_selection._blocks import BlockMember, fit_on_blocks
from skvardict.model_selection._parts import Parts, cut
from skvardict.model_selection._shelf import Keys, Shelf, keys_of, rows_key

Split = tuple[np.ndarray, np.ndarray]


class TrainingSplitter:
    """A splitter that, asked for its splits, puts the coders that they need onto a shelf.

    Parameters
    ----------
    splitter : cross-validation splitter
    estimator : estimator
        Not modified.
    candidates : sequence of dict
        Parameters to set.
    shelf : Shelf
    name : str
        Of the search, in messages.
    max_bytes : int or None
        As for :func:`skvardict.model_selection._blocks.fit_on_blocks`.
    verbose : int
        From 1 on, a line says what is trained.
    """

    def __init__(
        self,
        splitter: Any,
        estimator: Any,
        candidates: Sequence[Mapping[str, Any]],
        *,
        shelf: Shelf,
        name: str,
        max_bytes: int | None,
        verbose: int,
    ):
        self.splitter, self.estimator, self.shelf = splitter, estimator, shelf
        self.name, self.max_bytes, self.verbose = name, max_bytes, verbose
        self.candidates = candidates

    def split(self, X: Any, y: Any = None, **params: Any) -> Iterator[Split]:
        """Return the splits; the coders are then ready."""
        splits = list(self.splitter.split(X, y, **params))
        self.shelf.n_fits += len(splits) * len(self.candidates)
        begin = perf_counter()
        parts = self._trained_parts()
        # What is to survive a kill is trained and kept fold by fold.
        for group in [[split] for split in splits] if self.shelf.is_kept else [splits]:
            self._train(parts, X, y, [_indices(train) for train, _ in group])
        self.shelf.seconds += perf_counter() - begin
        return iter(splits)

    def _trained_parts(self) -> list[Parts]:
        """Return the parts of all candidates whose coder is to be trained here, and say of the others why not."""
        parts = [self._configured(candidate) for candidate in self.candidates]
        known = [entry for entry in parts if isinstance(entry, Parts)]
        alone = [why_alone(entry.coder) for entry in known]
        reasons = Counter(reason for reason in [*parts, *alone] if isinstance(reason, str))
        for reason, number in reasons.items():
            warn(f"{self.name} fits {number} of {len(self.candidates)} candidates one by one: {reason}.")
        are_different = len({keys_of(entry, _NO_ROWS) for entry in known}) == len(known)
        nothing_is_gained = None not in alone and are_different
        return [] if nothing_is_gained else known

    def _configured(self, candidate: Mapping[str, Any]) -> Parts | str:
        """Return the parts of a candidate, or why its coder cannot be trained here."""
        parts = cut(clone(self.estimator).set_params(**clone(candidate, safe=False)))
        try:
            if isinstance(parts, Parts):
                keys_of(parts, _NO_ROWS)
        except ValueError as error:  # a parameter that cannot be told from others: nobody knows which candidates agree
            return str(error).rstrip(".")
        return parts

    def _train(self, candidates: Sequence[Parts], X: Any, y: Any, folds: Sequence[np.ndarray]) -> None:
        """Fit the steps before the coder, once per fold and setting, then the coders of all folds."""
        blocks: dict[Any, Any] = {None: X}
        members: dict[Keys, BlockMember] = {}
        for train in folds:
            X_train, y_train = split_rows(self.estimator, X, y, train)
            rows = rows_key(X_train, y_train)
            for parts in candidates:
                keys = keys_of(parts, rows)
                self.shelf.uses[keys] += 1
                if keys.before is not None and keys.before not in blocks:
                    blocks[keys.before] = self._fit_before(keys.before, parts, X_train, y_train)
                is_needed = keys.before is None or blocks[keys.before] is not None
                if is_needed and keys not in members and not self.shelf.has_coder(keys):
                    members[keys] = BlockMember(clone(parts.coder), keys.before, train if keys.before is None else None)
        if self.verbose and members:
            say(f"[{self.name}] coders trained together: {len(members)}")
        errors = fit_on_blocks(list(members.values()), blocks, max_bytes=self.max_bytes)
        for (keys, member), error in zip(members.items(), errors):
            self.shelf.put_coder(keys, member.coder, error)

    def _fit_before(self, key: str, parts: Parts, X_train: Any, y_train: Any) -> Any:
        """Return the rows that fitted steps make of a fold, None if they cannot be fitted."""
        before = clone(parts.before)
        try:
            rows = before.fit_transform(X_train, y_train)
        except Exception as error:
            self.shelf.put_error(key, error)
            return None
        self.shelf.put_before(key, before, rows)
        return rows


_NO_ROWS = {"X": "", "y": ""}


def _indices(train: Any) -> np.ndarray:
    """Return rows by number, also where a splitter gives a mask."""
    rows = np.asarray(train)
    return np.flatnonzero(rows) if rows.dtype == bool else rows
