"""The variational model by itself: from rows to codes by every algorithm, draws, bounds."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvardict._utils.random import make_generator
from skvardict.distributions import Cauchy, Gaussian, Laplace, SpikeAndSlab, Thresholded
from skvardict.energies import reconstruction
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.latents import Anneal
from skvardict.networks import LinearDecoder, MLPDecoder, MLPEncoder
from skvardict.solvers import FISTA

N, D, L = 12, 7, 5


def model_of(latent, decoder=None, kl=0.05, solver=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    decoder = LinearDecoder(L, D, make_generator(0)) if decoder is None else decoder
    weights = {"kl": kl} | ({"threshold_kl": 0.02} if latent.n_heads == 4 else {})
    made = VariationalModel(decoder, encoder, latent, L, D, weights, solver)
    for module in made.modules().values():
        module.double().requires_grad_(False)
    return made


@pytest.fixture
def X():
    return torch.randn(N, D, generator=make_generator(1), dtype=torch.float64)


def is_solvable(latent):
    return latent.l1_scale is not None


@pytest.mark.parametrize("algorithm", ["mean", "median", "support", "refine", "top_k", "max_elbo", "solver", "auto"])
def test_codes_are_deterministic_and_row_by_row(latent, algorithm, X):
    made = model_of(latent, solver=FISTA(max_iter=5000, tol=1e-10, restart=True))
    lacks_minima = algorithm == "refine" and not isinstance(latent, SpikeAndSlabLatent)
    lacks_penalty = algorithm in ("solver", "auto") and not is_solvable(latent)
    if lacks_minima or lacks_penalty:
        with pytest.raises(ValueError, match=rf"transform_algorithm='{algorithm.replace('auto', 'solver')}' needs"):
            made.encode(X, algorithm) if algorithm == "auto" else made.check_algorithm(algorithm)
        return
    first, again = (made.encode(X, algorithm, n_draws=9, noise_seed=3) for _ in range(2))
    assert torch.equal(first.codes, again.codes)
    parts = [made.encode(rows, algorithm, n_draws=9, noise_seed=3).codes for rows in X.split(5)]
    np.testing.assert_allclose(torch.cat(parts), first.codes, atol=1e-9)
    assert (first.converged is None) == (algorithm not in ("solver", "auto"))


def test_means_and_medians_are_those_of_draws(latent, X):
    made = model_of(latent)
    draws = made.sample_codes(X, 40_001, make_generator(2))
    assert draws.shape == (40_001, N, L)
    error = draws.std(0) / 200
    assert ((draws.mean(0) - made.encode(X, "mean").codes).abs() < 5 * error + 1e-9).all()
    if latent.n_heads != 4:  # a random threshold counts as its mean
        # Five standard errors of a median, sqrt(pi / 2) of a mean's for a Gaussian law.
        np.testing.assert_allclose(draws.median(0).values, made.encode(X, "median").codes, atol=7 * float(error.max()))
    np.testing.assert_array_equal(made.posterior_params(X)["code_mean"], made.encode(X, "mean").codes)


def test_top_k_keeps_as_many_as_the_prior_has_on(latent, X):
    made = model_of(latent)
    codes, params = made.encode(X, "top_k").codes, made.posterior_params(X)
    n_active = max(1, round(latent.prior_activation_probability * L))
    assert (torch.count_nonzero(codes, dim=1) == n_active).all()
    on = codes != 0
    assert torch.equal(codes[on], params["mean"][on])
    assert (params["code_mean"].abs()[on].view(N, -1).amin(1) >= (params["code_mean"].abs() * ~on).amax(1)).all()


def test_the_best_draw_is_the_one_of_the_smallest_loss(latent, X):
    made = model_of(latent)
    best = made.encode(X, "max_elbo", n_draws=30, noise_seed=3).codes
    posterior = made.posterior(X)
    noise = latent.shared_noise(posterior, 30, make_generator(3))
    assert noise[0].shape[1] == 1
    draws = latent.codes(posterior, tuple(part.expand(30, N, L) for part in noise), anneal=Anneal())
    loss = reconstruction(X, made.decode(draws))
    if latent.kl_depends_on_draw:
        loss = loss + made.kl_weights["kl"] * latent.kl(posterior, draws)["kl"].sum(-1)
    np.testing.assert_allclose(best, draws[loss.argmin(0), torch.arange(N)])


@pytest.mark.parametrize(
    ("latent", "scale"),
    [
        (DenseLatent(Laplace(scale=0.5)), 0.5),
        (ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), True), 0.5),
        (ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.4), True), 0.5 * (2 / np.pi) ** 0.5),
        (SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.5), 0.0)), 0.5 * (2 / np.pi) ** 0.5),
    ],
)
def test_the_solver_finds_the_most_probable_codes_under_a_laplace_prior(latent, scale, X):
    made = model_of(latent, solver=FISTA(max_iter=20_000, tol=1e-12, criterion="gap", restart=True))
    codes, _, converged = made.encode(X, "solver")
    assert converged.all()
    # No subgradient of 1/d |x - D(z)|^2 + kl_weight / scale |z|_1 is smaller than zero allows.
    atoms, alpha = made.decoder.components, 0.05 / scale
    gradient = -2 / D * (X - codes @ atoms) @ atoms.mT
    on = codes != 0
    np.testing.assert_allclose(gradient[on], -alpha * codes[on].sign(), atol=1e-4)
    assert (gradient[~on].abs() <= alpha + 1e-4).all()


def test_algorithms_that_the_parts_do_not_allow_are_refused():
    deep = model_of(DenseLatent(Laplace()), MLPDecoder(L, D, (9,), make_generator(4)))
    with pytest.raises(ValueError, match="needs decoder='linear', but the decoder is of MLPDecoder"):
        deep.check_algorithm("solver")
    heavy = model_of(DenseLatent(Cauchy()))
    with pytest.raises(ValueError, match=r"needs prior='laplace', but the prior is Cauchy\("):
        heavy.encode(torch.zeros(1, D, dtype=torch.float64), "solver")
    heavy.check_algorithm("mean")


def test_auto_is_the_solver_for_linear_decoders_and_the_best_of_twenty_draws_for_others(X):
    latent = ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), straight_through=True)
    linear, deep = model_of(latent), model_of(latent, MLPDecoder(L, D, (9,), make_generator(4)))
    assert torch.equal(linear.encode(X, "auto").codes, linear.encode(X, "solver").codes)
    best = {n_draws: deep.encode(X, "max_elbo", n_draws=n_draws).codes for n_draws in (20, 50)}
    assert torch.equal(deep.encode(X, "auto", n_draws=1).codes, best[20])
    assert torch.equal(deep.encode(X, "auto", n_draws=50).codes, best[50])


def test_draws_from_the_prior_have_its_share_and_dtype(latent):
    made = model_of(latent)
    codes = made.sample_prior_codes(20_000, make_generator(0))
    assert codes.shape == (20_000, L)
    assert codes.dtype == torch.float64
    share = float((codes != 0).double().mean())
    assert abs(share - latent.prior_activation_probability) < 8e-3  # five standard errors at 1/2


def test_a_bound_without_a_likelihood_is_refused(X):
    made = model_of(DenseLatent(Laplace(scale=0.5)), kl=0)
    for bound in (made.elbo, made.iwae):
        with pytest.raises(ValueError, match="needs kl_weight > 0"):
            bound(X, 2, make_generator(0))


def test_elbo_of_a_linear_gaussian_model_is_exact_at_the_true_posterior(X):
    """With the true posterior of a linear Gaussian made the bound is the evidence, by every number of draws."""
    latent = DenseLatent(Gaussian(scale=0.8))
    made = model_of(latent)
    # Orthogonal atoms, so that the true posterior has independent components.
    atoms = torch.linalg.qr(torch.randn(D, L, generator=make_generator(2), dtype=torch.float64))[0].mT
    variance = D * made.kl_weights["kl"] / 2
    posterior_variance = 1 / (1 / variance + 1 / 0.8**2)

    class TrueEncoder(torch.nn.Module):
        def forward(self, X):
            mean = X @ atoms.mT * posterior_variance / variance
            return torch.cat([mean, torch.full_like(mean, np.log(posterior_variance / 0.8**2))], -1)

    made.encoder = TrueEncoder()
    made.decoder.components.data = atoms
    covariance = 0.8**2 * atoms.mT @ atoms + variance * torch.eye(D, dtype=torch.float64)
    evidence = stats.multivariate_normal(np.zeros(D), covariance.numpy()).logpdf(X.numpy())
    with torch.no_grad():
        # All importance weights are equal, so that one draw is enough and all numbers of draws agree.
        for n_draws in (1, 7):
            np.testing.assert_allclose(made.iwae(X, n_draws, make_generator(0)), evidence, rtol=1e-9)
        bound = made.elbo(X, 4000, make_generator(0))
    np.testing.assert_allclose(bound, evidence, atol=0.3)  # Monte Carlo over 4,000 draws: standard deviation .03


def test_a_bound_in_closed_form_is_that_of_draws(latent, X):
    made, deep = model_of(latent), model_of(latent, MLPDecoder(L, D, (9,), make_generator(4)))
    first, second = (made.elbo(X, 1, make_generator(seed)) for seed in (0, 1))
    assert torch.equal(first, second) == latent.has_closed_form
    assert not torch.equal(*(deep.elbo(X, 1, make_generator(seed)) for seed in (0, 1)))
    if latent.has_closed_form:
        posterior = made.posterior(X)
        codes = latent.codes(posterior, latent.draw_noise(posterior, 20_000, make_generator(2)), Anneal())
        drawn = (made._log_likelihood(X, codes) + latent.log_ratio(posterior, codes).sum(-1)).mean(1)
        assert abs(float(first.mean() - drawn.mean())) < 5 * float(drawn.std()) / 20_000**0.5


def test_iwae_is_tighter_than_the_elbo_and_agrees_at_one_draw(latent, X):
    made = model_of(latent)
    with torch.no_grad():
        many = torch.stack([made.iwae(X, 1, make_generator(seed)) for seed in range(400)])
        elbo = made.elbo(X, 2000, make_generator(7))
        tight = made.iwae(X, 200, make_generator(8))
    error = many.mean(1).std() / 20
    if not (
        isinstance(latent, DenseLatent) and latent.kl_depends_on_draw
    ):  # their tails make the mean over 400 draws unreliable
        assert abs(float(many.mean() - elbo.mean())) < 5 * float(error)
    assert float(tight.mean()) > float(elbo.mean())
