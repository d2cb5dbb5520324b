"""The methods of Fallah & Rozell (ICML 2022)."""

from collections.abc import Sequence
from typing import Any

from skvardict.estimators import SpikeAndSlabVSC, ThresholdedVSC
from skvardict.networks import MLP, Conv
from skvardict.training import SGD, Adam, CosineRate, Decay, Ramp, StepDecay

# Thresholds of appendix D: 8.2 % of the Laplace and 10 % of the Gaussian components are on under the prior; with a
# Gamma prior of these means, 16.2 and 21.4 %. A posterior and a prior of one dense law are a threshold of zero.
VSC_METHODS: dict[str, dict[str, Any]] = {
    "thresholded_laplace": {"base": "laplace", "threshold": 0.25},
    "thresholded_laplace_gamma": {"base": "laplace", "threshold": 0.25, "threshold_prior": "gamma"},
    "thresholded_gaussian": {"base": "gaussian", "threshold": 0.52},
    "thresholded_gaussian_gamma": {"base": "gaussian", "threshold": 0.52, "threshold_prior": "gamma"},
    "spike_and_slab": {},
    "laplace": {"base": "laplace", "threshold": 0.0},
    "gaussian": {"base": "gaussian", "threshold": 0.0},
}
# Of linear generators; a run of another length has schedules of the same shape.
_EPOCHS, _BATCH_SIZE, _STEPS = 300, 100, 240_000
# Of the divergences, by whether .01 and .001 stand beside the mean of 256 squares or beside their sum.
_WEIGHTS = {"released": 1.0, "printed": 1 / 256}


def vsc(
    method: str, *, n_draws: int = 20, weights: str = "released", **changes: Any
) -> ThresholdedVSC | SpikeAndSlabVSC:
    """Return a model of Table 1: a linear generator of 256 atoms on 16 x 16 whitened patches.

    Parameters
    ----------
    method : str
        A key of ``VSC_METHODS``.
    n_draws : int, default=20
        J; the paper has 1 and 20.
    weights : {"released", "printed"}, default="released"
        Of the divergences: beta = .01 (and .001 for a random threshold) beside the *mean* of the squared errors, as in
        the released code, or beside their *sum*, as printed in eq. 5 and 12. With 256 features the printed weights are
        1/256 of the others. Loss and learning rates are in the units of the mean either way.
    **changes
        Parameters to replace. With another `max_iter`, warm-ups and decays keep their shares of training.

    Returns
    -------
    estimator
        Not fitted.

    Raises
    ------
    ValueError
        If there is no such method, or there are no such weights.

    References
    ----------
    Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, section 4.1, eq. 5 and 12,
    appendices C and D.

    Examples
    --------
    >>> from skvardict import recipes
    >>> recipes.vsc("thresholded_laplace", n_draws=1).threshold
    0.25
    """
    if weights not in _WEIGHTS:
        raise ValueError(f"There are no weights {weights!r}. Weights are {', '.join(_WEIGHTS)}.")
    settings = {
        **_settings(method),
        "expectation": "draws",
        "n_draws": n_draws,
        "kl_weight": 0.01 * _WEIGHTS[weights],
        "encoder": MLP((512, 1024, 512, 256)),
        "optimizer": SGD(
            1e-2,
            dictionary_learning_rate=0.5,
            dictionary_weight_decay=1e-4,
            schedule=CosineRate(0.05),
            dictionary_schedule=StepDecay(0.99, 1, total=_EPOCHS),
        ),
        "batch_size": _BATCH_SIZE,
        "max_iter": _EPOCHS,
    }
    if settings.get("base") != "gaussian":  # the released code warms up Laplace bases and slabs only
        settings["warmup"] = Ramp(0.1, 1500 / _STEPS, 6000 / _STEPS, unit="fraction")
    if method == "spike_and_slab":
        return SpikeAndSlabVSC(**{**settings, "temperature": Decay(1.0, 0.5, 0.9995, total=_STEPS), **changes})
    return ThresholdedVSC(**{**settings, "threshold_kl_weight": 0.001 * _WEIGHTS[weights], **changes})


def vsc_conv(
    method: str,
    network: str,
    *,
    n_components: int,
    activation_probability: float = 0.1,
    image_shape: Sequence[int],
    n_draws: int = 20,
    kl_weight: float = 0.01,
    **changes: Any,
) -> ThresholdedVSC | SpikeAndSlabVSC:
    """Return a model with the paper's convolutional networks.

    Parameters
    ----------
    method : str
        A key of ``VSC_METHODS``.
    network : {"fmnist", "celeba", "conv"}
        Tables 5 and 4 of the paper; "conv" is a small one for other images.
    n_components : int
        64, 512, 2048 or 4096 in Figure 7.
    activation_probability : float, default=0.1
        Share on under the prior; sets the threshold of thresholded methods.
    image_shape : tuple
    n_draws : int, default=20
        20 for Fashion-MNIST, 10 for CelebA.
    kl_weight : float, default=0.01
        0.01 for Fashion-MNIST, 0.001 for CelebA, beside the mean over pixels as in the released code; as printed they
        stand beside a sum: divide them by the number of pixels.
    **changes
        Parameters to replace.

    Returns
    -------
    estimator
        Not fitted.

    References
    ----------
    Fallah & Rozell, ICML 2022, section 4.2, Tables 4 and 5.

    Examples
    --------
    >>> from skvardict import recipes
    >>> recipes.vsc_conv("gaussian", "fmnist", n_components=64, image_shape=(28, 28)).batch_size
    512
    """
    settings = {
        **_settings(method),
        "n_components": n_components,
        "kl_weight": kl_weight,
        "n_draws": n_draws,
        "encoder": Conv(image_shape, network=network),
        "decoder": Conv(image_shape, network=network),
        "optimizer": Adam(
            3e-4, betas=(0.5, 0.999), weight_decay=1e-5, encoder_weight_decay=1e-5, schedule=CosineRate(0.05)
        ),
        "batch_size": 512,
        "max_iter": _EPOCHS,
    }
    if method not in ("gaussian", "laplace"):
        settings["activation_probability"] = activation_probability
        settings.pop("threshold", None)
    if method == "spike_and_slab":
        return SpikeAndSlabVSC(**{**settings, **changes})
    return ThresholdedVSC(**{**settings, "threshold_kl_weight": kl_weight / 10, **changes})


def _settings(method: str) -> dict[str, Any]:
    if method not in VSC_METHODS:
        raise ValueError(f"There is no method {method!r}. Methods are {', '.join(VSC_METHODS)}.")
    return dict(VSC_METHODS[method])
