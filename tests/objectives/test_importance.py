"""The importance-weighted loss: its value, and its gradient against bounds written out and quadratures."""

from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch

from skvardict._utils.random import make_generator
from skvardict.distributions import Cauchy, Gamma, Gaussian, Laplace, SpikeAndSlab, StudentT, Thresholded
from skvardict.energies import reconstruction
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.latents import Anneal
from skvardict.networks import LinearDecoder, MLPDecoder, MLPEncoder
from skvardict.objectives import VariationalObjective
from skvardict.objectives.importance import _gains

N, D, L, J = 12, 7, 5, 6
KL_WEIGHT = 0.3

DENSE = {
    "laplace": DenseLatent(Laplace(scale=0.5)),
    "gaussian": DenseLatent(Gaussian(scale=0.5)),
    "cauchy": DenseLatent(Cauchy(scale=0.5)),
    "student-t": DenseLatent(StudentT(scale=0.5)),
    "laplace, threshold of zero": ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.0), straight_through=True),
    "gaussian, threshold of zero": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.0), straight_through=False),
}
WITH_ZEROS = {
    "laplace": ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), straight_through=True),
    "gaussian": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.4), straight_through=False),
    "laplace, gamma": ThresholdedLatent(Thresholded(Laplace(scale=0.5), Gamma(3.0, 7.5)), straight_through=True),
    "gaussian, gamma": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), Gamma(3.0, 7.5)), straight_through=True),
    "spike and slab": SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.5), -0.85)),
}


def objective(latent, decoder, encoder, n_draws, reduction="iwae"):
    weights = {"kl": KL_WEIGHT} | ({"threshold_kl": 0.02} if latent.n_heads == 4 else {})
    n_components, n_features = (L, D) if isinstance(encoder, MLPEncoder) else (1, 1)
    model = VariationalModel(decoder, encoder, latent, n_components, n_features, weights)
    made = VariationalObjective(model, n_draws=n_draws, draw_reduction=reduction, atom_norm=None)
    for module in made.modules().values():
        module.double()
    return made


def with_encoder(latent, decoder, n_draws=J):
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    return objective(latent, decoder, encoder, n_draws)


@pytest.fixture
def X():
    return torch.randn(N, D, generator=make_generator(1), dtype=torch.float64)


@pytest.mark.parametrize("decoder", [LinearDecoder(L, D, make_generator(0)), MLPDecoder(L, D, (9,), make_generator(4))])
@pytest.mark.parametrize("n_draws", [1, J])
@pytest.mark.parametrize("omega", [1.0, 0.3])
@pytest.mark.parametrize("name", DENSE)
def test_without_zeros_value_and_gradient_are_those_of_the_bound_written_out(name, omega, n_draws, decoder, X):
    made = with_encoder(DENSE[name], decoder, n_draws)
    made.anneal = Anneal(noise=omega)
    total = sum(made.step(X, make_generator(3)).losses.values())
    mean, head = made.model.encoder(X).chunk(2, -1)
    prior = DENSE[name].prior
    base = prior.base if isinstance(prior, Thresholded) else Gaussian(0.0, prior.scale)
    scale = omega * base.scale * (head / base.scale_power).exp()
    noise = base.draw_noise((n_draws, N, L), make_generator(3), mean)
    codes = mean + scale * noise
    log_q = type(base)(mean, scale).log_prob(codes)
    log_p = (prior.base if isinstance(prior, Thresholded) else prior).log_prob(codes)
    log_likelihood = -reconstruction(X, made.model.decode(codes)) / KL_WEIGHT
    bound = torch.logsumexp(log_likelihood + (log_p - log_q).sum(-1), 0) - log(n_draws)
    expected = -KL_WEIGHT * bound.mean()
    np.testing.assert_allclose(total.item(), expected.item(), rtol=1e-9)
    parameters = [p for module in made.modules().values() for p in module.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad(loss, parameters) for loss in (total, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-11)


# --- codes with zeros: the mean gradient against differences of a quadrature of the bound -----------------------------


class Heads(torch.nn.Module):
    """An encoder that gives the same numbers to all rows."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = torch.nn.Parameter(outputs.clone())

    def forward(self, X):
        return self.outputs.expand(len(X), -1)


def decoder_of(atom):
    made = LinearDecoder(1, 1, make_generator(0))
    torch.nn.init.constant_(made.components, atom)
    return made


def loss_by_quadrature(latent, outputs, atom, x, n_draws=2):
    """Return ``-kl_weight E log (w_1 + w_2) / 2`` for one row, one component, and two independent draws."""
    law = latent.posterior(outputs[None])
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(60))
    base = law.base if isinstance(law, Thresholded) else law.slab
    loc, scale = float(base.loc), float(base.scale)
    ends = sorted({0.0, loc})
    ends = [ends[0] - 14 * scale, ends[0] - 3 * scale, *ends, ends[-1] + 3 * scale, ends[-1] + 14 * scale]
    values, measure = [torch.zeros(1, dtype=torch.float64)], [1 - law.activation_probability[0]]
    for low, high in pairwise(ends):
        value = low + (high - low) * (nodes + 1) / 2
        values.append(value)
        measure.append(law.log_prob(value[:, None])[:, 0].exp() * weights * (high - low) / 2)
    value, measure = torch.cat(values)[:, None], torch.cat(measure)
    log_w = (latent.prior.like(value).log_prob(value) - law.log_prob(value))[:, 0]
    log_w = log_w - (x - value[:, 0] * atom).square() / KL_WEIGHT
    pairs = torch.logaddexp(log_w[:, None], log_w[None]) - log(2)
    return float(-KL_WEIGHT * (measure @ pairs @ measure) / measure.sum() ** 2)


def gradient_by_quadrature(latent, outputs, atom, x):
    step, found = 1e-4, []
    for index in range(len(outputs) + 1):
        sides = []
        for sign in (1, -1):
            moved = torch.cat([outputs, torch.tensor([atom], dtype=torch.float64)])
            moved[index] += sign * step
            sides.append(loss_by_quadrature(latent, moved[:-1], float(moved[-1]), x))
        found.append((sides[0] - sides[1]) / (2 * step))
    return np.array(found)


def mean_gradient(latent, outputs, atom, x, reduction="iwae", n_rows=20_000):
    """Return mean and standard error of the gradient and of the loss after it, over eight large batches of one row."""
    made = objective(latent, decoder_of(atom), Heads(outputs), 2, reduction)
    X, found = torch.full((n_rows, 1), x, dtype=torch.float64), []
    for seed in range(8):
        loss = sum(made.step(X, make_generator(seed)).losses.values())
        gradients = torch.autograd.grad(loss, [made.model.encoder.outputs, made.model.decoder.components])
        found.append(torch.cat([*(part.flatten() for part in gradients), loss.detach()[None]]).numpy())
    return np.mean(found, 0), np.std(found, 0, ddof=1) / len(found) ** 0.5


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("x", [0.9, -0.3])
@pytest.mark.parametrize("name", WITH_ZEROS)
def test_with_zeros_the_mean_gradient_is_that_of_the_bound(name, x):
    latent, atom = WITH_ZEROS[name], 1.2
    outputs = torch.tensor([0.6, 0.3, 0.5, -0.2][: latent.n_heads], dtype=torch.float64)
    found, error = mean_gradient(latent, outputs, atom, x)
    expected = gradient_by_quadrature(latent, outputs, atom, x)
    assert cosine(found[:-1], expected) > 0.99
    expected = np.append(expected, loss_by_quadrature(latent, outputs, atom, x))
    assert (np.abs(found - expected) < 6 * error).all()  # errors of eight batches are themselves uncertain
    # The softmax of the paper's losses, with gradients that skip the threshold, is another matter.
    softmax, _ = mean_gradient(latent, outputs, atom, x, "softmax", 5000)
    assert cosine(softmax[:-1], expected[:-1]) < 0.99


@pytest.mark.parametrize("name", WITH_ZEROS)
def test_support_adds_a_gradient_and_no_value(name, X):
    made = with_encoder(WITH_ZEROS[name], LinearDecoder(L, D, make_generator(0)))
    step = made.step(X, make_generator(3))
    losses, sums = step.losses, step.sums
    assert losses["support"].item() == 0
    assert torch.autograd.grad(losses["support"], made.model.encoder.parameters(), retain_graph=True)[0].any()
    means = {name: float(sums[name]) / N for name in made.model.kl_weights}
    energy = float(sums["reconstruction"]) / N + sum(made.model.kl_weights[name] * means[name] for name in means)
    np.testing.assert_allclose(sum(losses.values()).item(), energy)
    with torch.no_grad():
        posterior = made.model.posterior(X)
        codes = made.model.latent.scored_codes(posterior, made.model.draw_noise(posterior, J, make_generator(3)))[0]
        log_w = made.model.latent.log_ratio(posterior, codes).sum(-1)
        log_w = log_w - reconstruction(X, made.model.decode(codes)) / KL_WEIGHT
    np.testing.assert_allclose(energy, -KL_WEIGHT * (torch.logsumexp(log_w, 0) - log(J)).mean().item())


def test_what_a_draw_adds_is_the_bound_without_it():
    log_weights = torch.randn(5, 40, generator=make_generator(0), dtype=torch.float64) * 30
    gains = _gains(log_weights)
    for draw in range(5):
        others = torch.cat([log_weights[:draw], log_weights[draw + 1 :]])
        expected = torch.logsumexp(log_weights, 0) - log(5) - torch.logsumexp(others, 0) + log(4)
        np.testing.assert_allclose(gains[draw], expected, rtol=1e-9, atol=1e-9)
