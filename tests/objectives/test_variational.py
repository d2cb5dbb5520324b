"""Losses of variational models: choice of draws, gradients, the step of the dictionary, schedules."""

import numpy as np
import pytest
import torch

from skvardict._utils.random import make_generator
from skvardict.distributions import Laplace, Thresholded
from skvardict.energies import reconstruction
from skvardict.models import ThresholdedLatent, VariationalModel
from skvardict.models.latents import Anneal
from skvardict.networks import LinearDecoder, MLPDecoder, MLPEncoder
from skvardict.objectives import VariationalObjective
from skvardict.training import SGD, CosineRate, Decay, Position, Ramp

N, D, L = 12, 7, 5
THRESHOLDED = ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), straight_through=True)


def objective(latent, **changes):
    generator = make_generator(0)
    settings = {"n_draws": 6, "draw_reduction": "max", "atom_norm": None} | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    weights = {"kl": 0.05} | ({"threshold_kl": 0.02} if latent.n_heads == 4 else {})
    model = VariationalModel(settings.pop("decoder", LinearDecoder(L, D, generator)), encoder, latent, L, D, weights)
    made = VariationalObjective(model, **settings)
    for module in made.modules().values():
        module.double()
    return made


@pytest.fixture
def X():
    return torch.randn(N, D, generator=make_generator(1), dtype=torch.float64)


def per_draw_losses(made, X, seed):
    """Return the losses of all draws with a graph, written out: (J, n)."""
    posterior = made.model.latent.posterior(made.model.encoder(X))
    noise = made.model.latent.draw_noise(posterior, made.n_draws, make_generator(seed))
    losses = []
    for j in range(made.n_draws):
        codes = made.model.latent.codes(posterior, tuple(part[j] for part in noise), Anneal())
        loss = reconstruction(X, made.model.decoder(codes))
        for name, value in made.model.latent.kl(posterior, codes).items():
            loss = loss + made.model.kl_weights[name] * value.sum(-1)
        losses.append(loss)
    return torch.stack(losses)


def gradients(made, loss):
    parameters = [p for module in made.modules().values() for p in module.parameters()]
    return torch.autograd.grad(loss, parameters)


@pytest.mark.parametrize("decoder", ["linear", "mlp"])
@pytest.mark.parametrize("reduction", ["max", "mean", "softmax"])
def test_one_step_has_the_gradient_of_all_draws_written_out(latent, reduction, decoder, X):
    mlp = {"decoder": MLPDecoder(L, D, (9,), make_generator(4))} if decoder == "mlp" else {}
    made = objective(latent, draw_reduction=reduction, **mlp)
    losses, *_ = made.step(X, make_generator(3))
    total = sum(losses.values())
    every = per_draw_losses(made, X, 3)
    if reduction == "max":
        expected = every.amin(0).mean()
    elif reduction == "mean":
        expected = every.mean()
    else:
        weights = torch.softmax(-every.detach() / made.model.kl_weights["kl"], 0)
        expected = (weights * every).sum(0).mean()
    np.testing.assert_allclose(total.item(), expected.item(), rtol=1e-10)
    for ours, theirs in zip(gradients(made, total), gradients(made, expected)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


def test_one_draw_is_the_same_under_every_reduction(latent, X):
    values = []
    for reduction in ("max", "mean", "softmax"):
        losses, *_ = objective(latent, n_draws=1, draw_reduction=reduction).step(X, make_generator(3))
        values.append(sum(losses.values()).item())
    assert values[0] == values[1] == values[2]


def test_dictionary_step_is_limited_where_it_would_diverge(X):
    latent = THRESHOLDED
    free, small, large = (objective(latent, dictionary_learning_rate=rate) for rate in (None, 1e-6, 1e6))
    gradient = [gradients(made, sum(made.step(X, make_generator(3))[0].values()))[0] for made in (free, small, large)]
    np.testing.assert_allclose(gradient[0], gradient[1])
    posterior = free.model.latent.posterior(free.model.encoder(X))
    noise = free._chosen_noise(X, posterior, make_generator(3), Anneal())
    codes = free.model.latent.codes(posterior, noise, Anneal()).detach()
    largest = float(torch.linalg.eigvalsh(codes.mT @ codes / N)[-1])
    ratio = float(gradient[2].norm() / gradient[0].norm())
    # The bound of the eigenvalue is at most l^(1/32) = 5 % above it.
    assert 0.9 / largest < 1e6 * ratio <= 1.0001 / largest


def test_gradient_of_the_dictionary_is_the_textbook_one(X):
    made = objective(THRESHOLDED, dictionary_learning_rate=1e-6)
    gradient = gradients(made, sum(made.step(X, make_generator(3))[0].values()))[0]
    posterior = made.model.latent.posterior(made.model.encoder(X))
    noise = made._chosen_noise(X, posterior, make_generator(3), Anneal())
    codes = made.model.latent.codes(posterior, noise, Anneal()).detach()
    residual = X - codes @ made.model.decoder.components.detach()
    steps = SGD(dictionary_learning_rate=1e-6).start(made.parameter_groups())
    rate = steps.groups[1]["lr"]
    np.testing.assert_allclose(-rate * gradient, 1e-6 * codes.mT @ residual / N, rtol=1e-8)


def test_validation_sees_the_same_noise_every_time(latent, X):
    made = objective(latent)
    first, second = (made.summarize(made.evaluate(X), validation=True) for _ in range(2))
    assert first == second


def test_schedules():
    cosine = CosineRate(0.2)
    at = [cosine(Position(0, epoch, 10)) for epoch in (0.5, 1.0, 2.0, 6.0, 9.999, 10.5)]
    np.testing.assert_allclose(at, [0.25, 0.5, 1.0, 0.5, 0.0, 0.25], atol=1e-6)
    ramp = Ramp(0.1, 100, 200)
    assert [ramp(Position(step, 0.0, 1)) for step in (0, 100, 150, 200, 10**6)] == [0.1, 0.1, 0.55, 1.0, 1.0]
    assert [Ramp(0.1, 5, 5)(Position(step, 0.0, 1)) for step in (4, 5)] == [0.1, 1.0]
    assert Ramp(0.1, 0.25, 0.75, unit="fraction")(Position(0, 4.0, 8)) == 0.55
    decay = Decay(1.0, 0.5, 0.9)
    assert [round(decay(Position(step, 0.0, 1)), 3) for step in (0, 1, 2, 50)] == [1.0, 0.9, 0.81, 0.5]
