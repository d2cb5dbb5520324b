"""Gamma draws and their derivatives against scipy, at shapes far below and far above one."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from skvardict._utils.random import make_generator
from skvardict.distributions import Gamma, kl_divergence

SHAPES = [0.05, 0.2, 0.7, 0.999, 1.0, 1.3, 3.0, 10.0, 50.0]
N_DRAWS = 100_000


def draws_at(shapes, n_draws=N_DRAWS, dtype=torch.float64, seed=0):
    shape = torch.tensor(shapes, dtype=dtype)
    return Gamma(shape, 1.0).draw_noise((n_draws, *shape.shape), make_generator(seed), shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_draws_follow_the_law(dtype):
    draws = draws_at(SHAPES, dtype=dtype).double().numpy()
    for shape, column in zip(SHAPES, draws.T, strict=True):
        # Draws below the smallest number of the precision are raised to it: the law is that of max(s, tiny).
        tiny = float(torch.finfo(dtype).tiny)
        above = column[column > tiny]
        p_tiny = stats.gamma.cdf(tiny, shape)
        # The 1e-99: scipy's binomial probabilities overflow below it.
        assert stats.binomtest(len(column) - len(above), len(column), max(p_tiny, 1e-99)).pvalue > 1e-3, shape
        level = (stats.gamma.cdf(above, shape) - p_tiny) / (1 - p_tiny)
        assert stats.kstest(level, "uniform").pvalue > 1e-3, shape
        # The test can fail: a shape that is off by 5 % is seen.
        assert stats.kstest(above, stats.gamma(1.05 * shape).cdf).pvalue < 1e-3, shape


@pytest.mark.parametrize("shape", [0.3, 0.95, 1.0, 3.0])
def test_tails_are_as_heavy_as_the_laws(shape):
    draws = draws_at([shape], 2_000_000)[:, 0].numpy()
    for p in (1e-4, 1e-2, 0.99, 0.9999):
        n_below = int((draws < stats.gamma.ppf(p, shape)).sum())
        assert stats.binomtest(n_below, len(draws), p).pvalue > 1e-3, p


def test_moments_are_the_laws():
    draws = draws_at(SHAPES)
    shape = torch.tensor(SHAPES, dtype=torch.float64)
    law = stats.gamma(shape.numpy())
    # Four standard errors each: of the mean, of the mean logarithm, of the variance (fourth moment 3 a^2 + 6 a).
    assert ((draws.mean(0) - shape).abs() < 4 * (shape / N_DRAWS).sqrt()).all()
    log_error = 4 * np.sqrt(special.polygamma(1, shape.numpy()) / N_DRAWS)
    large = shape.numpy() > 0.1  # where no draw is raised to the smallest number
    assert (np.abs(draws.log().mean(0).numpy() - special.digamma(shape.numpy())) < log_error)[large].all()
    assert ((draws.var(0) - torch.as_tensor(law.var())).abs() < 4 * ((2 * shape**2 + 6 * shape) / N_DRAWS).sqrt()).all()


@pytest.mark.parametrize("shape", [1e4, 1e6])
def test_single_precision_draws_at_large_shapes_follow_the_law(shape):
    draws = draws_at([shape], dtype=torch.float32)[:, 0].double().numpy()
    assert stats.kstest(draws, stats.gamma(shape).cdf).pvalue > 1e-3


def test_draws_are_positive_and_finite_at_every_shape():
    for dtype in (torch.float32, torch.float64):
        draws = draws_at([1e-6, 1e-3, 0.5, 1.0, 1e6], 20_000, dtype)
        assert draws.isfinite().all()
        assert (draws > 0).all()


def test_draws_are_independent_of_each_other_and_of_their_place():
    draws = draws_at([0.5, 0.5, 2.0, 2.0], 50_000)
    levels = stats.gamma.cdf(draws.numpy(), [0.5, 0.5, 2.0, 2.0])
    ranks = np.concatenate([levels, np.roll(levels, 1, axis=0)], axis=1)
    off_diagonal = np.corrcoef(ranks.T)[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(50_000)


def test_the_generator_decides_every_draw():
    once, again, other = (draws_at(SHAPES, 1_000, torch.float32, seed) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    state = torch.get_rng_state()
    draws_at(SHAPES, 100)
    assert torch.equal(state, torch.get_rng_state())


def test_draws_have_the_layout_of_the_parameters():
    shape = torch.rand(4, 6, generator=make_generator(0)).add(0.5).chunk(2, -1)[1].T  # not contiguous
    draws = Gamma(shape, torch.ones(())).draw_noise((40_000, *shape.shape), make_generator(1), shape)
    assert draws.shape == (40_000, *shape.shape)
    # Every column has its own mean: also the redrawn entries used the shape of their own place.
    assert ((draws.mean(0) - shape).abs() < 4.5 * (shape / 40_000).sqrt()).all()


def test_a_gradient_is_that_of_the_quantile_function():
    shapes = np.repeat([0.05, 0.3, 0.8, 1.0, 3.0, 9.0, 20.0, 50.0], 5)
    level = np.tile([0.02, 0.2, 0.5, 0.8, 0.98], 8)
    noise = special.gammaincinv(shapes, level)
    kept = noise > 1e-30  # below, the quantile itself is at the edge of double precision
    shape, rate = torch.tensor(shapes[kept]).requires_grad_(), torch.tensor(4.0).double().requires_grad_()
    Gamma(shape, rate).sample(torch.tensor(noise[kept])).sum().backward()
    # Four-point central differences: an error of order step^4.
    step = 1e-3 * shapes
    ahead = [special.gammaincinv(shapes + k * step, level) for k in (-2, -1, 1, 2)]
    derivative = (ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * step)
    # The derivative is torch's own approximation: it is off by 1.9e-4 at a shape of 9, by 8e-5 or less at the others.
    np.testing.assert_allclose(shape.grad, derivative[kept] / 4, rtol=2.5e-4)
    np.testing.assert_allclose(rate.grad, -(noise[kept] / 16).sum(), rtol=1e-12)


def test_the_gradient_of_a_mean_is_the_derivative_of_the_mean():
    shape = torch.full((N_DRAWS,), 2.5, dtype=torch.float64, requires_grad=True)
    rate = torch.full((N_DRAWS,), 4.0, dtype=torch.float64, requires_grad=True)
    law = Gamma(shape, rate)
    law.sample(law.draw_noise((N_DRAWS,), make_generator(0), shape.detach())).square().sum().backward()
    # E s^2 = a (a + 1) / r^2.
    for gradient, expected in ((shape.grad, (2 * 2.5 + 1) / 16), (rate.grad, -2 * 2.5 * 3.5 / 64)):
        assert abs(float(gradient.mean()) - expected) < 4 * float(gradient.std()) / N_DRAWS**0.5


def test_divergence_and_its_gradients_are_torchs():
    generator = make_generator(0)
    parameters = [torch.rand(50, generator=generator, dtype=torch.float64).mul_(5).add_(0.05) for _ in range(4)]
    ours, theirs = ([p.clone().requires_grad_() for p in parameters] for _ in range(2))
    value = kl_divergence(Gamma(*ours[:2]), Gamma(*ours[2:]))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Gamma(*theirs[:2]), torch.distributions.Gamma(*theirs[2:])
    )
    np.testing.assert_allclose(value.detach(), expected.detach(), rtol=1e-9, atol=1e-9)
    value.sum().backward()
    expected.sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.grad, their.grad, rtol=1e-8, atol=1e-8)
