"""Pure functions against numpy, torch and loops."""

import pytest
import torch

from skvardict.functional import (
    affine,
    batch_moments,
    count_active,
    hinge_constants,
    hinge_pull,
    hinge_pull_of,
    mean_and_std,
    merged_moments,
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_schatten_bound_is_the_norm_of_its_definition_at_every_size_and_scale(dtype):
    """Also where the spectrum is flat, whose 32nd powers single precision cannot hold."""
    for size, scale in ((3, 1e-12), (40, 1.0), (1500, 1e10)):
        rows = torch.randn(size, 2 * size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
        matrix = scale * (rows @ rows.mT / size + torch.eye(size))
        expected = torch.linalg.eigvalsh(matrix).log().mul(32).logsumexp(0).div(32).exp()
        rtol = 1e-5 if dtype == torch.float32 else 1e-12  # sums of 1,500 products
        torch.testing.assert_close(schatten_bound(matrix.to(dtype)).double(), expected, rtol=rtol, atol=0)


def test_moments_of_the_rows_that_are_left_add_to_those_that_have_ended():
    codes = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    origin = codes.mean(-2, keepdim=True)
    ended, ones = batch_moments(codes[:, :11], origin), torch.ones(1, 19, dtype=torch.float64)
    for one, other in zip(merged_moments(codes[:, 11:], origin, ended, ones), batch_moments(codes, origin)):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


def test_active_rows_are_counted_per_component():
    codes = torch.tensor([[0.0, -2.0, 1e-30], [0.0, 0.0, 3.0], [-0.0, 5.0, 1.0]])
    assert count_active(codes).tolist() == [0, 2, 3]
    assert not count_active(codes).is_floating_point()


@pytest.mark.parametrize("leading", [(), (3,)])
def test_affine_weighs_offset_and_product(leading):
    generator = torch.Generator().manual_seed(0)
    shapes = (4, 6), (4, 5), (5, 6)
    offset, points, matrix = (torch.rand(*leading, *shape, generator=generator) for shape in shapes)
    made = affine(offset, points, matrix, offset_weight=0.3, weight=-2.0)
    torch.testing.assert_close(made, 0.3 * offset - 2 * (points @ matrix))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_hinge_does_not_pull_constant_components_wherever_moments_are_measured_from(dtype):
    """Their scatter is rounding noise of either sign, which an inverse root would make into a large pull."""
    codes = torch.linspace(0.01, 3.7, 500, dtype=dtype).expand(250, 500)
    for origin in (0.0, 0.123, -5.0):
        start = torch.full((1, 500), origin, dtype=dtype)
        pull, _ = hinge_pull(batch_moments(codes, start), start, hinge_constants(250, 0.5, 10.0, codes))
        assert not pull.any()
    pull, _ = hinge_pull_of(codes, hinge_constants(250, 0.5, 10.0, codes))
    assert not pull.any()
    noisy = codes * (1 + torch.finfo(dtype).eps * torch.randint(-1, 2, codes.shape, generator=torch.Generator()))
    pull, _ = hinge_pull_of(noisy, hinge_constants(250, 0.5, 10.0, codes))
    assert not pull.any()


@pytest.mark.parametrize("n_rows", [1, 2, 250])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_the_pull_of_a_whole_batch_is_that_of_its_moments(n_rows, scale):
    codes = scale * torch.randn(3, n_rows, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    codes[:, :, 0] = 0.5
    origin = codes.mean(-2, keepdim=True)
    constants = hinge_constants(n_rows, 0.5, 10.0, codes)
    expected = hinge_pull(batch_moments(codes, origin), origin, constants)
    for made, value in zip(hinge_pull_of(codes, constants), expected, strict=True):
        torch.testing.assert_close(made, value, rtol=1e-9, atol=1e-12)
