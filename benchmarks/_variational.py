"""What the reproductions of the variational papers measure on a fitted model, and their figures."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._sparse_coding import ALPHA
from skvardict.display import DictionaryDisplay
from skvardict.metrics import (
    feature_collapse,
    gradient_snr,
    multi_information,
    posterior_collapse,
    r2,
    sparse_coding_objective,
    sparsity,
)

_ROWS_AT_A_TIME = 200  # with 100 draws of 512 components: 41 MB


def best_draws(model, X: NDArray, n_draws: int, seed: int = 0) -> NDArray:
    """Return, for each row, the posterior draw of smallest squared error; every row has noise of its own.

    `transform_algorithm="max_elbo"` shares one bank of noise between rows, which would make them share supports.
    """
    found = []
    for index, start in enumerate(range(0, len(X), _ROWS_AT_A_TIME)):
        rows = X[start : start + _ROWS_AT_A_TIME]
        draws = model.sample_codes(rows, n_draws, random_state=seed + index)
        decoded = model.inverse_transform(draws.reshape(-1, draws.shape[2])).reshape(n_draws, len(rows), -1)
        best = ((decoded - rows) ** 2).mean(2).argmin(0)
        found.append(draws[best, np.arange(len(rows))])
    return np.concatenate(found)


def describe_codes(X: NDArray, codes: NDArray, model) -> dict[str, float]:
    """Return the sparse-coding objective with its terms and baseline, multi-information, sparsity, feature collapse."""
    decoded = model.inverse_transform(codes)
    objective = sparse_coding_objective(X, decoded, codes, alpha=ALPHA)
    return {
        "validation_loss": objective.total,
        "reconstruction": objective.reconstruction,
        "l1": objective.l1,
        "zero_code": objective.zero_code,
        "r2": r2(X, decoded),
        "mse": float(((X - decoded) ** 2).mean()),
        "nonzero": 1 - sparsity(codes),
        "feature_collapse": feature_collapse(codes),
        **information(codes),
    }


def information(codes: NDArray) -> dict[str, float]:
    """Return multi-information by every method that has rows enough."""
    methods = ("binned", "gaussian", "copula") if len(codes) > codes.shape[1] else ("binned",)
    return {f"information_{method}": multi_information(codes, method=method) for method in methods}


def divergences(model, X: NDArray) -> NDArray:
    """Return the trained KL (of thresholded models that of the base variables) of every row and component, in nats."""
    fitted = model._model(torch.device("cpu"))
    with torch.no_grad():
        posterior = fitted.posterior(torch.from_numpy(X))
        return fitted.latent.kl(posterior, fitted.latent.summary(posterior)["code_mean"])["kl"].numpy()


def describe_posterior(model, X: NDArray, codes: NDArray, kl_weight: float, n_iwae_draws: int) -> dict[str, float]:
    """Return bounds in nats per row, the training objective at the given codes, and posterior collapse."""
    kl = divergences(model, X)
    error = ((X - model.inverse_transform(codes)) ** 2).mean()
    return {
        "iwae_bound": float(np.mean(model.iwae(X, n_iwae_draws, random_state=0))),
        "elbo": float(np.mean(model.elbo(X, random_state=0))),
        # No bound: the divergence is that of the base variables. The paper's column IWAE resembles it.
        "objective": float(error + kl_weight * kl.sum(1).mean()),
        "kl": float(kl.sum(1).mean()),
        "posterior_collapse": posterior_collapse(kl),
    }


def prior_nonzero(model, n_samples: int = 4000) -> float:
    """Return the fraction of non-zero entries in codes drawn from the prior."""
    return 1 - sparsity(model.sample_prior_codes(n_samples, random_state=0))


def gradient_ratios(model, X: NDArray, n_draws: int) -> dict[str, float]:
    """Return the signal-to-noise ratios of encoder and decoder gradients on one batch, and what noise alone gives."""
    objective = model._build_objective(copy.deepcopy(model._model(torch.device("cpu"))), len(X), model._plan(len(X)))
    parts = objective.modules()
    for module in parts.values():
        module.requires_grad_(True)
    batch, generator = torch.from_numpy(X), torch.Generator().manual_seed(0)

    def loss():
        return torch.stack(list(objective.step(batch, generator)[0].values())).sum()

    groups = {name: list(part.parameters()) for name, part in parts.items()}
    ratios = gradient_snr(loss, groups, n_draws=n_draws, reduction=None)
    reductions = {"mean": np.nanmean, "median": np.nanmedian}
    return {
        **{f"snr_{part}_{name}": reduce(r) for part, r in ratios.items() for name, reduce in reductions.items()},
        "snr_floor": float(np.sqrt(2 / (np.pi * n_draws))),
    }


def dictionary_sheets(dictionaries: dict[str, NDArray], image_shape: tuple[int, int], n_atoms: int = 100):
    """Return a figure with the largest atoms of each dictionary, every atom scaled on its own."""
    import matplotlib.pyplot as plt  # noqa: TID251

    n_columns = min(4, len(dictionaries))
    n_rows = -(-len(dictionaries) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, squeeze=False, figsize=(3.2 * n_columns, 3.4 * n_rows), layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, atoms) in zip(axes.flat, dictionaries.items()):
        display = DictionaryDisplay.from_components(atoms, image_shape=image_shape, order="norm", n_atoms=n_atoms)
        display.plot(ax, title=name)
        ax.title.set_fontsize(9)
    return figure
