"""What a fit depends on, as short texts by name: a checkpoint is continued only where all of them agree."""

import torch

from skvardict.storage.files import digest
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters, versions
from skvardict.storage.packing import Arrays


def fit_identity(estimator, X, X_val, device: torch.device, start: Arrays | None) -> dict[str, str]:
    """Return what a fit of `estimator` depends on.

    Parameters
    ----------
    estimator : estimator
    X, X_val : ndarray, Tensor or None
    device : torch.device
        Where the fit runs.
    start : dict of arrays or None
        The training state that a warm start continues.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others.
    """
    names = getattr(estimator, "feature_names_in_", None)
    return {
        **versions(),
        **fingerprint_parameters(estimator),
        "device type": device.type,
        "X": fingerprint(X, "X"),
        "X_val": fingerprint(X_val, "X_val"),
        "feature names": fingerprint(names, "the feature names"),
        "start": "anew" if start is None else f"after {int(start['counters'][0])} epochs, {digest(start)[:16]}",
    }
