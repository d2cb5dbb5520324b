"""Reproduce "Variational Sparse Coding with Learned Thresholding" (Fallah & Rozell, ICML 2022).

    python -m benchmarks.reproduce_vsc table1       # eight methods on whitened patches: Table 1, Figures 3, 4, 9
    python -m benchmarks.reproduce_vsc table2       # straight-through against sub-gradient: Table 2
    python -m benchmarks.reproduce_vsc sampling     # max, mean and weighted draws: Figures 5, 18
    python -m benchmarks.reproduce_vsc prior        # share of components on: prior draws, course in training
    python -m benchmarks.reproduce_vsc weights      # the released weight of the divergence, and the printed one
    python -m benchmarks.reproduce_vsc fmnist       # convolutional generator on Fashion-MNIST: Figures 6, 7
    python -m benchmarks.reproduce_vsc celeba --folder FOLDER     # the same on CelebA: Figures 6-8, 20-23

The defaults are a reduced budget: 8,000 training and 1,600 test patches, 4,000 steps; warm-ups and decays have their
shares of it. The paper's is --n-train 80000 --n-test 16000 --steps 240000 --seeds 0 1337 747. Every fitted model and
every measured row is kept in --runs: a killed command continues where it was. Tables and figures go to --results and
are written anew after every row.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks._celeba import FlippedFit, load_celeba
from benchmarks._experiment import Experiment, add_common_arguments
from benchmarks._sparse_coding import build_fista
from benchmarks._variational import (
    best_draws,
    describe_codes,
    describe_posterior,
    dictionary_sheets,
    gradient_ratios,
    information,
    prior_nonzero,
)
from benchmarks._whitened import PATCH, load_standardized
from skvardict import recipes
from skvardict.datasets import fetch_fashion_mnist
from skvardict.metrics import (
    estimated_dictionary,
    frechet_distance,
    inception_features,
    jaccard_consistency,
    point_biserial,
    sparsity,
)

# Table 1: validation loss, multi-information by number of draws; the paper's column IWAE is no bound and left out.
PUBLISHED = pd.DataFrame(
    [
        ("fista", 1, 101, 87.5),
        ("gaussian", 1, 1350, 734),
        ("gaussian", 20, 1350, 736),
        ("laplace", 1, 596, 536),
        ("laplace", 20, 579, 534),
        ("spike_and_slab", 1, 252, 194),
        ("spike_and_slab", 20, 239, 196),
        ("thresholded_gaussian", 1, 232, 167),
        ("thresholded_gaussian", 20, 230, 176),
        ("thresholded_gaussian_gamma", 1, 285, 235),
        ("thresholded_gaussian_gamma", 20, 270, 229),
        ("thresholded_laplace", 1, 198, 180),
        ("thresholded_laplace", 20, 194, 191),
        ("thresholded_laplace_gamma", 1, 223, 238),
        ("thresholded_laplace_gamma", 20, 211, 233),
    ],
    columns=["method", "n_draws", "published_loss", "published_information"],
)
FIRST_METHODS = ("fista", "thresholded_laplace", "thresholded_gaussian", "spike_and_slab", "laplace", "gaussian")


# Arguments that change a measured row beside its key.
BUDGET = ("n_train", "n_test", "steps", "epochs", "batch_size", "snr_draws", "iwae_draws", "features")


def n_epochs(arguments) -> int:
    return max(1, round(arguments.steps / -(-arguments.n_train // arguments.batch_size)))


def linear(arguments, method: str, n_draws: int, seed: int, **changes):
    """Return an unfitted model of Table 1 at the budget of the command."""
    if method == "fista":
        return build_fista(256, epochs=n_epochs(arguments), seed=seed, batch_size=arguments.batch_size)
    budget = {"max_iter": n_epochs(arguments), "batch_size": arguments.batch_size}
    return recipes.vsc(method, n_draws=n_draws, random_state=seed, **budget, **changes)


def table1(arguments, experiment: Experiment) -> None:
    """All methods on whitened patches: losses, information, bounds, collapse, sparsity, gradients, dictionaries."""
    patches = load_standardized(arguments.n_train, arguments.n_test)
    dictionaries, courses = {}, []
    for seed in arguments.seeds:
        for n_draws in arguments.draws:
            for method in arguments.methods:
                if method == "fista" and n_draws != arguments.draws[0]:
                    continue
                model = experiment.fit(linear(arguments, method, n_draws, seed), patches.train)
                key = {"method": method, "n_draws": 1 if method == "fista" else n_draws, "seed": seed}
                experiment.add(key, lambda m=model, k=key: measure_linear(arguments, m, k, patches.test))
                if model is not None:
                    dictionaries[f"{method}, J = {key['n_draws']}"] = model.components_
                    courses.append(course(model, key))
                    experiment.draw("", dictionary_sheets(dictionaries, PATCH))
                    experiment.write("_course", pd.concat(courses))
    table = pd.DataFrame(experiment.rows).merge(PUBLISHED, how="left", on=["method", "n_draws"])
    experiment.write(table=table)
    if "snr_encoder_mean" in table:
        experiment.draw("_snr", snr_bars(table.dropna(subset=["snr_encoder_mean"])))


def measure_linear(arguments, model, key: dict, X: NDArray) -> dict:
    """Return a row of Table 1."""
    if model is None:
        return {"diverged": True}
    is_fista = key["method"] == "fista"
    codes = model.transform(X) if is_fista else best_draws(model, X, key["n_draws"])
    kappa = 1e-3 if is_fista else 1e-4
    row = {
        "diverged": False,
        **describe_codes(X, codes, model),
        "kappa_term": kappa * float((model.components_**2).sum()),
        "n_atoms_used": int(((model.components_**2).sum(1) > 0.1).sum()),
        "fit_seconds": model.fit_seconds_,
        "n_steps": model.n_steps_,
    }
    if not is_fista:
        row |= describe_posterior(model, X, codes, model.kl_weight, arguments.iwae_draws)
        row |= {"prior_nonzero": prior_nonzero(model)}
        row |= gradient_ratios(model, X[: arguments.batch_size], arguments.snr_draws)
    return row


def snr_bars(table: pd.DataFrame):
    """Return Figures 4 and 9."""
    import matplotlib.pyplot as plt  # noqa: TID251

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharey=True)
    for ax, part in zip(axes, ("encoder", "decoder")):
        ratios = table.pivot_table(index="method", columns="n_draws", values=f"snr_{part}_mean")
        ratios.plot.barh(ax=ax, title=f"gradient of the {part}", xlabel="signal to noise", ylabel="")
        ax.legend(title="J")
    return figure


def course(model, key: dict) -> pd.DataFrame:
    """Return the fraction of non-zero codes by epoch."""
    history = pd.DataFrame(model.history_)
    return pd.DataFrame({**key, "epoch": history["epoch"], "nonzero": 1 - history["sparsity"]})


def table2(arguments, experiment: Experiment) -> None:
    """Posterior and feature collapse with straight-through and with sub-gradients."""
    patches = load_standardized(arguments.n_train, arguments.n_test)
    for seed in arguments.seeds:
        for gradient in ("straight_through", "subgradient"):
            for n_draws in arguments.draws:
                key = {"gradient": gradient, "n_draws": n_draws, "method": "thresholded_laplace", "seed": seed}
                model = linear(arguments, "thresholded_laplace", n_draws, seed, gradient=gradient)
                model = experiment.fit(model, patches.train)
                experiment.add(key, lambda m=model, k=key: measure_linear(arguments, m, k, patches.test))


def sampling(arguments, experiment: Experiment) -> None:
    """Consistency of supports and dictionaries for the best, the mean and the weighted draw."""
    patches = load_standardized(arguments.n_train, arguments.n_test)
    dictionaries, consistency = {}, {}
    for seed in arguments.seeds:
        for n_draws in arguments.draws:
            for reduction in arguments.reductions:
                changes = {"draw_reduction": reduction}
                model = experiment.fit(
                    linear(arguments, "thresholded_laplace", n_draws, seed, **changes), patches.train
                )
                key = {"draw_reduction": reduction, "n_draws": n_draws, "seed": seed}
                experiment.add(key, lambda m=model: measure_sampling(m, patches.test))
                if model is not None:
                    dictionaries[f"{reduction}, J = {n_draws}"] = model.components_
                    consistency[f"{reduction}, J = {n_draws}"] = row_consistency(model, patches.test[:500])
                    experiment.draw("", dictionary_sheets(dictionaries, PATCH))
                    experiment.draw("_jaccard", histogram(consistency))


def row_consistency(model, X: NDArray, n_passes: int = 20) -> NDArray:
    """Return the Jaccard index of each row over single draws, with atoms that the model leaves unused."""
    return jaccard_consistency(model.sample_codes(X, n_passes, random_state=0))


def measure_sampling(model, X: NDArray) -> dict:
    """Return Jaccard indices of single draws and of best draws over 20 passes, and what chance would give.

    Over all atoms, and over those in use as in the paper: a collapsed model has none (nan).
    """
    if model is None:
        return {"diverged": True}
    passes = np.stack([best_draws(model, X[:500], model.n_draws, seed=1000 * k) for k in range(20)])
    draws = model.sample_codes(X[:500], 20, random_state=0)
    used = (model.components_**2).sum(1) > 0.1
    share = 1 - sparsity(draws)
    indices = {"jaccard": draws, "jaccard_of_best_draws": passes}
    return {
        "diverged": False,
        **{name: float(np.nanmean(jaccard_consistency(codes))) for name, codes in indices.items()},
        "jaccard_by_chance": share / (2 - share),
        **{
            f"{name}_used_atoms": float(np.nanmean(jaccard_consistency(codes, model.components_)))
            if used.any()
            else float("nan")
            for name, codes in indices.items()
        },
        "nonzero": share,
        "n_atoms_used": int(used.sum()),
        **{
            f"best_{name}": value
            for name, value in describe_codes(X, best_draws(model, X, model.n_draws), model).items()
        },
        "fit_seconds": model.fit_seconds_,
    }


def histogram(consistency: dict[str, NDArray]):
    """Return Figure 5."""
    import matplotlib.pyplot as plt  # noqa: TID251

    figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    for name, values in consistency.items():
        ax.hist(values, bins=40, histtype="step", label=name, density=True)
    ax.set_xlabel("mean pairwise Jaccard index of a row")
    ax.legend(fontsize=8)
    return figure


def prior(arguments, experiment: Experiment) -> None:
    """Set the share of components that are on in prior draws beside `activation_probability`, for both thresholds."""
    patches = load_standardized(arguments.n_train, arguments.n_test)
    courses = []
    for seed in arguments.seeds:
        for method in arguments.methods:
            for probability in arguments.probabilities:
                changes, n_draws = {"activation_probability": probability, "threshold": None}, arguments.draws[0]
                model = experiment.fit(linear(arguments, method, n_draws, seed, **changes), patches.train)
                key = {"method": method, "activation_probability": probability, "n_draws": n_draws, "seed": seed}
                experiment.add(key, lambda m=model: measure_prior(m, patches.test))
                if model is not None:
                    courses.append(course(model, key))
                    experiment.write("_course", pd.concat(courses))


def measure_prior(model, X: NDArray) -> dict:
    """Return the share on: of the prior, of posterior draws, and of best draws of test rows."""
    if model is None:
        return {"diverged": True}
    draws = model.sample_codes(X[:500], 20, random_state=0)
    return {
        "diverged": False,
        "prior_nonzero": prior_nonzero(model, 20_000),
        "posterior_nonzero": 1 - sparsity(draws),
        "best_nonzero": 1 - sparsity(best_draws(model, X, model.n_draws)),
        "n_steps": model.n_steps_,
    }


def fmnist(arguments, experiment: Experiment) -> None:
    """Convolutional generator on Fashion-MNIST by latent size and share on; components that stand for classes."""
    train, test = (fetch_fashion_mnist(split, standardize=False) for split in ("train+validation", "test"))
    classes = pd.get_dummies(pd.Series(np.asarray(test.target_names)[test.target[: arguments.n_test]]), dtype=int)
    X_train, X_test = train.data[: arguments.n_train], test.data[: arguments.n_test]
    convolutional(arguments, experiment, X_train, X_test, (28, 28), "fmnist", classes)


def celeba(arguments, experiment: Experiment) -> None:
    """Convolutional generator on CelebA, whose training images are flipped at random; components and attributes."""
    data = load_celeba(arguments.folder, arguments.runs, arguments.n_train, arguments.n_test)
    convolutional(arguments, experiment, data.train, data.test, (3, 64, 64), "celeba", data.attributes)


def convolutional(arguments, experiment: Experiment, X_train, X_test, image_shape, network, attributes) -> None:
    """Fit every method at every latent size and share on; faces are flipped at random."""
    sheets, correlations = {}, []
    extractor = inception_features(image_shape) if arguments.features == "inception" else None
    for seed, n_components, method, probability in conv_grid(arguments):
        model = recipes.vsc_conv(
            method,
            network,
            n_components=n_components,
            activation_probability=probability,
            image_shape=image_shape,
            n_draws=arguments.draws[0],
            kl_weight=0.01 if network == "fmnist" else 0.001,
            max_iter=arguments.epochs,
            batch_size=arguments.batch_size,
            device=arguments.device,
            random_state=seed,
        )
        is_flipped = network == "celeba"
        model = experiment.fit(FlippedFit(model, image_shape, seed) if is_flipped else model, X_train)
        model = model.estimator_ if model is not None and is_flipped else model
        key = {"method": method, "n_components": n_components, "share_on": probability}
        key |= {"n_draws": arguments.draws[0], "seed": seed}
        experiment.add(key, lambda m=model: measure_conv(arguments, m, X_test, extractor))
        if model is None:
            continue
        codes = best_draws(model, X_test, model.n_draws)
        atoms = estimated_dictionary(X_test, codes)
        experiment.draw("", curves(pd.DataFrame(experiment.rows)))
        sheets[f"{method}, {n_components}, {probability:.0%} on"] = as_grey(atoms, image_shape)
        experiment.draw("_dictionaries", dictionary_sheets(sheets, image_shape[-2:], n_atoms=64))
        correlations.append(strongest(point_biserial(attributes.to_numpy(), codes), attributes, key))
        experiment.write("_attributes", pd.concat(correlations))


def curves(table: pd.DataFrame):
    """Return Figure 7: information, distance and error by latent size, and error by the share on at the largest."""
    import matplotlib.pyplot as plt  # noqa: TID251

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    smallest = table[(table["share_on"] == table.groupby("method")["share_on"].transform("min"))]
    panels = [(smallest, "n_components", name) for name in ("information_binned", "frechet", "mse")]
    largest = table[table["n_components"] == table["n_components"].max()]
    for ax, (rows, x, y) in zip(axes, [*panels, (largest, "share_on", "mse")]):
        for method, group in rows.groupby("method"):
            group.groupby(x)[y].mean().plot(ax=ax, marker="o", label=method, logx=x == "n_components")
        ax.set(xlabel=x, ylabel=y)
    axes[0].legend(fontsize=7)
    return figure


def conv_grid(arguments):
    """Yield seed, latent size, method and share on; the dense Gaussian has one share, all of it."""
    for seed, n_components, method in product(arguments.seeds, arguments.latents, arguments.methods):
        for probability in [1.0] if method == "gaussian" else arguments.probabilities:
            yield seed, n_components, method, probability


def as_grey(atoms: NDArray, image_shape) -> NDArray:
    return atoms.reshape(len(atoms), -1, image_shape[-2] * image_shape[-1]).mean(1)


def strongest(correlation: NDArray, attributes: pd.DataFrame, key: dict) -> pd.DataFrame:
    """Return for each attribute the component that correlates most with it."""
    size = np.nan_to_num(np.abs(correlation))
    best = size.argmax(1)
    rows = np.arange(len(best))
    return pd.DataFrame({**key, "attribute": attributes.columns, "component": best, "r": correlation[rows, best]})


def measure_conv(arguments, model, X: NDArray, extractor) -> dict:
    """Return a point of Figure 7."""
    if model is None:
        return {"diverged": True}
    codes = best_draws(model, X, model.n_draws)
    decoded = model.inverse_transform(codes)
    return {
        "diverged": False,
        "mse": float(((X - decoded) ** 2).mean()),
        "nonzero": 1 - sparsity(codes),
        **information(codes),
        "frechet": frechet_distance(X, decoded, feature_extractor=extractor),
        "frechet_features": arguments.features,
        "prior_nonzero": prior_nonzero(model),
        "n_steps": model.n_steps_,
        "fit_seconds": model.fit_seconds_,
    }


def weights(arguments, experiment: Experiment) -> None:
    """Set what the weight of the divergence does: beside the mean of squares as released, or beside the sum as printed.

    Bounds are in nats of likelihoods of different variance; compare them along the rows of one weight only.
    """
    patches = load_standardized(arguments.n_train, arguments.n_test)
    for seed in arguments.seeds:
        for method in arguments.methods:
            for name in ("released", "printed"):
                n_draws = arguments.draws[0]
                model = experiment.fit(linear(arguments, method, n_draws, seed, weights=name), patches.train)
                key = {"weights": name, "method": method, "n_draws": n_draws, "seed": seed}
                experiment.add(key, lambda m=model, k=key: measure_weights(arguments, m, k, patches.test))


def measure_weights(arguments, model, key: dict, X: NDArray) -> dict:
    """Return a row of Table 1 with quantiles of the probability of being on, and R^2 of what `transform` gives."""
    row = measure_linear(arguments, model, key, X)
    if model is not None:
        levels = (0.01, 0.5, 0.99)
        found = np.quantile(model.posterior_params(X)["activation_probability"], levels)
        row |= {f"on_{level}": value for level, value in zip(levels, found)}
        row |= {"transform_r2": model.score(X), "transform_nonzero": 1 - sparsity(model.transform(X))}
    return row


COMMANDS = {
    "table1": (table1, "vsc_table1"),
    "table2": (table2, "vsc_table2"),
    "sampling": (sampling, "vsc_sampling"),
    "prior": (prior, "vsc_prior"),
    "weights": (weights, "vsc_weights"),
    "fmnist": (fmnist, "vsc_fmnist"),
    "celeba": (celeba, "vsc_celeba"),
}
THRESHOLDED = tuple(method for method in recipes.VSC_METHODS if method.startswith("thresholded"))
CONV_METHODS = ("gaussian", "thresholded_gaussian", "thresholded_gaussian_gamma", "spike_and_slab")


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, _) in COMMANDS.items():
        command = commands.add_parser(name, description=function.__doc__, help=function.__doc__)
        is_conv = name in ("fmnist", "celeba")
        sizes = {"n_train": 10_000, "n_test": 2000} if is_conv else {"n_train": 8000, "n_test": 1600}
        add_common_arguments(command, **sizes)
        command.add_argument("--batch-size", type=int, default=512 if is_conv else 100)
        command.add_argument("--draws", type=int, nargs="+", default={"table2": [1, 20]}.get(name, [20]), help="J")
        if name in ("prior", "fmnist", "celeba"):
            command.add_argument(
                "--probabilities", type=float, nargs="+", default=[0.1], help="shares on under the prior"
            )
        if is_conv:
            command.add_argument("--epochs", type=int, default=5)
            command.add_argument("--device", default="auto")
            command.add_argument("--latents", type=int, nargs="+", default=[64, 512])
            command.add_argument("--methods", nargs="+", choices=CONV_METHODS, default=list(CONV_METHODS))
            command.add_argument(
                "--features", choices=["pixels", "inception"], default="pixels", help="of the distance"
            )
        else:
            command.add_argument("--steps", type=int, default=4000)
        if name == "celeba":
            command.add_argument(
                "--folder", type=Path, required=True, help="with img_align_celeba/, list_attr_celeba.txt"
            )
        if name == "sampling":
            command.add_argument(
                "--reductions", nargs="+", choices=["max", "mean", "softmax", "iwae"], default=["max", "mean"]
            )
        if name == "prior":
            command.add_argument("--methods", nargs="+", choices=THRESHOLDED, default=list(THRESHOLDED))
        if name == "weights":
            methods = [*THRESHOLDED, "spike_and_slab"]
            command.add_argument("--methods", nargs="+", choices=methods, default=methods)
        if name == "table1":
            command.add_argument(
                "--methods",
                nargs="+",
                choices=["fista", *recipes.VSC_METHODS],
                default=[*FIRST_METHODS, *[method for method in recipes.VSC_METHODS if method not in FIRST_METHODS]],
            )
        if name in ("table1", "table2", "weights"):
            command.add_argument("--snr-draws", type=int, default=1000)
            command.add_argument("--iwae-draws", type=int, default=200)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    function, name = COMMANDS[arguments.command]
    experiment = Experiment(arguments, "benchmarks.reproduce_vsc", name, argv or sys.argv[1:], BUDGET)
    function(arguments, experiment)


if __name__ == "__main__":
    main()
