"""Atoms from statistics of codes and rows: each formula against the slow way to the same thing."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from skvardict.functional import atom_sweep_, project_atoms, quadratic_error, ridge_atoms, ridge_system
from skvardict.functional import dictionary_update as module


def problem(n_rows=60, n_components=20, n_features=7, *, signed=False, seed=0):
    """Return rows, codes, atoms of norm 1 and the sums of codes and rows."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n_rows, n_features, dtype=torch.float64, generator=generator)
    codes = torch.randn(n_rows, n_components, dtype=torch.float64, generator=generator)
    if not signed:
        codes = (codes - 0.5).relu()
    atoms = torch.randn(n_components, n_features, dtype=torch.float64, generator=generator)
    atoms /= torch.linalg.vector_norm(atoms, dim=1, keepdim=True)
    return X, codes, atoms, codes.T @ codes, codes.T @ X


def squared_error(X, codes, atoms):
    return float((X - codes @ atoms).square().sum())


def test_the_quadratic_error_is_the_squared_error_but_for_the_squares_of_the_rows():
    X, codes, atoms, gram, cross = problem()
    expected = squared_error(X, codes, atoms)
    assert float(quadratic_error(atoms, gram, cross) + X.square().sum()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("norm", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("n_components", [1, 5, 16, 40])
def test_a_sweep_never_raises_the_error_and_keeps_the_norm(norm, signed, n_components):
    X, codes, atoms, gram, cross = problem(n_components=n_components, signed=signed)
    atoms *= norm
    errors = [squared_error(X, codes, atoms)]
    for _ in range(5):
        atom_sweep_(atoms, gram, cross, norm)
        errors.append(squared_error(X, codes, atoms))
        torch.testing.assert_close(torch.linalg.vector_norm(atoms, dim=1), atoms.new_full((n_components,), norm))
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(errors))
    assert errors[-1] < errors[0]


def test_in_blocks_of_one_atom_a_sweep_is_coordinate_descent(monkeypatch):
    """The best atom of a norm, all others held: the sum of codes times what they leave of the rows, scaled."""
    monkeypatch.setattr(module, "_BLOCK", 1)
    X, codes, atoms, gram, cross = problem(n_components=6)
    expected = atoms.clone()
    for j in range(6):
        others = [k for k in range(6) if k != j]
        left = codes[:, j] @ (X - codes[:, others] @ expected[others])
        expected[j] = left / torch.linalg.vector_norm(left)
        turned = torch.randn(500, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(j))
        for direction in turned / torch.linalg.vector_norm(turned, dim=1, keepdim=True):
            rival = expected.clone()
            rival[j] = direction
            assert squared_error(X, codes, rival) >= squared_error(X, codes, expected)
    atom_sweep_(atoms, gram, cross, 1.0)
    torch.testing.assert_close(atoms, expected)


def test_an_atom_without_codes_stays():
    X, codes, atoms, _, _ = problem()
    codes[:, 3] = 0
    before = atoms[3].clone()
    atom_sweep_(atoms, codes.T @ codes, codes.T @ X, 1.0)
    assert torch.equal(atoms[3], before)


@pytest.mark.parametrize("weight", [0.1, torch.tensor(30.0, dtype=torch.float64)])
def test_ridge_atoms_solve_the_stacked_least_squares_problem(weight):
    X, codes, atoms, gram, cross = problem()
    root = torch.sqrt(torch.as_tensor(weight, dtype=torch.float64))
    stacked = torch.cat([codes, root * torch.eye(20, dtype=torch.float64)])
    plain = torch.linalg.lstsq(stacked, torch.cat([X, torch.zeros(20, 7, dtype=torch.float64)])).solution
    held = torch.linalg.lstsq(stacked, torch.cat([X, root * atoms])).solution
    torch.testing.assert_close(ridge_atoms(gram, cross, weight), plain)
    torch.testing.assert_close(ridge_atoms(gram, cross, weight, atoms), held)


@pytest.mark.parametrize("held", [False, True])
def test_the_gradient_vanishes_at_ridge_atoms(held):
    X, codes, atoms, gram, cross = problem(signed=True)
    previous = atoms if held else None
    found = ridge_atoms(gram, cross, 2.0, previous).requires_grad_()
    away = found - atoms if held else found
    loss = (X - codes @ found).square().sum() + 2.0 * away.square().sum()
    (gradient,) = torch.autograd.grad(loss, found)
    assert float(gradient.abs().max()) < 1e-10


@pytest.mark.parametrize("weight", [1e-3, 1.0])
def test_ridge_atoms_of_dead_components_are_zero_or_stay(weight):
    X, codes, atoms, _, _ = problem()
    codes[:, 3] = 0
    gram, cross = codes.T @ codes, codes.T @ X
    assert ridge_atoms(gram, cross, weight)[3].abs().max() < 1e-12
    torch.testing.assert_close(ridge_atoms(gram, cross, weight, atoms)[3], atoms[3])


@pytest.mark.parametrize("norm", [None, 0.5, 2.0])
@pytest.mark.parametrize("positive", [False, True])
def test_no_allowed_atom_is_nearer_than_the_projection(norm, positive):
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    atoms[0] = -atoms[0].abs()  # nothing is left of it but its largest entry
    found = project_atoms(atoms, norm, positive=positive)
    rivals = torch.randn(20_000, 3, dtype=torch.float64, generator=generator)
    rivals = rivals.abs() if positive else rivals
    if norm is None:
        rivals = torch.cat([torch.zeros(1, 3), rivals])
    else:
        rivals *= norm / torch.linalg.vector_norm(rivals, dim=1, keepdim=True)
        torch.testing.assert_close(torch.linalg.vector_norm(found, dim=1), found.new_full((6,), norm))
    assert not positive or float(found.min()) >= 0
    nearest = torch.cdist(atoms, rivals).min(1).values
    assert bool((torch.linalg.vector_norm(found - atoms, dim=1) <= nearest + 1e-12).all())
    torch.testing.assert_close(project_atoms(found, norm, positive=positive), found)


def test_a_zero_atom_stays_zero():
    for positive in (False, True):
        assert torch.equal(project_atoms(torch.zeros(1, 3), 2.0, positive=positive), torch.zeros(1, 3))


@pytest.mark.parametrize("norm", [None, 0.5])
def test_a_non_negative_sweep_never_raises_the_error(norm):
    X, codes, atoms, gram, cross = problem(n_components=20)
    atoms = project_atoms(atoms, norm, positive=True)
    errors = [squared_error(X, codes, atoms)]
    for _ in range(5):
        atom_sweep_(atoms, gram, cross, norm, positive=True)
        assert float(atoms.min()) >= 0
        errors.append(squared_error(X, codes, atoms))
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(errors))
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("held", [False, True])
def test_non_negative_sweeps_end_at_non_negative_least_squares(held):
    """Feature by feature, scipy's active sets solve the stacked problem."""
    X, codes, atoms, gram, cross = problem(n_components=8)
    atoms = atoms.clamp_min(0)
    previous, weight = (atoms.clone() if held else None), 2.0
    stacked = torch.cat([codes, weight**0.5 * torch.eye(8, dtype=torch.float64)]).numpy()
    right = torch.cat([X, weight**0.5 * (torch.zeros_like(atoms) if previous is None else previous)]).numpy()
    expected = np.stack([nnls(stacked, column)[0] for column in right.T], axis=1)
    system = ridge_system(gram, cross, weight, previous)
    for _ in range(500):
        atom_sweep_(atoms, *system, positive=True)
    np.testing.assert_allclose(atoms.numpy(), expected, atol=1e-9)
