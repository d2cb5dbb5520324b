"""What a solver may ask of the problem it solves; it knows no formula beyond that.

A problem is a smooth function of the codes of a batch plus a convex function of each code, the penalty, which has a
proximal operator. Solvers never change a problem: ``start_at``, ``with_step`` and ``keep_rows`` return another one for
what depends on the start, on the size of a step or on the rows that are left.
"""

from typing import NamedTuple, Protocol, Self

from torch import Tensor

from skvardict.functional import Weight


class Gap(NamedTuple):
    """Duality gap and objective per row, each of shape (..., n)."""

    gap: Tensor
    objective: Tensor


class Lasso(NamedTuple):
    """The energy of each row as ``1/2 z H z - b z + alpha |z|_1`` plus a constant, over ``z >= 0`` if `positive`.

    Attributes
    ----------
    hessian : Tensor of shape (..., l, l) or None
        None: that of `factor`, built where it is needed.
    linear : Tensor of shape (..., n, l)
    alpha : float, or Tensor of shape (..., 1, 1)
    positive : bool
    rank : int
        The rank of `hessian` is at most this.
    factor : Tensor of shape (..., l, rank) or None
        ``hessian = factor @ factor^T``, where it is known.
    norm_sq : Tensor of shape (n,) or None
        Twice the constant, ``|x|^2`` in the scale of the factor: for the duality gap.
    """

    hessian: Tensor | None
    linear: Tensor
    alpha: Weight
    positive: bool
    rank: int
    factor: Tensor | None = None
    norm_sq: Tensor | None = None


class CodingProblem(Protocol):
    """Codes (..., n, l) of the rows of a batch, under a smooth part and a penalty.

    For a first-order method :meth:`gradient`, :meth:`prox` and :meth:`curvature` are all there is to know; the loop::

        problem = problem.start_at(codes)
        step = 1 / problem.curvature()
        for _ in range(n_iter):
            codes = problem.prox(codes - step * problem.gradient(codes), step)

    is correct. A method for quadratic energies with an L1 term, such as coordinate descent, asks for :meth:`lasso`.
    """

    @property
    def couples_rows(self) -> bool:
        """Whether the code of one row depends on the others. A step must then be the same for all."""

    @property
    def check_every(self) -> int:
        """Iterations between two tests for convergence, where the solver does not say."""

    @property
    def slope(self) -> Weight:
        """The penalty is ``slope * sum(z)`` plus a rest, so that ``prox(p, s) = prox_of_rest_(p - s * slope, s)``."""

    def start_at(self, codes: Tensor) -> Self:
        """Return the problem for iterations from `codes`. It comes first."""

    def keep_rows(self, keep: Tensor, ended_codes: Tensor) -> Self:
        """Return the problem of the rows `keep` (indices), the others having ended at `ended_codes`, in 2-D batches."""

    def gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of the smooth part, summed over rows, at a point that need not be feasible."""

    def smooth_value(self, point: Tensor) -> Tensor:
        """Return the smooth part per row, shape (..., n)."""

    def curvature(self) -> Tensor | None:
        """Return a bound of the largest curvature of the smooth part, shape (...); None where unknown."""

    def metric(self) -> Tensor | None:
        """Return a matrix (l, l) that stands for the Hessians of all rows in a quadratic model; None: no such."""

    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return the proximal operator of ``step`` times the penalty."""

    def prox_of_rest_(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return the proximal operator of ``step`` times the penalty without its slope; it may overwrite `point`."""

    def with_step(self, step: float | Tensor) -> Self:
        """Return the problem with all that one size of step makes constant; `proximal_step` then takes it."""

    @property
    def has_own_gradient(self) -> bool:
        """Whether gradients are the problem's own operations on tensors, which can be recorded, and not autograd's."""

    @property
    def is_set_up_by_itself(self) -> bool:
        """Whether `curvature` and `metric` read nothing but the problem, and leave nothing changed."""

    def for_steps(self) -> Self:
        """Return the problem with what `proximal_step` and `couples_rows` read; it need not have more."""

    def proximal_step(self, point: Tensor) -> Tensor:
        """Return ``prox(point - step * gradient(point), step)``, by fewer operations where a problem can."""

    def lasso(self) -> Lasso | None:
        """Return the energy as a lasso; None: it is none."""

    def relative_gap(self, codes: Tensor, gradient: Tensor | None = None) -> Gap:
        """Return the duality gap, from ``z H - b`` of `lasso` if given; a ValueError where there is none."""

    def energy(self, codes: Tensor) -> Tensor:
        """Return the whole energy per row, shape (..., n)."""
