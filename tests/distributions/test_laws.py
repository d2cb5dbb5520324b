"""Densities, draws, entropies, tails and quantiles of every law against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvardict._utils.random import make_generator
from skvardict.distributions import PRIORS, Cauchy, Gamma, Gaussian, Laplace, SpikeAndSlab, StudentT, Thresholdable


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


# Every law, with numbers as parameters, and the same of scipy.
LAWS = [
    (Laplace(0.3, 0.7), stats.laplace(0.3, 0.7)),
    (Gaussian(0.3, 0.7), stats.norm(0.3, 0.7)),
    (Cauchy(0.3, 0.7), stats.cauchy(0.3, 0.7)),
    (StudentT(0.3, 0.7), stats.t(3.0, 0.3, 0.7)),
    (StudentT(0.3, 0.7, df=0.8), stats.t(0.8, 0.3, 0.7)),
    (StudentT(-2.0, 1.5, df=30.0), stats.t(30.0, -2.0, 1.5)),
    (Gamma(0.7, 2.0), stats.gamma(0.7, scale=1 / 2.0)),
    (Gamma(3.0, 12.0), stats.gamma(3.0, scale=1 / 12.0)),
]
SYMMETRIC = [pair for pair in LAWS if not isinstance(pair[0], Gamma)]


def name(value):
    return repr(value) if isinstance(value, (Gamma, *PRIORS.values())) else ""


def draws_of(law, n_draws=20_000, seed=0):
    like = tensor(0.0)
    return law.like(like).sample(law.draw_noise((n_draws,), make_generator(seed), like))


def test_the_list_has_every_prior():
    assert set(PRIORS.values()) <= {type(law) for law, _ in LAWS}


@pytest.mark.parametrize(("law", "reference"), LAWS, ids=name)
def test_log_density_is_scipys(law, reference):
    value = reference.ppf(np.linspace(0.001, 0.999, 41))
    np.testing.assert_allclose(law.log_prob(tensor(value)), reference.logpdf(value), rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(law.like(tensor(0.0)).log_prob(tensor(value)), law.log_prob(tensor(value)))


@pytest.mark.parametrize(("law", "reference"), LAWS, ids=name)
def test_draws_follow_the_law(law, reference):
    draws = draws_of(law).numpy()
    assert stats.kstest(draws, reference.cdf).pvalue > 1e-3
    assert stats.kstest(1.1 * draws, reference.cdf).pvalue < 1e-3  # the test can fail


@pytest.mark.parametrize(("law", "reference"), SYMMETRIC, ids=name)
def test_entropy_is_scipys(law, reference):
    np.testing.assert_allclose(float(law.like(tensor(0.0)).entropy()), reference.entropy(), rtol=1e-6)
    assert law.median == pytest.approx(reference.median(), rel=1e-15)


@pytest.mark.parametrize(("law", "reference"), [pair for pair in LAWS if isinstance(pair[0], Thresholdable)], ids=name)
def test_tail_quantile_and_mean_deviation_are_scipys(law, reference):
    distance = np.linspace(0, 5, 26)
    np.testing.assert_allclose(law.tail(tensor(distance)), 2 * reference.sf(law.loc + distance), rtol=1e-6)
    probability = np.array([0.01, 0.05, 0.3, 0.5, 0.8])
    quantile = law.upper_quantile(tensor(probability))
    np.testing.assert_allclose(law.loc + quantile, reference.isf(probability), atol=1e-10)
    np.testing.assert_allclose(law.mean_absolute, reference.expect(lambda s: abs(s - law.loc)), rtol=1e-6)


@pytest.mark.parametrize(("law", "reference"), LAWS, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_become_tensors_of_the_kind_that_is_asked_for(law, reference, dtype):
    like = torch.zeros(3, dtype=dtype)
    as_tensors = law.like(like)
    assert law.shape == as_tensors.shape == ()
    assert type(as_tensors) is type(law)
    noise = law.draw_noise((2, 3), make_generator(0), like)
    assert noise.dtype == as_tensors.sample(noise).dtype == law.log_prob(noise).dtype == dtype
    assert noise.shape == (2, 3)


def test_a_student_t_law_of_one_degree_of_freedom_is_a_cauchy_law():
    value = torch.linspace(-4, 4, 9, dtype=torch.float64)
    np.testing.assert_allclose(StudentT(0.3, 0.7, df=1.0).log_prob(value), Cauchy(0.3, 0.7).log_prob(value))


def test_impossible_degrees_of_freedom_are_refused():
    with pytest.raises(ValueError, match="StudentT expects df > 0, but got -1"):
        StudentT(df=-1)


def test_single_precision_draws_are_finite():
    noise = Laplace().draw_noise((2_000_000,), make_generator(0), torch.zeros(()))
    assert noise.isfinite().all()
    assert noise.abs().max() > 10


def test_gradient_of_a_gamma_draw_is_that_of_the_quantile():
    shape = torch.tensor([0.8, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor([2.0, 12.0, 5.0], dtype=torch.float64, requires_grad=True)
    law = Gamma(shape, rate)
    noise = law.draw_noise((3,), make_generator(1), shape.detach())
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
        slab = self.law.slab.draw_noise((n, 3), generator, tensor(0.0))
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
