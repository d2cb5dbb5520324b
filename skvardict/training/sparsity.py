"""An L1 weight that is found in training, for those who know how sparse codes should be and not what alpha is."""

from numbers import Real

from skvardict._sklearn import Interval
from skvardict._utils.parameters import Part, parameter, with_parameters


@with_parameters
class TargetSparsity(Part):
    """Choose ``alpha`` in training so that a share of the code's entries is zero.

    After every batch ``alpha <- alpha exp(rate (target - share of zeros))``, the share being that of the encoder's
    codes (of the solver's, if there is no encoder). The fitted value is ``alpha_``.

    Examples
    --------
    >>> from skvardict.training import TargetSparsity
    >>> TargetSparsity(0.8)
    TargetSparsity(target=0.8)
    """

    target: float = parameter(
        default=0.9,
        accepts=[Interval(Real, 0, 1, closed="neither")],
        kind="float",
        text="Share of exact zeros.",
        kw_only=False,
    )
    rate: float = parameter(
        default=0.05,
        accepts=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        text="How fast alpha follows; a tenth of a deviation moves it by half a percent a batch.",
    )
