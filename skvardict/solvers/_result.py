"""What every solver returns."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from skvardict.solvers.protocol import CodingProblem


@dataclass(frozen=True)
class SolverResult:
    """Codes and how they were reached.

    Attributes
    ----------
    codes : Tensor of shape (..., n, l)
    n_iter : Tensor of shape (..., n)
        Iterations until the row converged, or the limit.
    converged : Tensor of shape (..., n)
        Whether the row met the criterion.
    energy : Tensor of shape (..., n)
        Energy per row, computed when asked for.
    """

    codes: Tensor
    n_iter: Tensor
    converged: Tensor
    problem: CodingProblem

    @cached_property
    def energy(self) -> Tensor:
        """Energy per row at the codes; computed when first asked for."""
        return self.problem.energy(self.codes)
