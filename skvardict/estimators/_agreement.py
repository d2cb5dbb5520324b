"""What processes that fit together have to agree about before they begin."""

from collections.abc import Callable
from typing import TypeVar

from skvardict._utils import ranks
from skvardict.rows import Rows, Stream, spread
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters, versions

AnyRows = TypeVar("AnyRows", Rows, Stream, Rows | None)

_ROWS_TO_COMPARE = 64  # of those that every process is to have


def agreed_rows(estimator, check: Callable[[], AnyRows], name: str = "X") -> AnyRows:
    """Return what `check` returns; in several processes spread over them, once all have it and agree about the fit.

    Parameters
    ----------
    estimator : estimator
    check : callable
        Returns Rows, a Stream or None, or raises.
    name : str
        Of the rows, in messages.

    Raises
    ------
    ValueError
        Of `check`; or if processes have rows of other features or dtype, other parameters, seeds or versions.
    RankError
        If the `check` of another process raises an error.
    """
    rows = ranks.agreed(check)
    several = ranks.current()
    if several is None:
        return rows
    facts = {"rows=": several.holds, name: "not given" if rows is None else "given"}
    facts |= {} if rows is None else _facts_of_rows(rows, name, several.holds)
    ranks.require_equal(facts | _facts_of_fit(estimator), type(estimator).__name__)
    return None if rows is None else spread(rows, several)


def _facts_of_rows(rows: Rows | Stream, name: str, holds: str) -> dict[str, str]:
    first = rows.first
    facts = {
        f"features of {name}": str(first.n_features),
        f"dtype of {name}": str(first.dtype).removeprefix("torch."),
        "device type": first.device.type,
    }
    if holds == "shard":
        return facts
    return facts | {
        f"number of rows of {name}": str(len(rows)),
        f"first rows of {name}": fingerprint(first.read(0, _ROWS_TO_COMPARE).cpu(), name),
    }


def _facts_of_fit(estimator) -> dict[str, str]:
    state = vars(estimator).get("_train_state")
    facts = {**versions(), "state": "unfitted" if state is None else f"fitted for {int(state['counters'][0])} epochs"}
    try:
        return facts | fingerprint_parameters(estimator)
    except ValueError:  # a parameter that cannot be told from others
        return facts
