"""The bound in closed form: against draws, quadrature and finite differences; aggregates, learnt noise, statistics."""

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats

from skvardict._utils.random import make_generator
from skvardict.distributions import Gaussian, Laplace, SpikeAndSlab, Thresholded
from skvardict.energies import expected_reconstruction, reconstruction
from skvardict.models import DenseLatent, LearntNoise, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.latents import Anneal
from skvardict.networks import LinearDecoder, MLPEncoder
from skvardict.networks.decoders import AffineDecoder
from skvardict.objectives import ExactVariationalObjective

N, D, L, KL_WEIGHT = 12, 7, 5, 0.05
FAMILIES = {
    "laplace prior": DenseLatent(Laplace(scale=0.5)),
    "gaussian prior": DenseLatent(Gaussian(scale=0.5)),
    "spike and slab": SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.5), -0.85)).for_expectations(),
    "thresholded Laplace": ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), True),
    "thresholded Gaussian": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.4), True),
    "Laplace with a gate": ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), True).for_expectations(),
    "Gaussian with a gate": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.4), True).for_expectations(),
}
GATED = [name for name in FAMILIES if "prior" not in name]


def objective(name="spike and slab", decoder=LinearDecoder, noise=None, **settings):
    latent = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    model = VariationalModel(decoder(L, D, make_generator(0)), encoder, latent, L, D, {"kl": KL_WEIGHT}, noise=noise)
    made = ExactVariationalObjective(model, **settings)
    for module in made.modules().values():
        module.double()
    if decoder is AffineDecoder:
        made.model.decoder.offset.fill_(0.3)
    with torch.no_grad():  # a posterior far from the prior
        encoder[-1].weight.mul_(3)
    return made


@pytest.fixture
def X():
    return torch.randn(N, D, generator=make_generator(1), dtype=torch.float64)


def losses_of(made, X):
    return {name: float(value.detach()) for name, value in made.step(X, None).losses.items()}


@pytest.mark.parametrize("decoder", [LinearDecoder, AffineDecoder])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_the_mean_of_draws(name, decoder, X):
    made = objective(name, decoder)
    model, latent = made.model, made.model.latent
    with torch.no_grad():
        posterior = model.posterior(X)
        draws = latent.codes(posterior, latent.draw_noise(posterior, 20_000, make_generator(2)), Anneal())
        error = reconstruction(X, model.decode(draws)).mean(1)
        ratio = posterior.log_prob(draws) - latent.prior.like(X).log_prob(draws)
        divergence = ratio.sum(-1).mean(1)
    losses = losses_of(made, X)
    for value, drawn in ((losses["reconstruction"], error), (losses["kl"] / KL_WEIGHT, divergence)):
        assert abs(value - float(drawn.mean())) < 5 * float(drawn.std()) / 20_000**0.5


def moment(law, loc, power):
    """Return the mean of a power over what is not zero."""

    def density(value):
        return value**power * float(law.log_prob(torch.tensor([value or 1e-300], dtype=torch.float64)).exp())

    return integrate.quad(density, -40, 40, points=sorted({0.0, loc}), limit=400)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_are_those_of_a_quadrature(name):
    latent = FAMILIES[name]
    outputs = torch.randn(6, latent.n_heads, generator=make_generator(0), dtype=torch.float64) / 2
    posterior = latent.posterior(outputs)
    mean, variance = latent.moments(posterior)
    off = 1 - latent.on(posterior)
    for row in range(6):
        law, loc = posterior.member(row), float(latent.summary(posterior)["mean"][row])
        zeroth, first, second = (moment(law, loc, power) for power in range(3))
        np.testing.assert_allclose(zeroth, 1 - float(off[row]), atol=1e-7)
        np.testing.assert_allclose(first, float(mean[row]), atol=1e-7)
        np.testing.assert_allclose(second - first**2, float(variance[row]), atol=1e-7)


@pytest.mark.parametrize("divergence", ["row", "aggregate"])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_finite_differences(name, divergence, X):
    made = objective(name, divergence=divergence)
    parameters = [p for module in made.modules().values() for p in module.parameters()]

    def loss():
        return sum(made.step(X, None).losses.values())

    gradients = torch.autograd.grad(loss(), parameters)
    generator = make_generator(5)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start, step, values = parameter.detach().clone(), 1e-5, []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.copy_(start + sign * step * direction)
                values.append(float(loss()))
            parameter.copy_(start)
        expected = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(float((gradient * direction).sum()), expected, rtol=1e-6, atol=1e-9)


def test_expected_error_is_that_of_all_supports():
    """Two gates of weight one: four codes, whose probabilities are products."""
    generator = make_generator(0)
    X, atoms = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    atoms, on = atoms[:2], torch.tensor([[0.2, 0.7]] * 3, dtype=torch.float64)
    expected = torch.zeros(3, dtype=torch.float64)
    for gates in ([0, 0], [0, 1], [1, 0], [1, 1]):
        code = torch.tensor([gates] * 3, dtype=torch.float64)
        expected += torch.where(code > 0, on, 1 - on).prod(1) * reconstruction(X, code @ atoms)
    ours = expected_reconstruction(X, on @ atoms, on * (1 - on), atoms)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("name", GATED)
def test_the_aggregate_divergence_is_that_of_the_mean_gate(name, X):
    row, aggregate = (objective(name, divergence=kind) for kind in ("row", "aggregate"))
    with torch.no_grad():
        on = row.model.latent.on(row.model.posterior(X)).numpy()
    prior = row.model.latent.prior_activation_probability

    def of_gates(on):
        return stats.entropy(np.stack([on, 1 - on]), np.stack([prior + 0 * on, 1 - prior + 0 * on]), axis=0)

    expected = of_gates(on.mean(0)).sum() - of_gates(on).sum(1).mean()
    difference = (losses_of(aggregate, X)["kl"] - losses_of(row, X)["kl"]) / KL_WEIGHT
    np.testing.assert_allclose(difference, expected, rtol=1e-9)
    # Over the rows of an epoch it is taken once, whatever the batches.
    sums = aggregate.evaluate(X[:5])
    for key, value in aggregate.evaluate(X[5:]).items():
        sums[key] = sums[key] + value
    whole = aggregate.summarize(sums, validation=True)
    np.testing.assert_allclose(whole["validation_kl"], losses_of(aggregate, X)["kl"] / KL_WEIGHT, rtol=1e-9)


def test_history_and_validation_tell_the_loss(X):
    made = objective()
    sums, losses = made.step(X, None).sums, losses_of(made, X)
    history = made.summarize(sums, validation=False)
    np.testing.assert_allclose(history["energy"], sum(losses.values()), rtol=1e-12)
    validation = made.summarize(made.evaluate(X), validation=True)
    np.testing.assert_allclose(validation["validation_energy"], sum(losses.values()), rtol=1e-12)
    with torch.no_grad():
        on = made.model.latent.on(made.model.posterior(X))
    np.testing.assert_allclose(history["sparsity"], 1 - float(on.mean()))
    assert history["n_dead"] == int((on.sum(0) < 1).sum())


# --- atoms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", [LinearDecoder, AffineDecoder])
def test_statistics_lead_to_the_atoms_of_the_smallest_expected_error(decoder, X):
    made = objective("spike and slab", decoder, gives_statistics=True)
    step = made.step(X, None)
    atoms = torch.linalg.solve(step.statistics.gram, step.statistics.cross)
    free = objective("spike and slab", decoder)
    with torch.no_grad():
        free.model.decoder.components.copy_(atoms)
    gradient = torch.autograd.grad(free.step(X, None).losses["reconstruction"], free.model.decoder.components)[0]
    np.testing.assert_allclose(gradient, 0, atol=1e-12)
    assert list(step.losses) == ["encoder"]
    assert not any(p.grad_fn for p in made.model.decoder.parameters())


def test_dictionary_step_is_limited_where_it_would_diverge(X):
    free, large = (objective("spike and slab", dictionary_learning_rate=rate) for rate in (None, 1e6))
    gradient = [
        torch.autograd.grad(sum(made.step(X, None).losses.values()), made.model.decoder.components)[0]
        for made in (free, large)
    ]
    gram = objective("spike and slab", gives_statistics=True).step(X, None).statistics.gram
    largest = float(torch.linalg.eigvalsh(gram.detach() / N)[-1])
    ratio = float(gradient[1].norm() / gradient[0].norm())
    assert 0.9 / largest < 1e6 * ratio <= 1.0001 / largest  # the bound is at most l^(1/32) above the eigenvalue


# --- learnt noise -----------------------------------------------------------------------------------------------------


def test_the_learnt_noise_is_that_of_the_largest_bound():
    error = torch.full((5,), 0.7)
    noise = LearntNoise(1.0, D)
    for _ in range(2000):
        noise.follow_(error)
    # The negative bound per row, but for what does not depend on the weight w: error / w + d / 2 log w.
    best = optimize.minimize_scalar(lambda w: 0.7 / w + D / 2 * np.log(w), bounds=(0.01, 10), method="bounded").x
    np.testing.assert_allclose(float(noise.kl_weight), best, rtol=1e-4)
    noise.start_(0.35)
    np.testing.assert_allclose(float(noise.kl_weight), best / 2, rtol=1e-4)


def test_a_step_follows_the_error_and_weights_the_divergence_by_it(X):
    made = objective(noise=LearntNoise(0.4, D))
    assert not made.is_comparable
    losses = losses_of(made, X)
    expected = 0.95 * 0.4 + 0.05 * 2 / D * losses["reconstruction"]
    np.testing.assert_allclose(float(made.model.noise.kl_weight), expected, rtol=1e-6)
    np.testing.assert_allclose(losses["kl"], expected * losses_of(objective(), X)["kl"] / KL_WEIGHT, rtol=1e-6)
    assert made.summarize(made.evaluate(X), validation=True)["validation_energy"] > 0
    assert made.summarize(made.step(X, None).sums, validation=False)["kl_weight"] == float(made.model.noise.kl_weight)
