"""The methods of Fallah & Rozell (2022) as estimators: the one place where their settings stand."""

from skvardict import SpikeAndSlabVSC, ThresholdedVSC
from skvardict.networks import Conv
from skvardict.training import Adam, CosineRate, Decay, Ramp

# Thresholds of the paper (appendix D): 8.2 % of the Laplace and 10 % of the Gaussian components are on under the prior;
# with a Gamma prior of these means, 16.2 and 21.4 %. A posterior and a prior of one dense law are a threshold of zero.
METHODS = {
    "thresholded_laplace": {"base": "laplace", "threshold": 0.25},
    "thresholded_laplace_gamma": {"base": "laplace", "threshold": 0.25, "threshold_prior": "gamma"},
    "thresholded_gaussian": {"base": "gaussian", "threshold": 0.52},
    "thresholded_gaussian_gamma": {"base": "gaussian", "threshold": 0.52, "threshold_prior": "gamma"},
    "spike_and_slab": {},
    "laplace": {"base": "laplace", "threshold": 0.0},
    "gaussian": {"base": "gaussian", "threshold": 0.0},
}
_NOISE_WARMUP = (0.1, 1500, 6000)  # start, begin, end in steps of the paper's 240,000
_TEMPERATURE_DECAY = 0.9995  # a step


def build_linear(method: str, *, n_draws: int, epochs: int, seed: int, speedup: float = 1.0, **changes):
    """Return a model of Table 1 on 16 x 16 patches, with all warm-ups `speedup` times as fast as in the paper."""
    start, begin, end = _NOISE_WARMUP
    settings = {**METHODS[method], "n_draws": n_draws, "max_iter": epochs, "random_state": seed, **changes}
    if settings.get("base") != "gaussian":
        settings["warmup"] = Ramp(start, int(begin / speedup), int(end / speedup))
    if method == "spike_and_slab":
        return SpikeAndSlabVSC(temperature=Decay(1.0, 0.5, _TEMPERATURE_DECAY**speedup), **settings)
    return ThresholdedVSC(**settings)


def build_conv(
    method: str,
    network: str,
    n_components: int,
    probability: float,
    *,
    n_draws: int,
    epochs: int,
    seed: int,
    batch_size: int,
    image_shape: tuple[int, ...],
    kl_weight: float,
):
    """Return a model with the paper's convolutional networks; `probability` sets the share on under the prior."""
    settings = {**METHODS[method]}
    kind = SpikeAndSlabVSC if method == "spike_and_slab" else ThresholdedVSC
    if method != "gaussian":
        settings |= {"activation_probability": probability}
        settings.pop("threshold", None)
    if kind is ThresholdedVSC:
        settings["threshold_kl_weight"] = kl_weight / 10
    return kind(
        n_components,
        **settings,
        kl_weight=kl_weight,
        n_draws=n_draws,
        encoder=Conv(image_shape, network=network),
        decoder=Conv(image_shape, network=network),
        optimizer=Adam(
            3e-4, betas=(0.5, 0.999), weight_decay=1e-5, encoder_weight_decay=1e-5, schedule=CosineRate(0.05)
        ),
        batch_size=batch_size,
        max_iter=epochs,
        random_state=seed,
    )
