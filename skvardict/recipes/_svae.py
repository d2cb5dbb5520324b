"""SVAE and SVAE-Norm (Jiang & de la Iglesia 2021)."""

from typing import Any, Literal

from skvardict.estimators import SparseVAE
from skvardict.training import Adam

_N_COMPONENTS = 450


def svae(
    name: Literal["SVAE", "SVAE-Norm"], *, kl_weight_sum: float = 0.02, n_features: int = 256, **changes: Any
) -> SparseVAE:
    """Return SVAE or SVAE-Norm: 450 latents, a Laplace prior of scale 0.1, an encoder of ResNet blocks.

    Parameters
    ----------
    name : {"SVAE", "SVAE-Norm"}
        They differ in the norm of the atoms only.
    kl_weight_sum : float, default=0.02
        Weight of the divergence beside the *sum* of squares, ``2 sigma^2 beta``: the paper leaves it open. At 0.02 the
        paper's effect on the number of active filters shows.
    n_features : int, default=256
        16 x 16 whitened patches.
    **changes
        Parameters to replace.

    Returns
    -------
    estimator : SparseVAE
        Not fitted.

    Raises
    ------
    ValueError
        If there is no such model.

    Notes
    -----
    Optimiser, batch size and steps are not in the paper: Adam at 1e-3 and batches of 128 are this package's.

    References
    ----------
    Jiang & de la Iglesia, Improved training of sparse coding variational autoencoder via weight normalization, 2021.

    Examples
    --------
    >>> from skvardict import recipes
    >>> recipes.svae("SVAE-Norm").atom_norm
    1.0
    """
    norms = {"SVAE": None, "SVAE-Norm": 1.0}
    if name not in norms:
        raise ValueError(f"svae knows 'SVAE' and 'SVAE-Norm', but got {name!r}.")
    settings: dict[str, Any] = {
        "n_components": _N_COMPONENTS,
        "prior": "laplace",
        "prior_scale": 0.1,
        "kl_weight": kl_weight_sum / n_features,
        "expectation": "draws",
        "atom_norm": norms[name],
        "encoder": "resnet",
        "optimizer": Adam(1e-3),
        "batch_size": 128,
        "early_stopping": False,
    }
    return SparseVAE(**{**settings, **changes})
