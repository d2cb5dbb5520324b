"""When a fit ends before its last epoch."""

from numbers import Real

from skvardict._sklearn import COUNT, NON_NEGATIVE, Interval
from skvardict._utils.parameters import Part, parameter, with_parameters


@with_parameters
class EarlyStopping(Part):
    """Hold out rows, and end the fit when their energy no longer falls.

    Examples
    --------
    >>> from skvardict.training import EarlyStopping
    >>> EarlyStopping(n_iter_no_change=20)
    EarlyStopping(n_iter_no_change=20)
    """

    validation_fraction: float = parameter(
        default=0.1,
        accepts=[Interval(Real, 0, 1, closed="neither")],
        kind="float",
        text="Share of the rows that is held out, where `fit` gets no ``X_val``; none where this is fewer than 20.",
    )
    n_iter_no_change: int = parameter(
        default=10, accepts=COUNT, kind="int", text="Epochs without an improvement after which the fit ends."
    )
    tol: float = parameter(
        default=1e-4,
        accepts=NON_NEGATIVE,
        kind="float",
        text="Relative fall of the validation energy that counts as an improvement.",
    )
