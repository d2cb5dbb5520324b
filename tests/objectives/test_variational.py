"""The evidence bound: choice of draws, gradients, constants, schedules."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvardict._utils.random import make_generator
from skvardict.energies import reconstruction
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.latents import Anneal
from skvardict.networks import LinearDecoder, MLPDecoder, MLPEncoder
from skvardict.objectives import VariationalObjective
from skvardict.training import Position
from skvardict.training.schedules import CosineRate, Decay, Ramp

N, D, L = 12, 7, 5
LATENTS = {
    "laplace prior": DenseLatent("laplace", 0.5),
    "cauchy prior": DenseLatent("cauchy", 0.5),
    "thresholded": ThresholdedLatent("laplace", 0.5, 0.4, None, True),
    "thresholded, subgradient": ThresholdedLatent("gaussian", 0.5, 0.4, None, False),
    "gamma threshold": ThresholdedLatent("laplace", 0.5, 0.4, "gamma", True),
    "spike and slab": SpikeAndSlabLatent(0.5, 0.3),
}


def objective(latent, **changes):
    generator = make_generator(0)
    settings = {"n_draws": 6, "draw_reduction": "max", "atom_norm": None, "learning_rate": 1e-2} | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    weights = {"kl": 0.05} | ({"threshold_kl": 0.02} if getattr(latent, "threshold_prior", None) else {})
    model = VariationalModel(settings.pop("decoder", LinearDecoder(L, D, generator)), encoder, latent, L, D, weights)
    made = VariationalObjective(model, **settings)
    for module in made.modules().values():
        module.double()
    return made


@pytest.fixture
def X():
    return torch.randn(N, D, generator=make_generator(1), dtype=torch.float64)


@pytest.fixture(params=list(LATENTS))
def latent(request):
    return LATENTS[request.param]


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
@pytest.mark.parametrize("reduction", ["max", "mean", "iwae"])
def test_one_step_has_the_gradient_of_all_draws_written_out(latent, reduction, decoder, X):
    mlp = {"decoder": MLPDecoder(L, D, (9,), make_generator(4))} if decoder == "mlp" else {}
    made = objective(latent, draw_reduction=reduction, **mlp)
    losses, _ = made.step(X, make_generator(3))
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
    for reduction in ("max", "mean", "iwae"):
        losses, _ = objective(latent, n_draws=1, draw_reduction=reduction).step(X, make_generator(3))
        values.append(sum(losses.values()).item())
    assert values[0] == values[1] == values[2]


def test_dictionary_step_is_limited_where_it_would_diverge(X):
    latent = LATENTS["thresholded"]
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
    made = objective(LATENTS["thresholded"], dictionary_learning_rate=1e-6)
    gradient = gradients(made, sum(made.step(X, make_generator(3))[0].values()))[0]
    posterior = made.model.latent.posterior(made.model.encoder(X))
    noise = made._chosen_noise(X, posterior, make_generator(3), Anneal())
    codes = made.model.latent.codes(posterior, noise, Anneal()).detach()
    residual = X - codes @ made.model.decoder.components.detach()
    rate = made.parameter_groups()[1]["lr"]
    np.testing.assert_allclose(-rate * gradient, 1e-6 * codes.mT @ residual / N, rtol=1e-8)


def test_elbo_of_a_linear_gaussian_model_is_exact_at_the_true_posterior(X):
    """With the true posterior of a linear Gaussian made the bound is the evidence, by every number of draws."""
    latent = DenseLatent("gaussian", 0.8)
    made = objective(latent)
    # Orthogonal atoms, so that the true posterior has independent components.
    atoms = torch.linalg.qr(torch.randn(D, L, generator=make_generator(2), dtype=torch.float64))[0].mT
    variance = D * made.model.kl_weights["kl"] / 2
    posterior_variance = 1 / (1 / variance + 1 / 0.8**2)

    class TrueEncoder(torch.nn.Module):
        def forward(self, X):
            mean = X @ atoms.mT * posterior_variance / variance
            return torch.cat([mean, torch.full_like(mean, np.log(posterior_variance / 0.8**2))], -1)

    made.model.encoder = TrueEncoder()
    made.model.decoder.components.data = atoms
    covariance = 0.8**2 * atoms.mT @ atoms + variance * torch.eye(D, dtype=torch.float64)
    evidence = stats.multivariate_normal(np.zeros(D), covariance.numpy()).logpdf(X.numpy())
    with torch.no_grad():
        # All importance weights are equal, so that one draw is enough and all numbers of draws agree.
        for n_draws in (1, 7):
            np.testing.assert_allclose(made.model.iwae(X, n_draws, make_generator(0)), evidence, rtol=1e-9)
        bound = made.model.elbo(X, 4000, make_generator(0))
    np.testing.assert_allclose(bound, evidence, atol=0.3)  # Monte Carlo over 4,000 draws: standard deviation .03


def test_iwae_is_tighter_than_the_elbo_and_agrees_at_one_draw(latent, X):
    made = objective(latent)
    with torch.no_grad():
        many = torch.stack([made.model.iwae(X, 1, make_generator(seed)) for seed in range(400)])
        elbo = made.model.elbo(X, 2000, make_generator(7))
        tight = made.model.iwae(X, 200, make_generator(8))
    error = many.mean(1).std() / 20
    if latent is not LATENTS["cauchy prior"]:  # its tails make the mean over 400 draws unreliable
        assert abs(float(many.mean() - elbo.mean())) < 5 * float(error)
    assert float(tight.mean()) > float(elbo.mean())


def test_validation_sees_the_same_noise_every_time(latent, X):
    made = objective(latent)
    first, second = (made.summarize(made.evaluate(X), validation=True) for _ in range(2))
    assert first == second


def test_warm_up_scales_the_noise_and_not_the_divergence():
    latent = ThresholdedLatent("laplace", 1.0, 0.2, None, True)
    outputs = torch.zeros(2, 2 * L, dtype=torch.float64)
    posterior = latent.posterior(outputs)  # mean 0, scale 1
    noise = (torch.full((2, L), 3.0, dtype=torch.float64),)
    np.testing.assert_allclose(latent.codes(posterior, noise, Anneal(noise=0.1)), 0.1)
    np.testing.assert_allclose(latent.codes(posterior, noise, Anneal()), 2.8)
    slab = SpikeAndSlabLatent(0.5, 0.3)
    on = slab.posterior(torch.full((2, 3 * L), 2.0, dtype=torch.float64))
    unit = (torch.ones(2, L, dtype=torch.float64), torch.zeros(2, L, dtype=torch.float64))
    expected = 0.25 * 2 + (0.25 * np.exp(1.0) + 0.75**0.5)
    np.testing.assert_allclose(slab.codes(on, unit, Anneal(noise=0.25)), expected)


@pytest.mark.parametrize("name", sorted(LATENTS.keys() - {"spike and slab"}))
def test_an_encoder_of_zeros_gives_the_prior(name):
    latent = LATENTS[name]
    outputs = torch.zeros(2, latent.n_heads * L, dtype=torch.float64)
    posterior = latent.posterior(outputs)
    if not isinstance(latent, DenseLatent):  # there the families differ
        for term, value in latent.kl(posterior, torch.ones(2, L, dtype=torch.float64)).items():
            np.testing.assert_allclose(value, 0, atol=1e-12, err_msg=term)
    np.testing.assert_allclose(latent.summary(posterior)["scale"], latent.prior_scale)


def test_schedules():
    cosine = CosineRate(10, 0.2)
    at = [cosine(Position(0, epoch)) for epoch in (0.5, 1.0, 2.0, 6.0, 9.999, 10.5)]
    np.testing.assert_allclose(at, [0.25, 0.5, 1.0, 0.5, 0.0, 0.25], atol=1e-6)
    ramp = Ramp(0.1, 100, 200)
    assert [ramp(Position(step, 0.0)) for step in (0, 100, 150, 200, 10**6)] == [0.1, 0.1, 0.55, 1.0, 1.0]
    assert [Ramp(0.1, 5, 5)(Position(step, 0.0)) for step in (4, 5)] == [0.1, 1.0]
    assert Ramp(0.1, 0.25, 0.75, 8)(Position(0, 4.0)) == 0.55
    decay = Decay(1.0, 0.5, 0.9)
    assert [round(decay(Position(step, 0.0)), 3) for step in (0, 1, 2, 50)] == [1.0, 0.9, 0.81, 0.5]


@pytest.mark.parametrize("latent", ["laplace prior", "thresholded", "gamma threshold", "spike and slab"])
def test_a_scale_beyond_its_range_finds_back(latent):
    """An optimiser may throw log scales far out; the divergence must pull them back, on both sides."""
    latent = LATENTS[latent]
    for head in (-80.0, 80.0):
        outputs = torch.zeros(1, latent.n_heads * L, dtype=torch.float64)
        outputs[:, L : 2 * L] = head
        outputs.requires_grad_()
        posterior = latent.posterior(outputs)
        value = latent.kl(posterior, torch.zeros(1, L, dtype=torch.float64))["kl"].sum()
        value.backward()
        assert value.isfinite()
        assert (outputs.grad[:, L : 2 * L] * np.sign(head) > 0).all()
