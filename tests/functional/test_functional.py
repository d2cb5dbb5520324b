"""Pure functions against numpy, torch and loops."""

import pytest
import torch

from skvardict.functional import (
    batch_moments,
    mean_and_std,
    power_iteration,
    schatten_bound,
    soft_threshold,
    spectral_norm_squared,
)


def _rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 2, 5, 9)])
def test_spectral_norm_equals_the_largest_singular_value(shape):
    rows = _rand(*shape)
    torch.testing.assert_close(spectral_norm_squared(rows), torch.linalg.matrix_norm(rows, 2) ** 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_schatten_bound_lies_above_the_top_eigenvalue_and_close_to_it(dtype, scale):
    rows = _rand(4, 40, 60, dtype=dtype) * scale**0.5
    matrix = rows @ rows.mT
    top, bound = torch.linalg.eigvalsh(matrix)[:, -1], schatten_bound(matrix)
    assert (bound >= top * (1 - 1e-5)).all()
    assert (bound <= top * 40 ** (1 / 32) * (1 + 1e-5)).all()


def test_schatten_bound_of_a_zero_matrix_is_zero_and_of_the_identity_within_its_factor():
    assert schatten_bound(torch.zeros(4, 4)) == 0
    assert 1 <= float(schatten_bound(torch.eye(128))) <= 128 ** (1 / 32) + 1e-5


def test_power_iteration_finds_the_top_eigenvalue():
    rows = _rand(20, 30)
    matrix = rows @ rows.T
    value, vector = power_iteration(lambda v: matrix @ v, torch.ones(20, dtype=torch.float64), 500)
    torch.testing.assert_close(value, torch.linalg.eigvalsh(matrix)[-1], rtol=1e-6, atol=0)
    torch.testing.assert_close(matrix @ vector, value * vector, rtol=1e-3, atol=1e-3)


def test_power_iteration_of_a_zero_operator_is_zero():
    value, _ = power_iteration(torch.zeros_like, torch.ones(3), 3)
    assert value == 0


def test_std_equals_torch_and_survives_a_large_offset_in_single_precision():
    codes = _rand(200, 7)
    torch.testing.assert_close(mean_and_std(codes)[1].squeeze(0), codes.std(0))
    shifted = (codes + 1000).float()
    torch.testing.assert_close(mean_and_std(shifted)[1].squeeze(0).double(), codes.std(0), rtol=1e-3, atol=0)


def test_a_constant_component_has_exactly_no_deviation():
    codes = torch.full((50, 3), 0.1)
    assert (mean_and_std(codes)[1] == 0).all()
    assert (mean_and_std(codes[:1])[1] == 0).all()


def test_moments_of_two_groups_merge_to_those_of_the_union():
    codes, reference = _rand(30, 4), _rand(1, 4, seed=1)
    merged = batch_moments(codes[:11], reference).merge(batch_moments(codes[11:], reference))
    whole = batch_moments(codes, reference)
    assert merged.n_rows == whole.n_rows
    torch.testing.assert_close(merged.total, whole.total)
    torch.testing.assert_close(merged.total_sq, whole.total_sq)


@pytest.mark.parametrize("positive", [True, False])
def test_soft_threshold_minimises_its_objective(positive):
    points = _rand(1000)
    z = soft_threshold(points, 0.3, positive=positive)

    def objective(candidate):
        return (candidate - points) ** 2 / 2 + 0.3 * candidate.abs()

    for step in (1e-4, -1e-4):
        moved = (z + step).clamp_min(0) if positive else z + step
        assert (objective(z) <= objective(moved) + 1e-12).all()
