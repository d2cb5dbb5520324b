"""The shifted soft threshold: proposition 3.1, gradients, shares, medians."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skvardict._utils.random import make_generator
from skvardict.distributions import (
    Cauchy,
    Gamma,
    Gaussian,
    Laplace,
    Thresholded,
    gamma_threshold_for,
    shifted_soft_threshold,
    threshold_for,
)

BASES = [Laplace, Gaussian]


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def draw(base, loc, scale, threshold, n):
    noise = base().draw_noise((n,), make_generator(0), tensor(0.0))
    return shifted_soft_threshold(scale * noise, tensor(loc), tensor(threshold), straight_through=True)


def share_on(base, scale, threshold):
    return float(Thresholded(base(scale=scale), threshold).like(tensor(0.0)).activation_probability)


@pytest.mark.parametrize("loc", [0.0, 0.35])
def test_thresholded_laplace_is_spike_and_slab(loc):
    """Proposition 3.1 of Fallah & Rozell: zero with probability 1 - exp(-threshold / b), else Laplace(loc, b)."""
    scale, threshold, n = 0.1, 0.1, 50_000
    codes = draw(Laplace, loc, scale, threshold, n).numpy()
    n_on = int((codes != 0).sum())
    assert stats.binomtest(n_on, n, np.exp(-threshold / scale)).pvalue > 1e-3
    slab = codes[codes != 0]
    assert stats.kstest(slab, stats.laplace(loc, scale).cdf).pvalue > 1e-3
    spike_and_slab = np.random.default_rng(0).laplace(loc, scale, n)
    spike_and_slab *= np.random.default_rng(1).random(n) < np.exp(-threshold / scale)
    assert stats.ks_2samp(codes, spike_and_slab).pvalue > 1e-3
    assert stats.kstest(slab, stats.laplace(loc, scale * 1.1).cdf).pvalue < 1e-3  # the test can fail


def test_thresholded_gaussian_is_not_a_gaussian_slab():
    codes = draw(Gaussian, 0.0, 1.0, 1.0, 50_000).numpy()
    slab = codes[codes != 0]
    assert stats.kstest(slab, stats.norm(0, slab.std()).cdf).pvalue < 1e-3


def test_values_follow_equation_two():
    rng = np.random.default_rng(0)
    s, loc, threshold = rng.standard_normal((3, 200))
    threshold = np.abs(threshold)
    expected = np.sign(s - loc) * np.maximum(np.abs(s - loc) - threshold, 0) + (np.abs(s - loc) > threshold) * loc
    ours = shifted_soft_threshold(tensor(s - loc), tensor(loc), tensor(threshold), straight_through=True)
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert ((ours == 0) == (np.abs(s - loc) <= threshold)).all()


def gradients(function):
    generator = make_generator(1)
    loc, log_scale = (torch.randn(50, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    threshold = torch.full((50,), 0.7, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(50, generator=generator, dtype=torch.float64)
    weights = torch.randn(50, generator=generator, dtype=torch.float64)
    (function(log_scale.exp() * noise, loc, threshold) * weights).sum().backward()
    return loc.grad, log_scale.grad, threshold.grad


def test_subgradient_is_that_of_autograd():
    def plain(deviation, loc, threshold):
        shrunk = deviation.sign() * (deviation.abs() - threshold).clamp_min(0)
        return torch.where(shrunk != 0, shrunk + loc, 0.0)

    def ours(deviation, loc, threshold):
        return shifted_soft_threshold(deviation, loc, threshold, straight_through=False)

    for mine, theirs in zip(gradients(ours), gradients(plain)):
        np.testing.assert_allclose(mine, theirs)


def test_straight_through_gradient_is_that_of_equation_four():
    def equation_four(deviation, loc, threshold):
        s = loc + deviation
        fixed, centre = s.detach(), loc.detach()
        active = (fixed - centre).abs() > threshold
        soft = torch.where(active, fixed - (fixed - centre).sign() * threshold, 0.0)
        return s + soft - fixed

    def ours(deviation, loc, threshold):
        return shifted_soft_threshold(deviation, loc, threshold, straight_through=True)

    for mine, theirs in zip(gradients(ours), gradients(equation_four)):
        np.testing.assert_allclose(mine, theirs)


def test_gradients_have_the_shapes_of_what_was_broadcast():
    loc = torch.zeros(4, requires_grad=True)
    threshold = torch.tensor(0.5, requires_grad=True)
    deviation = torch.linspace(-1, 1, 12).reshape(3, 4)
    shifted_soft_threshold(deviation, loc, threshold, straight_through=False).sum().backward()
    assert loc.grad.shape == (4,)
    assert threshold.grad.shape == ()


@pytest.mark.parametrize("base", BASES, ids=lambda law: law.__name__)
@pytest.mark.parametrize("probability", [0.02, 0.1, 0.5])
def test_threshold_gives_the_share_of_draws_that_is_asked_for(base, probability):
    threshold = threshold_for(base(scale=0.3), probability)
    share = float((draw(base, 0.0, 0.3, threshold, 400_000) != 0).double().mean())
    assert abs(share - probability) < 4e-3  # five standard errors at 1/2


def test_published_thresholds():
    assert threshold_for(Laplace(scale=0.1), 0.1) == pytest.approx(0.2303, abs=1e-4)
    assert threshold_for(Gaussian(scale=0.1**0.5), 0.1) == pytest.approx(0.52, abs=1e-3)
    assert float(Laplace().tail(tensor(2.5))) == pytest.approx(0.082, abs=1e-3)
    shares = [
        share_on(base, scale, Gamma(3.0, 3.0 / mean))
        for base, scale, mean in ((Laplace, 0.1, 0.25), (Gaussian, 0.1**0.5, 0.52))
    ]
    assert shares == pytest.approx([0.162, 0.214], abs=1e-3)
    assert gamma_threshold_for(Laplace(scale=0.1), 0.1) == pytest.approx(0.346, abs=1e-3)


@pytest.mark.parametrize("base", BASES, ids=lambda law: law.__name__)
@pytest.mark.parametrize(("shape", "rate", "scale"), [(3.0, 9.0, 0.3), (0.4, 2.0, 0.1), (30.0, 40.0, 1.0)])
def test_share_under_a_gamma_threshold_is_the_integral(base, shape, rate, scale):
    def integrand(threshold):
        density = stats.gamma(shape, scale=1 / rate).pdf(threshold)
        return density * float(base(scale=scale).tail(tensor(threshold)))

    expected = sum(integrate.quad(integrand, *bounds, limit=200)[0] for bounds in ((0, 1e-3), (1e-3, 1), (1, 60)))
    np.testing.assert_allclose(share_on(base, scale, Gamma(shape, rate)), expected, rtol=2e-5)


@pytest.mark.parametrize("base", BASES, ids=lambda law: law.__name__)
def test_mean_and_median_are_those_of_draws(base):
    loc = tensor([0.0, 0.05, 0.6, -0.6, 2.0])
    threshold = tensor([0.1, 0.1, 0.1, 0.1, 0.6])
    scale = tensor([0.3, 0.3, 0.3, 0.3, 0.5])
    noise = base().draw_noise((200_000, 5), make_generator(2), loc)
    codes = shifted_soft_threshold(scale * noise, loc, threshold, straight_through=True)
    law = Thresholded(base(loc, scale), threshold)
    np.testing.assert_allclose(codes.mean(0), law.mean, atol=8e-3)  # five standard errors
    np.testing.assert_allclose(codes.median(0).values, law.median, atol=8e-3)
    assert law.median[0] == 0
    assert law.median[2] > 0.1 > -0.1 > law.median[3]
    assert law.median[4] == 0  # fewer than half are on


def test_median_without_a_threshold_is_the_mean():
    base = Gaussian(tensor([0.4, -1.0]), tensor([0.3, 2.0]))
    np.testing.assert_allclose(Thresholded(base, tensor(0.0)).median, base.loc, atol=1e-6)


@pytest.mark.parametrize("function", [threshold_for, gamma_threshold_for])
@pytest.mark.parametrize(("scale", "probability"), [(0.1, 0.0), (0.1, 1.0), (0.1, 1.5), (0.1, np.nan), (0.0, 0.1)])
def test_thresholds_of_impossible_probabilities_or_scales_are_refused(function, scale, probability):
    with pytest.raises(ValueError, match=f"{function.__name__} expects a p"):
        function(Laplace(scale=scale), probability)


@pytest.mark.parametrize("base", BASES, ids=lambda law: law.__name__)
@pytest.mark.parametrize("probability", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("concentration", [0.7, 3.0])
def test_gamma_threshold_gives_the_share_that_is_asked_for(base, probability, concentration):
    mean = gamma_threshold_for(base(scale=0.3), probability, concentration)
    assert share_on(base, 0.3, Gamma(concentration, concentration / mean)) == pytest.approx(probability, rel=1e-9)


@pytest.mark.parametrize("function", [threshold_for, gamma_threshold_for, Thresholded])
def test_laws_that_cannot_be_thresholded_are_refused(function):
    with pytest.raises(TypeError, match=r"expects a law that can be thresholded .* but got Cauchy"):
        function(Cauchy(scale=0.1), 0.1)
