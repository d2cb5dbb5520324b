"""Bounds against the exact log-likelihood of the model that `sample` draws from, by quadrature over the codes."""

from math import exp, log, pi

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from skvardict._utils.random import make_generator
from skvardict.distributions import Cauchy, Gamma, Gaussian, Laplace, SpikeAndSlab, Thresholded
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.networks import LinearDecoder

D = 2
N_MODELS, N_PARTS, N_DRAWS = 20, 10, 10_000  # 10^5 draws, in parts that say how uncertain they are


class FixedEncoder(torch.nn.Module):
    """An encoder that gives the same numbers to all rows."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, X):
        return self.outputs.expand(len(X), -1)


def model_of(latent, atoms, outputs, kl_weight):
    atoms = torch.as_tensor(atoms, dtype=torch.float64)
    decoder = LinearDecoder(*atoms.shape, make_generator(0)).double().requires_grad_(False)
    decoder.components.copy_(atoms)
    weights = {"kl": kl_weight} | ({"threshold_kl": 0.3 * kl_weight} if latent.n_heads == 4 else {})
    encoder = FixedEncoder(torch.as_tensor(outputs, dtype=torch.float64))
    return VariationalModel(decoder, encoder, latent, *atoms.shape, weights)


# --- the examples of one component ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "loc", "scale", "expected"), [(0.5, 0.5, 0.15, -5.77), (0.3, 1.0, 0.5, -3.77)], ids=["narrow", "wide"]
)
def test_bounds_of_one_component_lie_below_its_likelihood(x, loc, scale, expected):
    """The base variable's ratio of densities gives -1.13 and +1.09 for them: it is no bound."""
    threshold, prior_scale, kl_weight = 0.25, 0.1, 0.005
    noise = stats.norm(scale=(kl_weight / 2) ** 0.5)

    def integrand(z):
        return stats.laplace(scale=prior_scale).pdf(z) * noise.pdf(x - z)

    on = exp(-threshold / prior_scale)
    beside = integrate.quad(integrand, -3, 3, points=[0.0, x])[0]
    likelihood = log((1 - on) * noise.pdf(x) + on * beside)
    assert likelihood == pytest.approx(expected, abs=5e-3)

    latent = ThresholdedLatent(Thresholded(Laplace(scale=prior_scale), threshold), straight_through=True)
    made = model_of(latent, [[1.0]], [loc, log(scale / prior_scale)], kl_weight)
    X = torch.tensor([[x]], dtype=torch.float64)
    # The bound itself, by quadrature over the posterior.
    q_on = exp(-threshold / scale)
    q = stats.laplace(loc, scale)

    def term(z):
        log_p = log(on) + stats.laplace(scale=prior_scale).logpdf(z) + noise.logpdf(x - z)
        return q.pdf(z) * (log_p - log(q_on) - q.logpdf(z))

    bound = (1 - q_on) * (log(1 - on) + noise.logpdf(x) - log(1 - q_on))
    bound += q_on * integrate.quad(term, loc - 20 * scale, loc + 20 * scale, points=[0.0, loc])[0]
    assert bound < likelihood
    assert float(made.elbo(X, 1, make_generator(0))) == pytest.approx(bound, rel=1e-6)  # in closed form
    # With many draws importance sampling finds the likelihood.
    assert float(made.iwae(X, 200_000, make_generator(0))) == pytest.approx(likelihood, abs=0.02)


# --- random small models of every family ------------------------------------------------------------------------------


def thresholded(base, threshold):
    return lambda scale: ThresholdedLatent(Thresholded(base(scale=scale), threshold(scale)), straight_through=True)


FAMILIES = {
    "SparseVAE, laplace": lambda scale: DenseLatent(Laplace(scale=scale)),
    "SparseVAE, gaussian": lambda scale: DenseLatent(Gaussian(scale=scale)),
    "SparseVAE, cauchy": lambda scale: DenseLatent(Cauchy(scale=scale)),
    "thresholded laplace": thresholded(Laplace, lambda scale: scale),
    "thresholded gaussian": thresholded(Gaussian, lambda scale: 0.8 * scale),
    "thresholded laplace, gamma": thresholded(Laplace, lambda scale: Gamma(3.0, 3 / scale)),
    "thresholded gaussian, gamma": thresholded(Gaussian, lambda scale: Gamma(3.0, 4 / scale)),
    "dense laplace": thresholded(Laplace, lambda scale: 0.0),
    "dense gaussian": thresholded(Gaussian, lambda scale: 0.0),
    "spike and slab": lambda scale: SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=scale), -0.6)),
}


def prior_nodes(latent):
    """Return values of a code and their weights under the prior: the atom, and nodes of a quadrature beside it."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    reach = np.arcsinh(300)
    v, weights = reach * (nodes + 1) / 2, weights * reach / 2
    value, weights = np.sinh(v) / 5, weights * np.cosh(v) / 5  # up to 60, and dense at zero
    value, weights = np.concatenate([-value, value]), np.concatenate([weights, weights])
    density = latent.prior.like(torch.zeros((), dtype=torch.float64)).log_prob(torch.from_numpy(value)).exp().numpy()
    atom = 1 - latent.prior_activation_probability
    return np.append(value, 0.0), np.append(density * weights, atom)


def exact_log_likelihood(latent, atoms, X, variance):
    value, weight = prior_nodes(latent)
    assert weight.sum() == pytest.approx(1, abs=0.02)  # a Cauchy law has a hundredth beyond 60, where no row is likely
    codes, weights = value[:, None], weight
    if len(atoms) == 2:
        codes = np.stack(np.meshgrid(value, value, indexing="ij"), -1).reshape(-1, 2)
        weights = np.outer(weight, weight).ravel()
    errors = ((X[:, None] - codes @ atoms) ** 2).sum(-1)
    return np.log(np.exp(-errors / (2 * variance)) @ weights) - D / 2 * np.log(2 * pi * variance)


def random_model(family, seed):
    rng, n_components = np.random.default_rng(seed), 1 + seed % 2
    scale, kl_weight = rng.uniform(0.3, 1.0), rng.uniform(0.1, 0.5)
    latent = FAMILIES[family](scale)
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    atoms = rng.uniform(0.6, 1.5, (n_components, 1)) * rotation[:n_components]
    outputs = 0.5 * rng.standard_normal((latent.n_heads, n_components))
    outputs[1] += 0.8  # wide, so that importance sampling works
    outputs = outputs.ravel()
    X = rng.standard_normal((1, D))
    exact = exact_log_likelihood(latent, atoms, X, D * kl_weight / 2)
    return model_of(latent, atoms, outputs, kl_weight), torch.from_numpy(X), float(exact[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_never_lie_above_the_likelihood(family):
    """Within four standard errors of 10^5 draws; and where these are small, importance sampling finds it."""
    n_found = 0
    for seed in range(N_MODELS):
        made, X, exact = random_model(family, seed)
        elbo, parts = (
            torch.stack([bound(X, N_DRAWS, make_generator(part)) for part in range(N_PARTS)])
            for bound in (made.elbo, made.iwae)
        )
        assert float(elbo.mean()) < exact + 4 * float(elbo.std()) / N_PARTS**0.5, seed
        iwae = float(parts.logsumexp(0) - log(N_PARTS))  # that of all draws together
        error = float((parts - iwae).exp().std()) / N_PARTS**0.5
        assert iwae < exact + 4 * error + 1e-4, seed  # the last of the quadratures
        if error < 1e-2:
            n_found += 1
            assert iwae == pytest.approx(exact, abs=5 * error + 2e-3), seed
    assert n_found >= N_MODELS / 2
