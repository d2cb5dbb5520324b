"""Iterative inference. A solver holds settings only; it is handed a problem and a start, and returns a result."""

from skvardict.solvers._result import SolverResult
from skvardict.solvers.active_set import ActiveSetADMM
from skvardict.solvers.admm import ADMM
from skvardict.solvers.fista import FISTA
from skvardict.solvers.ista import ISTA

__all__ = ["ADMM", "FISTA", "ISTA", "ActiveSetADMM", "SolverResult"]
