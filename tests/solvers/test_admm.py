"""ADMM with a fixed number of iterations, against the exact method, in both of its forms."""

import pytest
import torch

from skvardict.energies import L1, Coupling, LinearProblem, VarianceHinge
from skvardict.solvers import ADMM, ActiveSetADMM


def problem(n_components, n_features, *, positive=True, coupling=None, hinge=None):
    generator = torch.Generator().manual_seed(0)
    X, atoms = (torch.randn(n, n_features, generator=generator, dtype=torch.float64) for n in (200, n_components))
    atoms = atoms * torch.linspace(0.5, 2.0, n_components)[:, None]
    return LinearProblem(X, atoms, L1(0.1, positive), coupling, hinge)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("n_components", "n_features"), [(20, 16), (80, 16), (8, 30)])
def test_iterations_come_close_to_the_exact_codes(n_components, n_features, positive):
    """(80, 16) has a Hessian of low rank, where the thin products are taken."""
    posed = problem(n_components, n_features, positive=positive)
    start = torch.zeros(200, n_components, dtype=torch.float64)
    exact = ActiveSetADMM(tol=1e-9).solve(posed, start).energy
    errors = [float((ADMM(n).solve(posed, start).energy / exact - 1).mean()) for n in (5, 20, 200)]
    assert errors[0] + 1e-6 > errors[1] > errors[2] - 1e-6 > -1e-5  # ADMM runs in float32
    assert errors[1] < 1e-2
    assert errors[2] < 1e-4


def test_codes_do_not_depend_on_batch_mates():
    posed = problem(20, 16)
    whole = ADMM().solve(posed, torch.zeros(200, 20, dtype=torch.float64)).codes
    alone = LinearProblem(posed.X[3:4], posed.components, L1(0.1))
    torch.testing.assert_close(
        ADMM().solve(alone, torch.zeros(1, 20, dtype=torch.float64)).codes, whole[3:4], rtol=1e-5, atol=1e-6
    )


def test_problems_that_are_no_lasso_are_refused():
    with pytest.raises(ValueError, match="ADMM solves problems of a linear dictionary"):
        ADMM().solve(problem(20, 16, hinge=VarianceHinge(1.0, 0.5)), torch.zeros(200, 20, dtype=torch.float64))
    coupled = problem(20, 16, coupling=Coupling(1.0, torch.ones(200, 20, dtype=torch.float64)))
    assert ADMM().solve(coupled, torch.zeros(200, 20, dtype=torch.float64)).codes.shape == (200, 20)
