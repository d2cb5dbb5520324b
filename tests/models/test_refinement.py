"""Mean-field steps: their minima, that they never raise the loss, and what they end at."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import optimize

from skvardict._utils.random import make_generator
from skvardict.distributions import Gaussian, Laplace, SpikeAndSlab, Thresholded, kl_divergence
from skvardict.energies import expected_reconstruction
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.refinement import refine
from skvardict.networks import LinearDecoder, MLPEncoder
from skvardict.networks.decoders import AffineDecoder, MLPDecoder

N, D, L, WEIGHT = 9, 6, 8, 0.02
PRIOR = SpikeAndSlab(Gaussian(scale=0.7), -1.5).like(torch.zeros((), dtype=torch.float64))


def draw(seed, *shape):
    return torch.randn(*shape, generator=make_generator(seed), dtype=torch.float64)


@pytest.fixture
def problem():
    """Rows, coherent atoms, and a posterior that has nothing to do with them."""
    X, atoms = draw(0, N, D), draw(1, L, D) + draw(2, 1, D)
    start = SpikeAndSlab(Gaussian(draw(3, N, L), draw(4, N, L).exp()), draw(5, N, L))
    return X, atoms, start


def loss_of(posterior, X, atoms, weight=WEIGHT):
    error = expected_reconstruction(X, posterior.mean @ atoms, posterior.variance, atoms)
    return error + weight * kl_divergence(posterior, PRIOR).sum(-1)


@pytest.mark.parametrize("weight", [1e-4, WEIGHT, 1.0])
def test_no_step_raises_the_loss_of_a_row(weight, problem):
    X, atoms, start = problem
    losses = [loss_of(refine(start, PRIOR, X, atoms, weight, n), X, atoms, weight) for n in range(30)]
    for before, after in pairwise(losses):
        assert (after <= before + 1e-12).all()
    assert (losses[-1] < losses[0]).all()


def test_one_step_on_one_component_is_the_minimum_over_its_posterior():
    X, atoms = draw(0, 3, D), draw(1, 1, D)
    start = SpikeAndSlab(Gaussian(draw(3, 3, 1), torch.ones(3, 1, dtype=torch.float64)), draw(5, 3, 1))
    found = refine(start, PRIOR, X, atoms, WEIGHT, 1)
    for row in range(3):

        def loss(values, row=row):
            mean, log_scale, logit = (torch.full((1, 1), value, dtype=torch.float64) for value in values)
            return float(loss_of(SpikeAndSlab(Gaussian(mean, log_scale.exp()), logit), X[row : row + 1], atoms))

        best = min(
            optimize.minimize(
                loss, (loc, -1.0, logit), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}
            ).fun
            for loc in (-0.5, 0.5)
            for logit in (-2.0, 2.0)
        )
        ours = float(loss_of(found.member(row), X[row : row + 1], atoms))
        np.testing.assert_allclose(ours, best, rtol=1e-8)


def test_the_end_is_that_of_coordinate_descent(problem):
    """From where steps have ended, no component alone can do better."""
    X, atoms, start = problem
    end = refine(start, PRIOR, X, atoms, WEIGHT, 3000)
    for component in range(L):
        held = end.mean @ atoms - end.mean[:, component, None] * atoms[component]
        alone = SpikeAndSlab(
            Gaussian(end.slab.loc[:, component, None], end.slab.scale[:, component, None]),
            end.logit[:, component, None],
        )
        better = refine(alone, PRIOR, X - held, atoms[component, None], WEIGHT, 1)
        np.testing.assert_allclose(better.mean, alone.mean, atol=1e-6)


def test_rows_are_refined_on_their_own(problem):
    X, atoms, start = problem
    together = refine(start, PRIOR, X, atoms, WEIGHT, 7).mean
    for row in range(N):
        alone = SpikeAndSlab(Gaussian(start.slab.loc[row, None], start.slab.scale[row, None]), start.logit[row, None])
        np.testing.assert_allclose(refine(alone, PRIOR, X[row, None], atoms, WEIGHT, 7).mean[0], together[row])


def test_natural_parameters_are_those_of_the_density():
    law = SpikeAndSlab(Gaussian(draw(0, L), draw(1, L).exp()), draw(2, L))
    gate, linear, square = law.natural
    values = draw(3, L)
    odds = law.log_prob(values) - law.log_prob(torch.zeros(L, dtype=torch.float64))
    expected = gate + linear * values + square * values.square() - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(odds, expected, rtol=1e-9)
    back = SpikeAndSlab.from_natural(gate, linear, square)
    for ours, theirs in ((back.slab.loc, law.slab.loc), (back.slab.scale, law.slab.scale), (back.logit, law.logit)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def model_of(latent, decoder, weight=WEIGHT):
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        encoder = MLPEncoder(D, latent.n_heads * L, (16,))
    made = VariationalModel(decoder, encoder, latent, L, D, {"kl": weight})
    for module in made.modules().values():
        module.double().requires_grad_(False)
    return made


@pytest.mark.parametrize("decoder", [LinearDecoder, AffineDecoder])
def test_codes_are_the_support_of_the_refined_posterior(decoder):
    latent = SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.7), -1.5), starts_at_prior=True)
    made, X = model_of(latent, decoder(L, D, make_generator(0))), 2 * draw(7, N, D)
    if decoder is AffineDecoder:
        made.decoder.offset.fill_(0.5)
    codes, encoded = made.encode(X, "refine").codes, made.encode(X, "support").codes
    assert 0 < torch.count_nonzero(codes) < N * L
    error = [float((made.decode(some) - X).square().mean()) for some in (codes, encoded)]
    assert error[0] < 0.7 * error[1]
    # With no weight there is no minimum to go to.
    still = model_of(latent, decoder(L, D, make_generator(0)), weight=0.0)
    assert torch.equal(still.encode(X, "refine").codes, still.encode(X, "support").codes)


@pytest.mark.parametrize(
    ("latent", "decoder"),
    [
        (DenseLatent(Laplace()), LinearDecoder(L, D, make_generator(0))),
        (ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), True), LinearDecoder(L, D, make_generator(0))),
        (SpikeAndSlabLatent(SpikeAndSlab(Gaussian(), 0.0)), MLPDecoder(L, D, (9,), make_generator(4))),
    ],
)
def test_what_has_no_minima_in_closed_form_is_refused(latent, decoder):
    with pytest.raises(
        ValueError, match="'refine' needs a spike-and-slab prior and decoder='linear', but the prior is"
    ):
        model_of(latent, decoder).check_algorithm("refine")
