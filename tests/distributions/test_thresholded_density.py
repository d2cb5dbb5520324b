"""The law of thresholded variables, an atom and a density, and its divergences, against quadrature and draws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skvardict._utils.random import make_generator
from skvardict.distributions import (
    Gamma,
    Gaussian,
    Laplace,
    Thresholded,
    kl_divergence,
    shifted_soft_threshold,
)

SCIPY = {Laplace: stats.laplace, Gaussian: stats.norm}
FIXED = [
    Thresholded(Laplace(0.35, 0.1), 0.25),
    Thresholded(Laplace(0.0, 2.0), 0.01),
    Thresholded(Gaussian(-0.4, 0.3), 0.52),
    Thresholded(Gaussian(0.2, 0.3), 0.01),
]
RANDOM = [
    Thresholded(Laplace(0.35, 0.1), Gamma(3.0, 12.0)),
    Thresholded(Gaussian(-0.4, 0.3), Gamma(3.0, 6.0)),
    Thresholded(Gaussian(0.2, 0.3), Gamma(0.4, 2.0)),
    Thresholded(Gaussian(0.0, 1.0), Gamma(30.0, 20.0)),
]


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def as_tensors(law, requires_grad=False):
    """Return the law with tensors as parameters, and these."""
    made = law.like(tensor(0.0))
    inner = made.threshold
    parameters = [made.base.loc, made.base.scale]
    parameters += [inner.concentration, inner.rate] if isinstance(inner, Gamma) else [inner]
    for parameter in parameters:
        parameter.requires_grad_(requires_grad)
    return made, parameters


def log_density_by_quadrature(law, value):
    """Return the log-density beside the atom: the mean over the threshold of the base's at ``|z - loc| + t``."""
    base = SCIPY[type(law.base)](0, law.base.scale)
    distance = abs(value - law.base.loc)
    if not isinstance(law.threshold, Gamma):
        return base.logpdf(distance + law.threshold)
    threshold = stats.gamma(law.threshold.concentration, scale=1 / law.threshold.rate)

    def integrand(level):  # over levels of probability, where densities that are infinite at zero do no harm
        return np.exp(base.logpdf(distance + threshold.ppf(level)) - base.logpdf(distance))

    points = [0.1, 0.5, 0.9, 0.999]
    return base.logpdf(distance) + np.log(integrate.quad(integrand, 0, 1, points=points, limit=400, epsabs=1e-13)[0])


def codes_of(law, n_draws, seed=0):
    law, _ = as_tensors(law)
    generator = make_generator(seed)
    noise = law.base.draw_noise((n_draws,), generator, tensor(0.0))
    threshold = law.threshold
    if law.has_random_threshold:
        threshold = threshold.sample(threshold.draw_noise((n_draws,), generator, tensor(0.0)))
    return shifted_soft_threshold(law.base.scale * noise, law.base.loc, threshold, straight_through=True)


@pytest.mark.parametrize("law", FIXED + RANDOM, ids=repr)
def test_density_is_the_integral_over_the_threshold(law):
    values = law.base.loc + law.base.scale * np.array([-9.0, -2.0, -0.3, 1e-6, 0.4, 3.0])
    expected = [log_density_by_quadrature(law, value) for value in values]
    np.testing.assert_allclose(law.log_prob(tensor(values)), expected, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("law", FIXED + RANDOM, ids=repr)
def test_atom_and_density_are_one_together(law):
    atom = float(law.log_prob(tensor(0.0)).exp())
    reach = 40 * law.base.scale
    nodes, weights = np.polynomial.legendre.leggauss(400)
    # Either side of loc, where the density has its edge; reach * x^2 puts many nodes there.
    distance = reach * ((nodes + 1) / 2) ** 2
    weights = weights * reach * (nodes + 1) / 2
    values = law.base.loc + np.concatenate([distance, -distance])
    rest = law.log_prob(tensor(values)).exp().numpy() @ np.tile(weights, 2)
    np.testing.assert_allclose(atom + rest, 1, rtol=2e-5)  # of the quadrature over |e| of P(on)
    np.testing.assert_allclose(rest, float(as_tensors(law)[0].activation_probability), rtol=2e-5)


@pytest.mark.parametrize("law", FIXED + RANDOM, ids=repr)
def test_draws_follow_the_density(law):
    codes = codes_of(law, 40_000).numpy()
    atom = float(law.log_prob(tensor(0.0)).exp())
    assert stats.binomtest(int((codes == 0).sum()), len(codes), atom).pvalue > 1e-3
    edges = law.base.loc + law.base.scale * np.array([-np.inf, -2.0, -1.0, -0.4, 0.0, 0.2, 0.7, 1.5, np.inf])
    found = np.histogram(codes[codes != 0], np.nan_to_num(edges, posinf=1e9, neginf=-1e9))[0]
    finite = np.clip(edges, law.base.loc - 40 * law.base.scale, law.base.loc + 40 * law.base.scale)
    share = []
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for low, high in pairwise(finite):
        value = low + (high - low) * (nodes + 1) / 2
        share.append(law.log_prob(tensor(value)).exp().numpy() @ weights * (high - low) / 2)
    expected = np.array(share) / np.sum(share) * found.sum()
    assert stats.chisquare(found, expected).pvalue > 1e-3


@pytest.mark.parametrize("law", FIXED + RANDOM, ids=repr)
def test_gradients_are_those_of_differences(law):
    """Of the density and of the atom, in all parameters, the concentration of a threshold included."""
    made, parameters = as_tensors(law, requires_grad=True)
    for value in (0.0, law.base.loc + 0.3, law.base.loc - 0.02):
        gradients = torch.autograd.grad(made.log_prob(tensor(value)), parameters, allow_unused=True)
        for index, gradient in enumerate(gradients):
            step = 1e-5 * max(1, abs(float(parameters[index].detach())))
            sides = []
            for sign in (1, -1):
                other, moved = as_tensors(law)
                moved[index] += sign * step
                sides.append(float(other.log_prob(tensor(value))))
            expected = (sides[0] - sides[1]) / (2 * step)
            np.testing.assert_allclose(0 if gradient is None else float(gradient), expected, rtol=1e-4, atol=1e-6)


def test_a_threshold_of_zero_leaves_the_base_law():
    values = tensor([-1.0, 0.0, 0.3, 2.0])
    for base in (Laplace(0.3, 0.7), Gaussian(0.3, 0.7)):
        law, parameters = as_tensors(Thresholded(base, 0.0), requires_grad=True)
        np.testing.assert_allclose(law.log_prob(values).detach(), base.log_prob(values))
        gradients = torch.autograd.grad(law.log_prob(values).sum(), parameters)
        assert all(gradient.isfinite() for gradient in gradients)
        prior = Thresholded(type(base)(0.0, 0.4), 0.0).like(values)
        np.testing.assert_allclose(
            kl_divergence(law, prior).detach(), kl_divergence(law.base, prior.base).detach(), rtol=1e-12
        )


@pytest.mark.parametrize("concentration", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_is_right_at_extreme_thresholds(concentration, dtype):
    """The mean threshold .5 and its spread decide: at large concentrations the law is that of a fixed threshold."""
    value = torch.tensor([0.4, -2.0, 6.0], dtype=dtype)
    random = Thresholded(Gaussian(0.2, 1.0), Gamma(concentration, 2 * concentration)).log_prob(value)
    assert random.dtype == dtype
    if concentration >= 1e3:
        fixed = Thresholded(Gaussian(0.2, 1.0), 0.5).log_prob(value)
        np.testing.assert_allclose(random, fixed, atol=20 / concentration + 1e-5)
    else:
        law = Thresholded(Gaussian(0.2, 1.0), Gamma(concentration, 2 * concentration))
        expected = [log_density_by_quadrature(law, float(v)) for v in value.double()]
        np.testing.assert_allclose(random, expected, rtol=1e-5)


PRIORS_OF = {
    Laplace: [Thresholded(Laplace(0.0, 0.1), 0.25), Thresholded(Laplace(0.1, 0.4), Gamma(3.0, 12.0))],
    Gaussian: [Thresholded(Gaussian(0.0, 0.1**0.5), 0.52), Thresholded(Gaussian(0.1, 0.8), 0.1)],
}
CLOSED = [(q, p) for q in FIXED + RANDOM[:1] for p in PRIORS_OF[type(q.base)]]


def divergence_by_quadrature(q, p):
    atoms = [float(law.log_prob(tensor(0.0))) for law in (q, p)]
    total = np.exp(atoms[0]) * (atoms[0] - atoms[1])
    nodes, weights = np.polynomial.legendre.leggauss(1000)
    ends = sorted({q.base.loc, p.base.loc})
    ends = [ends[0] - 45 * q.base.scale, *ends, ends[-1] + 45 * q.base.scale]
    for low, high in pairwise(ends):
        value = tensor(low + (high - low) * (nodes + 1) / 2)
        log_q, log_p = q.log_prob(value), p.log_prob(value)
        total += float((log_q.exp() * (log_q - log_p)).numpy() @ weights) * (high - low) / 2
    return total


@pytest.mark.parametrize(("q", "p"), CLOSED, ids=repr)
def test_divergence_is_the_sum_over_the_atom_and_the_integral_beside_it(q, p):
    (posterior, _), (prior, _) = as_tensors(q), as_tensors(p)
    np.testing.assert_allclose(kl_divergence(posterior, prior), divergence_by_quadrature(q, p), rtol=1e-6)
    np.testing.assert_allclose(kl_divergence(posterior, posterior), 0, atol=1e-12)


@pytest.mark.parametrize("q", RANDOM[1:], ids=repr)
def test_an_estimate_of_the_divergence_averages_to_it(q):
    p = Thresholded(Gaussian(0.0, 0.1**0.5), Gamma(3.0, 6.0))
    (posterior, _), (prior, _) = as_tensors(q), as_tensors(p)
    estimates = kl_divergence(posterior, prior, codes_of(q, 50_000))
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - divergence_by_quadrature(q, p)) < 4 * error


def test_a_posterior_that_is_off_where_the_prior_cannot_be_is_infinitely_far():
    posterior, prior = (Thresholded(Laplace(0.0, 0.1), threshold).like(tensor(0.0)) for threshold in (0.2, 0.0))
    assert kl_divergence(posterior, prior) == np.inf
    with pytest.raises(TypeError, match=r"no closed form for Thresholded and Thresholded\. Pass sample="):
        kl_divergence(*(Thresholded(Gaussian(0.0, 1.0), Gamma(2.0, 3.0)).like(tensor(0.0)) for _ in range(2)))
