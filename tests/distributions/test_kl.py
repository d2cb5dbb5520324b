"""Divergences against quadrature, Monte Carlo and torch.distributions."""

import numpy as np
import pytest
import torch
from scipy import integrate

from skvardict._utils.random import make_generator
from skvardict.distributions import (
    Cauchy,
    Gamma,
    Gaussian,
    Laplace,
    SpikeAndSlab,
    StudentT,
    has_closed_form,
    kl_divergence,
)


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def by_quadrature(posterior, prior):
    def integrand(value):
        log_q = posterior.log_prob(tensor(value))
        return float(log_q.exp() * (log_q - prior.log_prob(tensor(value))))

    loc, scale = float(posterior.loc), float(posterior.scale)
    points = sorted({loc, float(prior.loc)})
    return integrate.quad(integrand, loc - 40 * scale, loc + 40 * scale, points=points, limit=400)[0]


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 0.1), (0.03, 0.05), (-0.4, 0.2), (2.0, 1.5)])
@pytest.mark.parametrize(
    ("posterior", "prior"),
    [(Laplace, Laplace), (Gaussian, Gaussian), (Gaussian, Laplace)],
    ids=lambda law: law.__name__,
)
@pytest.mark.parametrize("prior_loc", [0.0, 0.25])
def test_closed_form_is_the_integral(posterior, prior, loc, scale, prior_loc):
    q, p = posterior(tensor(loc), tensor(scale)), prior(tensor(prior_loc), tensor(0.1))
    np.testing.assert_allclose(float(kl_divergence(q, p)), by_quadrature(q, p), rtol=1e-6, atol=1e-8)


PAIRS_WITHOUT = [
    (Gaussian(0.3, 0.2), Cauchy(0.0, 0.1)),
    (Gaussian(0.3, 0.2), StudentT(0.0, 0.1)),
    (Gaussian(0.3, 0.2), StudentT(0.0, 0.1, df=10.0)),
    (Laplace(-0.1, 0.2), Gaussian(0.0, 0.3)),
    (StudentT(0.3, 0.2), Laplace(0.0, 0.1)),
]


@pytest.mark.parametrize(("posterior", "prior"), PAIRS_WITHOUT, ids=repr)
def test_an_estimate_at_draws_averages_to_the_integral(posterior, prior):
    q, p = posterior.like(tensor(0.0)), prior.like(tensor(0.0))
    assert not has_closed_form(type(q), type(p))
    sample = q.sample(q.draw_noise((100_000,), make_generator(0), tensor(0.0)))
    estimates = kl_divergence(q, p, sample)
    error = float(estimates.std()) / len(sample) ** 0.5
    assert abs(float(estimates.mean()) - by_quadrature(q, p)) < 4 * error + 2e-4  # the integral's own, of heavy tails


def test_gamma_divergence_is_its_monte_carlo_mean():
    q, p = Gamma(tensor(2.0), tensor(9.0)), Gamma(tensor(3.0), tensor(12.0))
    draws = q.sample(q.draw_noise((200_000,), make_generator(0), tensor(0.0)))
    estimates = q.log_prob(draws) - p.log_prob(draws)
    error = float(estimates.std()) / len(draws) ** 0.5
    assert abs(float(estimates.mean()) - float(kl_divergence(q, p))) < 4 * error


def test_spike_and_slab_divergence_is_its_monte_carlo_mean():
    q = SpikeAndSlab(Gaussian(tensor(0.6), tensor(0.3)), tensor(0.4))
    p = SpikeAndSlab(Gaussian(tensor(0.2), tensor(0.5)), tensor(-2.2))
    generator, shape = make_generator(0), (200_000,)
    gate = q.draw_gate_noise(shape, generator, tensor(0.0))
    draws = q.gate(gate, 1.0) * q.slab.sample(q.slab.draw_noise(shape, generator, tensor(0.0)))
    estimates = q.log_prob(draws) - p.log_prob(draws)
    error = float(estimates.std()) / len(draws) ** 0.5
    assert abs(float(estimates.mean()) - float(kl_divergence(q, p))) < 4 * error


def test_divergence_of_a_law_from_itself_is_zero():
    like = tensor([0.0, 0.0])
    laws = [Laplace(like, like + 0.1), Gaussian(like, like + 0.3), Gamma(like + 3, like + 12)]
    laws.append(SpikeAndSlab(Gaussian(like, like + 0.3), like - 2))
    for law in laws:
        np.testing.assert_allclose(kl_divergence(law, law), 0, atol=1e-12)


def test_pairs_without_a_formula_are_refused():
    q = Laplace(tensor(0.0), tensor(1.0))
    with pytest.raises(TypeError, match=r"no closed form for Laplace and Gaussian\. Pass sample="):
        kl_divergence(q, Gaussian(tensor(0.0), tensor(1.0)))
    with pytest.raises(
        TypeError, match=r"no closed form for Gamma and Laplace\. Pass sample= with a law of known entropy"
    ):
        kl_divergence(Gamma(tensor(1.0), tensor(1.0)), q, tensor(1.0))
