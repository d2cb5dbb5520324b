"""The families of codes: heads of the encoder, warm-ups, divergences."""

import numpy as np
import torch

from skvardict._utils.random import make_generator
from skvardict.distributions import Gaussian, Laplace, SpikeAndSlab, Thresholded
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent
from skvardict.models.latents import Anneal

L = 5


def test_warm_up_scales_the_noise_and_not_the_divergence():
    latent = ThresholdedLatent(Thresholded(Laplace(scale=1.0), 0.2), straight_through=True)
    outputs = torch.zeros(2, 2 * L, dtype=torch.float64)
    posterior = latent.posterior(outputs)  # mean 0, scale 1
    noise = (torch.full((2, L), 3.0, dtype=torch.float64),)
    np.testing.assert_allclose(latent.codes(posterior, noise, Anneal(noise=0.1)), 0.1)
    np.testing.assert_allclose(latent.codes(posterior, noise, Anneal()), 2.8)
    slab = SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.5), -0.85))
    on = slab.posterior(torch.full((2, 3 * L), 2.0, dtype=torch.float64))
    unit = (torch.ones(2, L, dtype=torch.float64), torch.zeros(2, L, dtype=torch.float64))
    expected = 0.25 * 2 + (0.25 * np.exp(1.0) + 0.75**0.5)
    np.testing.assert_allclose(slab.codes(on, unit, Anneal(noise=0.25)), expected)


def scale_of(prior):
    return prior.base.scale if isinstance(prior, Thresholded) else prior.scale


def test_an_encoder_of_zeros_gives_the_prior(latent):
    outputs = torch.zeros(2, latent.n_heads * L, dtype=torch.float64)
    posterior = latent.posterior(outputs)
    if isinstance(latent, SpikeAndSlabLatent):  # its heads are the slab's own, not relative to the prior
        summary = latent.summary(posterior)
        assert (summary["scale"] == 1).all()
        assert (summary["activation_probability"] == 0.5).all()
        return
    if not isinstance(latent, DenseLatent):  # there the families differ
        for term, value in latent.kl(posterior, torch.ones(2, L, dtype=torch.float64)).items():
            np.testing.assert_allclose(value, 0, atol=1e-12, err_msg=term)
    np.testing.assert_allclose(latent.summary(posterior)["scale"], scale_of(latent.prior))


def test_the_mean_of_the_log_ratio_is_the_divergence(latent):
    outputs = torch.randn(3, latent.n_heads * L, generator=make_generator(0), dtype=torch.float64)
    posterior = latent.posterior(outputs)
    noise = latent.draw_noise(posterior, 40_000, make_generator(1))
    codes = latent.codes(posterior, noise, Anneal())
    ratio = latent.log_ratio(posterior, codes).sum(-1)
    kl = latent.code_kl(posterior, codes)
    kl = (kl.mean(0) if kl.dim() == 3 else kl).sum(-1)
    assert ((-ratio.mean(0) - kl).abs() < 5 * ratio.std(0) / 200).all()


def test_a_scale_beyond_its_range_finds_back(latent):
    """An optimiser may throw log scales far out; the divergence must pull them back, on both sides.

    At codes that are drawn, where it depends on them.
    """
    for head in (-80.0, 80.0):
        outputs = torch.zeros(1, latent.n_heads * L, dtype=torch.float64)
        outputs[:, L : 2 * L] = head
        outputs.requires_grad_()
        posterior = latent.posterior(outputs)
        codes = latent.codes(posterior, latent.draw_noise(posterior, 1, make_generator(0)), Anneal())
        value = latent.kl(posterior, codes)["kl"].sum()
        value.backward()
        assert value.isfinite()
        assert (outputs.grad[:, L : 2 * L] * np.sign(head) > 0).all()
