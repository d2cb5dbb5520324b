"""Densities, draws and tails of every law against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvardict._utils.random import make_generator
from skvardict.distributions import Cauchy, Gamma, Gaussian, Laplace, SpikeAndSlab

LAWS = {Laplace: stats.laplace, Gaussian: stats.norm, Cauchy: stats.cauchy}


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


@pytest.fixture(params=list(LAWS), ids=lambda law: law.__name__)
def law(request):
    return request.param


def test_log_density_is_scipys(law):
    value = np.linspace(-4, 4, 41)
    ours = law(tensor(0.3), tensor(0.7)).log_prob(tensor(value))
    np.testing.assert_allclose(ours, LAWS[law](0.3, 0.7).logpdf(value), rtol=1e-10)


def test_draws_follow_the_law(law):
    noise = law.draw_noise((20_000,), make_generator(0), tensor(0.0))
    draws = law(tensor(0.3), tensor(0.7)).sample(noise)
    assert stats.kstest(draws.numpy(), LAWS[law](0.3, 0.7).cdf).pvalue > 1e-3
    wrong = stats.kstest(draws.numpy(), LAWS[law](0.3, 0.75).cdf)
    assert wrong.pvalue < 1e-3  # the test can fail


def test_tail_and_quantile_are_scipys(law):
    distance = np.linspace(0, 5, 26)
    np.testing.assert_allclose(law.tail(tensor(distance)), 2 * LAWS[law].sf(distance), rtol=1e-6)
    probability = np.array([0.01, 0.05, 0.3, 0.5, 0.8])
    np.testing.assert_allclose(law.upper_quantile(tensor(probability)), LAWS[law].isf(probability), atol=1e-10)


def test_single_precision_draws_are_finite():
    noise = Laplace.draw_noise((2_000_000,), make_generator(0), torch.zeros(()))
    assert noise.isfinite().all()
    assert noise.abs().max() > 10


def test_gamma_density_and_draws_are_scipys():
    law = Gamma(tensor([0.7, 3.0]), tensor([2.0, 12.0]))
    value = tensor([[0.05, 0.05], [0.6, 0.6]])
    reference = stats.gamma(law.shape.numpy(), scale=1 / law.rate.numpy())
    np.testing.assert_allclose(law.log_prob(value), reference.logpdf(value.numpy()), rtol=1e-10)
    draws = law.sample(law.draw_noise(20_000, make_generator(0)))
    for column in range(2):
        cdf = stats.gamma(float(law.shape[column]), scale=1 / float(law.rate[column])).cdf
        assert stats.kstest(draws[:, column].numpy(), cdf).pvalue > 1e-3


def test_gradient_of_a_gamma_draw_is_that_of_the_quantile():
    shape = torch.tensor([0.8, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([2.0, 12.0, 5.0], dtype=torch.float64, requires_grad=True)
    law = Gamma(shape, rate)
    noise = law.draw_noise(1, make_generator(1))[0]
    law.sample(noise).sum().backward()
    # At a fixed probability level, by central differences of scipy's quantile function.
    level = stats.gamma.cdf(noise.numpy(), shape.detach().numpy())
    step = 1e-5
    up, down = (stats.gamma.ppf(level, shape.detach().numpy() + sign * step) for sign in (1, -1))
    np.testing.assert_allclose(shape.grad, (up - down) / (2 * step) / rate.detach().numpy(), rtol=1e-4)
    np.testing.assert_allclose(rate.grad, -(noise / rate.detach() ** 2), rtol=1e-10)


class TestSpikeAndSlab:
    law = SpikeAndSlab(Gaussian(tensor([0.5, -2.0, 0.1]), tensor([1.0, 0.3, 2.0])), tensor([0.0, 2.0, -2.0]))

    def draws(self, n=200_000):
        generator = make_generator(3)
        gate = self.law.draw_gate_noise((n, 3), generator, tensor(0.0))
        slab = Gaussian.draw_noise((n, 3), generator, tensor(0.0))
        return self.law.gate(gate, 0.5) * self.law.slab.sample(slab)

    def test_share_mean_and_median_are_those_of_draws(self):
        draws = self.draws()
        # Standard errors at 200,000 draws: .0011 for shares, .005 for means; medians a little more.
        np.testing.assert_allclose((draws != 0).double().mean(0), self.law.activation_probability, atol=5e-3)
        np.testing.assert_allclose(draws.mean(0), self.law.mean, atol=1.5e-2)
        np.testing.assert_allclose(draws.median(0).values, self.law.median, atol=1.5e-2)
        assert self.law.median[0] == 0
        assert self.law.median[1] < -1.5

    def test_gate_has_the_gradient_of_the_concrete_variable(self):
        logit = tensor([-0.4, 0.3]).requires_grad_()
        noise, temperature = tensor([0.9, -1.1]), 0.6
        SpikeAndSlab(Gaussian(logit, logit), logit).gate(noise, temperature).sum().backward()
        relaxed = logit.detach().requires_grad_()
        torch.sigmoid((relaxed + noise) / temperature).sum().backward()
        np.testing.assert_allclose(logit.grad, relaxed.grad)

    def test_log_probability_is_that_of_the_mixture(self):
        on = torch.sigmoid(self.law.logit)
        np.testing.assert_allclose(self.law.log_prob(torch.zeros(3, dtype=torch.float64)), (1 - on).log())
        value = tensor([1.0, -1.5, 3.0])
        slab = stats.norm(self.law.slab.loc.numpy(), self.law.slab.scale.numpy())
        np.testing.assert_allclose(self.law.log_prob(value), np.log(on.numpy() * slab.pdf(value.numpy())))
