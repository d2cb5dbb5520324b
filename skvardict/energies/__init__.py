"""The energy of sparse coding, one file per term, and the problems that solvers minimise.

Notation: data ``X`` (..., n, d), codes ``z`` (..., n, l), predictions ``e`` of the encoder (..., n, l),
atoms ``W`` (..., l, d). In the units of Table 3 of Evtimova & LeCun (2022), used throughout:

    E = sum_i 1/d |x_i - D(z_i)|^2 + gamma sum_i 1/l |z_i - e_i|^2 + alpha sum_i |z_i|_1 + beta sum_j [(T - s_j)_+]^2

with another penalty of the list in the place of the L1 norm where one is given. Terms that belong to rows are returned
per row, shape (..., n); the hinge belongs to the batch, shape (...).
"""

from skvardict.energies.coupling import Coupling, coupling
from skvardict.energies.decoder_problem import DecoderProblem
from skvardict.energies.elastic_net import ElasticNet
from skvardict.energies.energy_problem import EnergyProblem
from skvardict.energies.group_lasso import GroupLasso
from skvardict.energies.l1 import L1
from skvardict.energies.linear_problem import LinearProblem
from skvardict.energies.masked_problem import MaskedLinearProblem
from skvardict.energies.penalty import Penalty
from skvardict.energies.reconstruction import (
    expected_reconstruction,
    linear_reconstruction_loss,
    mean_squared_error,
    observed_reconstruction,
    reconstruction,
)
from skvardict.energies.scale import from_sklearn_alpha, to_sklearn_alpha
from skvardict.energies.variance_hinge import VarianceHinge

# The property tests run over this list: a new penalty joins it.
PENALTIES: tuple[type[Penalty], ...] = (L1, ElasticNet, GroupLasso)

__all__ = [
    "L1",
    "PENALTIES",
    "Coupling",
    "DecoderProblem",
    "ElasticNet",
    "EnergyProblem",
    "GroupLasso",
    "LinearProblem",
    "MaskedLinearProblem",
    "Penalty",
    "VarianceHinge",
    "coupling",
    "expected_reconstruction",
    "from_sklearn_alpha",
    "linear_reconstruction_loss",
    "mean_squared_error",
    "observed_reconstruction",
    "reconstruction",
    "to_sklearn_alpha",
]
