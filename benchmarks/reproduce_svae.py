"""Reproduce "Improved Training of Sparse Coding Variational Autoencoder via Weight Normalization" (2021).

    python -m benchmarks.reproduce_svae patches     # MSE, active filters with and without unit norm: Table 1, Figs 1-5
    python -m benchmarks.reproduce_svae mnist       # the same two models on MNIST: Figures 6, 9, 10

The paper (Jiang & de la Iglesia) leaves open the weight of the KL term, optimiser, sizes and patch scale. Here: Adam
1e-3, batch 128, 3,000 steps, whitened patches of variance 0.1 with their mean removed, 8 photographs to train and 2
to test. --be is b_e of the loss "sum of squares + b_e KL": kl_weight is b_e / n_features. Models and rows are kept in
--runs and found again; tables and figures go to --results.
"""

import argparse
import sys

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks._experiment import Experiment, add_common_arguments
from benchmarks._variational import dictionary_sheets, divergences
from benchmarks._whitened import PATCH, load_centred
from skvardict import SparseVAE, StandardDictionaryLearning, recipes
from skvardict.datasets import fetch_mnist
from skvardict.display import ActivityDisplay, SamplesDisplay
from skvardict.metrics import active_components, sparsity
from skvardict.networks import MLP, ResidualMLP, ResNet
from skvardict.solvers import ISTA

# Of natural images (Table 1, Figure 5): MSE over draws, and active filters of 450. The text counts by a standard
# deviation, the caption of Figure 5 by a maximum. Of MNIST the paper has no numbers.
PUBLISHED = pd.DataFrame(
    [("sparse_coding", 0.0150, None), ("svae", 0.00875, 154), ("svae_norm", 0.00769, 374)],
    columns=["model", "published_mse", "published_active"],
)
NAMES = {"svae": "SVAE", "svae_norm": "SVAE-Norm"}  # of the recipes
ENCODERS = {"mlp": MLP, "residual_mlp": ResidualMLP, "resnet": ResNet}
N_TRIALS = 50
BUDGET = ("n_train", "n_test", "steps", "n_components", "hidden", "sparse_alpha")


def build(arguments, model: str, encoder: str, be: float, n_features: int, n_rows: int, seed: int) -> SparseVAE:
    """Return one of the two models; they differ in `atom_norm` only."""
    return recipes.svae(
        NAMES[model],
        kl_weight_sum=be,
        n_features=n_features,
        n_components=arguments.n_components,
        encoder=ENCODERS[encoder](tuple(arguments.hidden)),
        max_iter=max(1, round(arguments.steps / -(-n_rows // 128))),
        random_state=seed,
    )


def patches(arguments, experiment: Experiment) -> None:
    """Compare SVAE, SVAE-Norm and sparse coding on whitened patches."""
    rows = load_centred(arguments.n_train, arguments.n_test)
    run(arguments, experiment, rows.train, rows.test, PATCH)
    if arguments.sparse_coding:
        coder = StandardDictionaryLearning(
            arguments.n_components,
            alpha=arguments.sparse_alpha,
            encoder=None,
            positive_code=False,
            solver=ISTA(tol=1e-2),
            max_iter=max(1, round(arguments.steps / -(-len(rows.train) // 250))),
            early_stopping=False,
            random_state=arguments.seeds[0],
        )
        coder = experiment.fit(coder, rows.train)
        key = {"model": "sparse_coding", "encoder": "none", "be": None, "seed": arguments.seeds[0]}
        experiment.add(key, lambda: measure_sparse_coding(coder, rows.test))
        experiment.draw("_sparse_coding_activity", ActivityDisplay.from_estimator(coder, rows.test[:3]).plot().figure_)
    finish(experiment, PUBLISHED)


def mnist(arguments, experiment: Experiment) -> None:
    """Compare SVAE and SVAE-Norm on MNIST, pixels in [0, 1]."""
    X_train, X_test = (fetch_mnist(split, standardize=False).data for split in ("train", "test"))
    run(arguments, experiment, X_train[: arguments.n_train], X_test[: arguments.n_test], (28, 28))
    finish(experiment)


def run(arguments, experiment: Experiment, X_train: NDArray, X_test: NDArray, shape: tuple[int, int]) -> None:
    """Fit and measure all models, and draw the figures of the first seed."""
    for encoder in arguments.encoders:
        for be in arguments.be:
            for seed in arguments.seeds:
                fitted = {}
                for name in NAMES:
                    model = build(arguments, name, encoder, be, X_train.shape[1], len(X_train), seed)
                    fitted[name] = experiment.fit(model, X_train)
                    key = {"model": name, "encoder": encoder, "be": be, "seed": seed}
                    experiment.add(key, lambda m=fitted[name]: measure(m, X_test))
                if seed == arguments.seeds[0] and None not in fitted.values():
                    draw(experiment, f"_{encoder}_be{be:g}", fitted, X_test, shape)


def measure(model, X: NDArray) -> dict:
    """Return errors, active filters by every definition, and atom norms."""
    if model is None:
        return {"diverged": True}
    means = model.transform(X)
    trials = [
        ((X - model.inverse_transform(model.sample_codes(X, 1, random_state=trial)[0])) ** 2).mean()
        for trial in range(N_TRIALS)
    ]
    norms = np.linalg.norm(model.components_, axis=1)
    criteria = {f"active_{name}": means for name in ("max", "quantile", "std", "variance")}
    return {
        "diverged": False,
        "kl_weight": model.kl_weight,
        "mse_of_mean": float(((X - model.inverse_transform(means)) ** 2).mean()),
        "mse_of_draws": float(np.mean(trials)),
        "mse_of_draws_std": float(np.std(trials)),
        **{name: count(values, name.removeprefix("active_")) for name, values in criteria.items()},
        "active_kl": count(divergences(model, X), "kl"),
        **{f"norm_q{q}": float(np.quantile(norms, q / 100)) for q in (1, 25, 50, 75, 99)},
        "n_test": len(X),
        "n_steps": model.n_steps_,
        "fit_seconds": model.fit_seconds_,
    }


def count(values: NDArray, criterion: str) -> int:
    return int(active_components(values, criterion=criterion).sum())


def measure_sparse_coding(model, X: NDArray) -> dict:
    """Return the same of sparse coding, where there is something of the kind."""
    codes = model.transform(X)
    return {
        "diverged": False,
        "alpha": model.alpha,
        "nonzero": 1 - sparsity(codes),
        "mse_of_mean": float(((X - model.inverse_transform(codes)) ** 2).mean()),
        **{f"active_{name}": count(codes, name) for name in ("max", "quantile", "std", "variance")},
        "n_test": len(X),
        "n_steps": model.n_steps_,
        "fit_seconds": model.fit_seconds_,
    }


def finish(experiment: Experiment, published: pd.DataFrame | None = None) -> None:
    """Write the table with published values, and the ratios of SVAE-Norm to SVAE: active filters, errors."""
    table = pd.DataFrame(experiment.rows)
    experiment.write(table=table if published is None else table.merge(published, how="left", on="model"))
    by_model = table.pivot_table(index=["encoder", "be", "seed"], columns="model")
    columns = ["active_max", "mse_of_mean", "mse_of_draws"]
    if {"svae", "svae_norm"} <= set(table["model"]) and set(columns) <= set(table.columns):
        ratios = pd.DataFrame({name: by_model[name]["svae_norm"] / by_model[name]["svae"] for name in columns})
        experiment.write("_ratios", ratios.reset_index())


def draw(experiment: Experiment, suffix: str, fitted: dict, X: NDArray, shape: tuple[int, int]) -> None:
    """Draw filters, active and inactive groups, activity, reconstructions and samples."""
    import matplotlib.pyplot as plt  # noqa: TID251

    experiment.draw(f"{suffix}_filters", dictionary_sheets({n: m.components_ for n, m in fitted.items()}, shape))
    groups = {name: active_components(model.transform(X)) for name, model in fitted.items()}
    sheets = {
        f"{name}: {mask.sum()} {label}": fitted[name].components_[mask]
        for name, active in groups.items()
        for label, mask in (("active", active), ("inactive", ~active))
        if mask.any()
    }
    experiment.draw(f"{suffix}_groups", dictionary_sheets(sheets, shape))
    experiment.draw(f"{suffix}_norms", norms_and_deviations(fitted, groups, X))
    figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
    for ax, (name, model) in zip(axes, fitted.items()):
        SamplesDisplay.from_estimator(model, n_samples=36, image_shape=shape, random_state=0).plot(
            ax, title=f"{name}: samples from the prior"
        )
    experiment.draw(f"{suffix}_samples", figure)
    figure, axes = plt.subplots(len(fitted) + 1, 1, figsize=(8, 1 + len(fitted)), layout="constrained")
    shown = {"test rows": X[:10], **{name: model.reconstruct(X[:10]) for name, model in fitted.items()}}
    for ax, (name, rows) in zip(axes, shown.items()):
        SamplesDisplay.from_rows(rows, image_shape=shape, n_columns=10).plot(ax, title=name)
    experiment.draw(f"{suffix}_reconstructions", figure)
    for name, model in fitted.items():
        experiment.draw(
            f"{suffix}_activity_{name}", ActivityDisplay.from_estimator(model, X[:3], image_shape=shape).plot().figure_
        )


def norms_and_deviations(fitted: dict, groups: dict[str, NDArray], X: NDArray):
    """Return Figure 5b: deviation of the activity against the norm of the atom, for both groups."""
    import matplotlib.pyplot as plt  # noqa: TID251

    size = (4 * len(fitted), 3)
    figure, axes = plt.subplots(
        1, len(fitted), figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for ax, (name, model) in zip(axes[0], fitted.items()):
        norms, deviations = np.linalg.norm(model.components_, axis=1), model.transform(X).std(0)
        for label, mask in (("active", groups[name]), ("inactive", ~groups[name])):
            ax.scatter(norms[mask], deviations[mask], s=6, label=f"{mask.sum()} {label}")
        ax.set(title=name, xlabel="norm of the atom", ylabel="deviation of the mean code", yscale="log")
        ax.legend()
    return figure


COMMANDS = {
    "patches": (patches, "svae_patches", {"n_train": 30_000, "n_test": 10_000}, [0.005, 0.02, 0.1]),
    "mnist": (mnist, "svae_mnist", {"n_train": 10_000, "n_test": 2000}, [0.005, 0.02, 0.1]),
}


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, _, sizes, be) in COMMANDS.items():
        command = commands.add_parser(name, description=function.__doc__, help=function.__doc__)
        add_common_arguments(command, **sizes)
        command.add_argument("--steps", type=int, default=3000)
        command.add_argument("--n-components", type=int, default=450)
        command.add_argument("--hidden", type=int, nargs="+", default=[512, 512], help="hidden layers of the encoder")
        command.add_argument("--be", type=float, nargs="+", default=be)
        command.add_argument("--encoders", nargs="+", choices=list(ENCODERS), default=list(ENCODERS))
        if name == "patches":
            command.add_argument("--sparse-coding", action=argparse.BooleanOptionalAction, default=True)
            command.add_argument("--sparse-alpha", type=float, default=2e-3)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    function, name, *_ = COMMANDS[arguments.command]
    function(arguments, Experiment(arguments, "benchmarks.reproduce_svae", name, argv or sys.argv[1:], BUDGET))


if __name__ == "__main__":
    main()
