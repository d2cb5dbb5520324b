"""Reproduce "Sparse Coding with Multi-layer Decoders using Variance Regularization" (Evtimova & LeCun, TMLR 2022).

    python -m benchmarks.reproduce_vdl released     # one and three epochs, against the authors' code
    python -m benchmarks.reproduce_vdl variants     # all eight kinds of model at one alpha each
    python -m benchmarks.reproduce_vdl table1       # clean and noisy PSNR and sparsity after 200 epochs
    python -m benchmarks.reproduce_vdl regret       # sparsity against PSNR over alpha
    python -m benchmarks.reproduce_vdl low-labels   # errors from 1 to 100 labels per class, models of `regret`
    python -m benchmarks.reproduce_vdl ablation     # with and without the variance term
    python -m benchmarks.reproduce_vdl features     # atoms, encoder filters, denoised images, the hinge
    python -m benchmarks.reproduce_vdl patches      # patches of natural images
    python -m benchmarks.reproduce_vdl regret-patches   # sparsity against PSNR there: Figure 6b

Every fitted model and finished point is kept in --runs and is not computed again: a killed command continues where it
was, and commands share models. Tables and figures go to --results, each with a JSON that says how it was made.
"""

import argparse
import sys
from copy import copy
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks._results import Output
from skvardict import recipes
from skvardict.datasets import fetch_mnist, load_images
from skvardict.display import (
    DenoisingDisplay,
    DictionaryDisplay,
    EncoderDisplay,
    LowLabelDisplay,
    RegretCurveDisplay,
)
from skvardict.evaluation import (
    LISTAClassifier,
    denoising_table,
    evaluate_codes,
    fit_or_load,
    low_label_curve,
    low_label_differences,
    regret_curve,
)
from skvardict.metrics import dead_components
from skvardict.preprocessing import NormalizedPatches, extract_normalized_patches
from skvardict.solvers import FISTA

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID251

LINEAR = ("SDL", "VDL", "WDL", "DO")
NONLINEAR = ("SDL-NL", "VDL-NL", "WDL-NL", "DO-NL")
KINDS = LINEAR + NONLINEAR

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
MNIST_RANGE = 1 / MNIST_STD  # of pixels in [0, 1], in the units of standardised rows

# Where a command takes one model of each kind.
ALPHA = {"SDL": 0.005, "VDL": 0.02, "WDL": 0.005, "DO": 0.005} | {
    "SDL-NL": 0.005,
    "VDL-NL": 0.01,
    "WDL-NL": 0.005,
    "DO-NL": 0.005,
}
PATCHES_ALPHA = {"SDL": 0.002, "VDL": 0.005, "SDL-NL": 0.003, "VDL-NL": 0.01}

# What the paper reports (means of 5 seeds after 200 epochs; patches: ImageNet, 100 epochs).
TABLE_1 = pd.DataFrame(
    [
        ("SDL", 0.0, 17.3, 0.897),
        ("SDL", 1.0, 16.9, 0.873),
        ("SDL", 1.5, 15.7, 0.846),
        ("VDL", 0.0, 17.7, 0.918),
        ("VDL", 1.0, 15.4, 0.881),
        ("VDL", 1.5, 12.2, 0.845),
    ],
    columns=["model", "sigma", "published_psnr", "published_sparsity"],
)
TABLE_1_PATCHES = pd.DataFrame(
    [
        ("SDL", 0.0, 26.9, 0.746),
        ("SDL", 1.0, 25.6, 0.727),
        ("VDL", 0.0, 27.3, 0.773),
        ("VDL", 1.0, 25.2, 0.735),
    ],
    columns=["model", "sigma", "published_psnr", "published_sparsity"],
)
PUBLISHED_REGRET = {
    "SDL": [(0.63, 21.1), (0.83, 18.6), (0.897, 17.3)],
    "VDL": [(0.69, 20.7), (0.918, 17.7)],
    "SDL-NL": [(0.692, 20.9), (0.856, 18.4)],
    "VDL-NL": [(0.588, 22.7), (0.922, 18.3)],
}
PUBLISHED_REGRET_PATCHES = {
    "SDL": [(0.746, 26.9), (0.905, 24.0)],
    "VDL": [(0.773, 27.3), (0.892, 25.3)],
    "SDL-NL": [(0.698, 27.1), (0.834, 25.0)],
    "VDL-NL": [(0.676, 28.4), (0.908, 24.9)],
}
# Validation images, one seed: PSNR and fraction of zeros of the authors' code after so many epochs.
RELEASED = {
    ("SDL", 0.005, 3): (16.19, 0.8725),
    ("VDL", 0.02, 3): (14.84, 0.8920),
    ("SDL-NL", 0.005, 1): (16.39, 0.7962),
    ("VDL-NL", 0.01, 1): (16.17, 0.7662),
}


BASELINES = ("raw", "scratch")
CLASSIFIERS = ("logistic", "sgd-linear")


@dataclass
class Rows:
    """Standardised rows of three splits; labels where there are any, pixels where they are not affine."""

    train: NDArray
    validation: NDArray
    test: NDArray
    labels: dict[str, NDArray] = field(default_factory=dict)
    test_patches: NormalizedPatches | None = None


def load_mnist(arguments) -> Rows:
    splits = {split: fetch_mnist(split, return_X_y=True) for split in ("train", "validation", "test")}
    rows = {split: X for split, (X, _) in splits.items()}
    labels = {split: y for split, (_, y) in splits.items()}
    labels["train"] = labels["train"][: arguments.n_train]
    return Rows(rows["train"][: arguments.n_train], rows["validation"], rows["test"], labels)


def load_patches(arguments) -> Rows:
    """Cut patches from three groups of photographs: eight tenths to train, a tenth to validate, a tenth to test."""
    images, _ = load_images(arguments.images)
    order = np.random.default_rng(0).permutation(len(images))
    first, second = round(0.8 * len(images)), round(0.9 * len(images))
    n_train = arguments.n_train or 100_000
    groups = {"train": order[:first], "validation": order[first:second], "test": order[second:]}
    print({split: f"{len(group)} photographs" for split, group in groups.items()}, flush=True)
    sizes = {"train": n_train, "validation": max(1, n_train // 10), "test": max(1, n_train // 10)}
    cut = {
        split: extract_normalized_patches(
            [images[index] for index in group], sizes[split], floor=arguments.floor, random_state=seed
        )
        for seed, (split, group) in enumerate(groups.items())
    }
    return Rows(*(cut[split].patches for split in groups), test_patches=cut["test"])


def build(kind, data, *, step_size: float | str = "table", training: str = "paper", **changes):
    """Return the model of Table 3; `step_size` "table" leaves the recipe's step.

    With "automatic" `training` all that is about the fit is the package's default: the solver and its step, start,
    optimiser, batches and epochs. The model and the weights of its energy are the table's.
    """
    if training == "automatic":
        changes = {name: value for name, value in changes.items() if name != "max_iter"}
        changes |= {"solver": FISTA(), "init": "auto", "optimizer": "auto", "batch_size": "auto", "max_iter": "auto"}
    elif step_size != "table":
        changes["solver"] = FISTA(step_size=step_size)
    return recipes.table3(kind, data, **changes)


def budget(arguments, kind: str) -> dict:
    """Return what the command says about the fit of a kind of model."""
    is_nonlinear = kind in NONLINEAR
    return {
        "max_iter": arguments.nonlinear_epochs if is_nonlinear else arguments.epochs,
        "step_size": arguments.nonlinear_step_size if is_nonlinear else arguments.step_size,
        "training": arguments.training,
    }


def fit(arguments, rows: Rows, kind: str, alpha: float, *, seed: int, data: str = "mnist", **changes):
    """Return a fitted model, from `--runs` where it is there."""
    changes = budget(arguments, kind) | changes
    model = build(kind, data, alpha=alpha, random_state=seed, device=arguments.device, **changes)
    model.set_params(verbose=arguments.verbose)
    print(f"{kind}  alpha {alpha:g}  seed {seed}  {changes}", flush=True)
    fitted = fit_or_load(model, rows.train, folder=arguments.runs / "models", fit_params={"X_val": rows.validation})
    print(f"    {fitted.fit_seconds_:.0f} s, best epoch {fitted.best_epoch_}, dead {fitted.n_dead_}", flush=True)
    return fitted


def released(arguments, output: Output) -> None:
    """Compare validation PSNR and sparsity with the authors' code after one or three epochs."""
    rows, found = load_mnist(arguments), []
    for (kind, alpha, epochs), (psnr, zeros) in RELEASED.items():
        for step_size in ("table", "auto", 0.5) if kind == "SDL" else ("table", "auto"):
            for seed in arguments.seeds:
                model = fit(arguments, rows, kind, alpha, seed=seed, max_iter=epochs, step_size=step_size)
                codes = evaluate_codes(model, rows.validation, data_range=MNIST_RANGE)
                measured = {"psnr": codes["psnr"], "released_psnr": psnr}
                measured |= {"sparsity": codes["sparsity"], "released_sparsity": zeros}
                found.append(_line(model, kind, alpha, epochs, seed, measured))
    output.table(pd.DataFrame(found))


def variants(arguments, output: Output) -> None:
    """Fit each kind of model at one alpha and describe its codes of the test images."""
    rows, found = load_mnist(arguments), []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            model = fit(arguments, rows, kind, ALPHA[kind], seed=seed)
            measured = {"n_train": len(rows.train), **evaluate_codes(model, rows.test, data_range=MNIST_RANGE)}
            found.append(_line(model, kind, ALPHA[kind], model.n_iter_, seed, measured))
    output.table(pd.DataFrame(found))


def _line(model, kind: str, alpha: float, epochs: int, seed: int, measured: dict[str, float]) -> dict:
    """Return the line of a table about one fitted model."""
    return {
        "model": kind,
        "alpha": alpha,
        "epochs": epochs,
        "step_size": model.solver.step_size,
        "seed": seed,
        **measured,
        "solver_n_iter": model.history_["solver_n_iter"][-1],
        "fit_seconds": model.fit_seconds_,
    }


def table1(arguments, output: Output) -> None:
    """Measure clean and noisy test images, and set them beside the published table."""
    rows, tables = load_mnist(arguments), []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            model = fit(arguments, rows, kind, ALPHA[kind], seed=seed)
            table = denoising_table({kind: model}, rows.test, data_range=MNIST_RANGE)
            facts = {"model_seed": seed, "step_size": model.solver.step_size, "epochs": model.n_iter_}
            tables.append(table.assign(**facts, fit_seconds=model.fit_seconds_))
    output.table(pd.concat(tables).merge(TABLE_1, how="left", on=["model", "sigma"]))


def regret(arguments, output: Output) -> None:
    """Fit models over the table's alphas and draw sparsity against PSNR of the test images."""
    _regret(arguments, output, load_mnist(arguments), "mnist", PUBLISHED_REGRET)


def regret_patches(arguments, output: Output) -> None:
    """Do what `regret` does on patches of natural images: Figure 6b."""
    _regret(arguments, output, load_patches(arguments), "patches", PUBLISHED_REGRET_PATCHES)


def _regret(arguments, output: Output, rows: Rows, data: str, published: dict) -> None:
    to_pixels = {"data_range": MNIST_RANGE} if rows.test_patches is None else {"to_pixels": rows.test_patches.to_pixels}
    table = regret_curve(
        # alpha and seed are set by the curve
        {
            kind: build(kind, data, alpha=0.0, device=arguments.device, **budget(arguments, kind))
            for kind in arguments.kinds
        },
        rows.train,
        rows.test,
        alphas={kind: _alphas(arguments, kind, data) for kind in arguments.kinds},
        seeds=arguments.seeds,
        fit_params={"X_val": rows.validation},
        **to_pixels,
        folder=arguments.runs,
        keep_models=True,
        n_jobs=arguments.n_jobs,
        verbose=1,
    )
    facts = {"training": arguments.training, "n_train": len(rows.train)}
    if arguments.training == "paper":
        facts |= {"epochs": table["model"].map(lambda kind: budget(arguments, kind)["max_iter"])}
    output.table(table.drop(columns="error").assign(**facts))
    display = RegretCurveDisplay(table[table["alpha"] > 0]).plot(annotate=True)
    for line, kind in zip(display.lines_, display.points["model"].unique()):
        if kind in published:
            display.ax_.scatter(*zip(*published[kind]), marker="x", color=line[0].get_color())
    display.ax_.set_title("test rows; crosses: the paper", fontsize="medium")
    output.figure(display.figure_)


def low_labels(arguments, output: Output) -> None:
    """Classify test images from few labels: codes of the models of `regret`, raw pixels, LISTA from scratch."""
    rows = load_mnist(arguments)
    models = {
        seed: {
            kind: {alpha: fit(arguments, rows, kind, alpha, seed=seed) for alpha in _alphas(arguments, kind)}
            for kind in arguments.kinds
        }
        for seed in arguments.seeds
    }
    baselines: dict = {}
    if "raw" in arguments.baselines:
        baselines["raw pixels"] = "passthrough"
    if "scratch" in arguments.baselines:
        baselines["LISTA + linear"] = LISTAClassifier(device=arguments.device)
    tables = [
        low_label_curve(
            {**(baselines if index == 0 else {}), **of_seed},
            *((getattr(rows, split), rows.labels[split]) for split in ("train", "validation", "test")),
            labels_per_class=[None if n == 0 else n for n in arguments.labels_per_class],
            n_draws=arguments.draws,
            classifier=classifier,
            Cs=(1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
            folder=arguments.runs,
            n_jobs=arguments.n_jobs,
            verbose=1,
        ).assign(seed=seed)
        for classifier in arguments.classifiers
        for index, (seed, of_seed) in enumerate(models.items())
    ]
    table = pd.concat(tables)
    display = LowLabelDisplay(table)
    output.table(display.summary)
    output.table(table, "_draws")
    if "raw" in arguments.baselines:
        output.table(low_label_differences(table, "raw pixels"), "_differences")
    _, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, top in zip(axes, (1, 3)):
        display.plot(ax, top=top, capsize=2)
    output.figure(display.figure_)


def ablation(arguments, output: Output) -> None:
    """Follow the mean L1 of the first batches, and count dead components after a few epochs."""
    rows, curves, found = load_mnist(arguments), [], []
    for kind in arguments.kinds:
        alpha = ALPHA[kind]
        for beta in (10.0, 0.0):
            for seed in arguments.seeds:
                l1 = _l1_by_batch(arguments, rows, kind, alpha, beta, seed)
                labels = {"model": kind, "alpha": alpha, "beta": beta, "seed": seed}
                curves += [{**labels, "batch": batch, "l1": value} for batch, value in enumerate(l1, start=1)]
                model = fit(arguments, rows, kind, alpha, seed=seed, beta=beta)
                solver_codes = copy(model).set_params(transform_algorithm="solver").transform(rows.validation)
                active_rows = (solver_codes > 0).sum(axis=0)
                batches = np.array_split(solver_codes, len(solver_codes) // model.batch_size)
                found.append(
                    {
                        **labels,
                        "n_batches": len(l1),
                        "lowest_l1": min(l1),
                        "l1_of_last_batch": l1[-1],
                        "epochs": model.n_iter_,
                        "l1_of_last_epoch": model.history_["l1"][-1],
                        "dead_of_a_batch": np.mean([dead_components(batch) for batch in batches]),
                        "dead_of_5000_rows": dead_components(solver_codes),
                        "active_on_fewer_than_one_row_in_1000": int((active_rows < len(solver_codes) / 1000).sum()),
                        "component_std": solver_codes.std(axis=0).mean(),
                    }
                )
    output.table(pd.DataFrame(curves), "_batches")
    output.table(pd.DataFrame(found))
    curves = pd.DataFrame(curves)
    _, axes = plt.subplots(1, len(arguments.kinds), figsize=(9, 3), layout="constrained", squeeze=False)
    for ax, (kind, of_kind) in zip(axes[0], curves.groupby("model", sort=False)):
        for beta, curve in of_kind.groupby("beta", sort=False):
            mean = curve.groupby("batch")["l1"].mean()
            ax.plot(mean, label="with variance term" if beta else "without")
        ax.set(title=kind, xlabel="batch", ylabel="mean L1 of the codes", yscale="log")
        ax.legend()
    output.figure(axes[0, 0].figure)


def features(arguments, output: Output) -> None:
    """Draw atoms of all kinds, encoder filters, denoised images and the hinge; the table has the norms of the atoms."""
    rows = load_mnist(arguments)
    models = {kind: fit(arguments, rows, kind, ALPHA[kind], seed=arguments.seeds[0]) for kind in arguments.kinds}
    _sheets(
        output, "_atoms", {kind: DictionaryDisplay.from_estimator(model, n_atoms=64) for kind, model in models.items()}
    )
    coders = {kind: model for kind, model in models.items() if model.encoder == "lista"}
    _sheets(
        output, "_encoders", {kind: EncoderDisplay.from_estimator(model, n_atoms=64) for kind, model in coders.items()}
    )
    for sigma in (1.0, 1.5):
        ax = plt.subplots(figsize=(8, 1 + 0.6 * len(coders)))[1]
        display = DenoisingDisplay.from_estimator(coders, rows.test[:12], sigma=sigma).plot(ax)
        output.figure(display.figure_, f"_denoising_{sigma:g}")
    output.figure(_draw_hinge(), "_hinge")
    norms = {kind: np.linalg.norm(model.components_, axis=1) for kind, model in models.items()}
    found = [
        {"model": kind, "alpha": ALPHA[kind], "epochs": models[kind].n_iter_}
        | dict(zip(("smallest_norm", "median_norm", "largest_norm"), np.quantile(of_kind, [0, 0.5, 1])))
        for kind, of_kind in norms.items()
    ]
    output.table(pd.DataFrame(found))


def patches(arguments, output: Output) -> None:
    """Train on patches of natural images; PSNR in pixels, clean and noisy, beside the paper's on ImageNet."""
    rows, tables = load_patches(arguments), []
    models = {}
    for kind in arguments.kinds:
        for alpha, seed in product(arguments.alphas or [PATCHES_ALPHA[kind]], arguments.seeds):
            model = fit(arguments, rows, kind, alpha, seed=seed, data="patches")
            table = denoising_table(
                {kind: model}, rows.test, noise_levels=(0.0, 1.0), to_pixels=rows.test_patches.to_pixels
            )
            facts = {"alpha": alpha, "model_seed": seed, "step_size": model.solver.step_size, "floor": arguments.floor}
            tables.append(table.assign(**facts, epochs=model.n_iter_, fit_seconds=model.fit_seconds_))
            models[kind] = model
    output.table(
        pd.concat(tables).merge(TABLE_1_PATCHES, how="left", on=["model", "sigma"]),
        n_patches={"train": len(rows.train), "validation": len(rows.validation), "test": len(rows.test)},
        note="Photographs of BSDS500, split by photograph; the published rows are ImageNet patches, 100 epochs.",
    )
    _sheets(
        output, "_atoms", {kind: DictionaryDisplay.from_estimator(model, n_atoms=64) for kind, model in models.items()}
    )


def _alphas(arguments, kind: str, data: str = "mnist") -> tuple[float, ...]:
    table = recipes.TABLE3[kind, data].alphas
    return tuple(arguments.alphas) if arguments.alphas else table[-(arguments.n_alphas or len(table)) :]


def _l1_by_batch(arguments, rows: Rows, kind: str, alpha: float, beta: float, seed: int) -> list[float]:
    """Return the mean L1 of the solver's codes in each of the first 200 batches; a call of `partial_fit` is a batch."""
    changes = budget(arguments, kind) | {"device": arguments.device, "beta": beta}
    model = build(kind, "mnist", alpha=alpha, random_state=seed, **changes)
    order = np.random.default_rng(seed).permutation(len(rows.train))
    n_batches = min(200, len(order) // model.batch_size)
    for batch in order[: n_batches * model.batch_size].reshape(n_batches, -1):
        model.partial_fit(rows.train[batch])
    return model.history_["l1"]


def _sheets(output: Output, suffix: str, displays: dict) -> None:
    n_columns = min(4, len(displays))
    n_rows = -(-len(displays) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(3.4 * n_columns, 3.7 * n_rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (kind, display) in zip(axes.flat, displays.items()):
        display.plot(ax, title=kind)
    output.figure(figure, suffix)
    plt.close(figure)


def _draw_hinge():
    """Return the variance hinge of a component over a batch of two rows, as a surface."""
    grid = np.linspace(-1.5, 1.5, 121)
    first, second = np.meshgrid(grid, grid)
    std = np.abs(first - second) / np.sqrt(2)
    figure = plt.figure(figsize=(5, 4))
    ax = figure.add_subplot(projection="3d")
    ax.plot_surface(first, second, np.clip(0.5 - std, 0, None) ** 2, cmap="viridis", rcount=60, ccount=60)
    ax.set(xlabel="code of row 1", ylabel="code of row 2", zlabel="hinge, T = 0.5")
    return figure


# Command: function, file name of its results, default epochs (linear, non-linear), default kinds of model.
COMMANDS = {
    "released": (released, "vdl_released_code", (3, 1), None),
    "variants": (variants, "vdl_variants", (15, 5), KINDS),
    "table1": (table1, "vdl_table1", (200, 200), ("SDL", "VDL")),
    "regret": (regret, "vdl_regret", (200, 200), ("SDL", "VDL", "SDL-NL", "VDL-NL")),
    "regret-patches": (regret_patches, "vdl_regret_patches", (100, 100), ("SDL", "VDL", "SDL-NL", "VDL-NL")),
    "low-labels": (low_labels, "vdl_low_labels", (200, 200), ("SDL", "VDL", "SDL-NL", "VDL-NL")),
    "ablation": (ablation, "vdl_ablation", (3, 3), ("VDL", "VDL-NL")),
    "features": (features, "vdl_features", (200, 200), KINDS),
    "patches": (patches, "vdl_patches", (100, 100), ("SDL", "VDL")),
}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, _, (epochs, nonlinear_epochs), kinds) in COMMANDS.items():
        command = commands.add_parser(name, description=function.__doc__, help=function.__doc__)
        command.add_argument("--epochs", type=int, default=epochs, help=f"linear models ({epochs})")
        command.add_argument("--nonlinear-epochs", type=int, default=nonlinear_epochs, help=f"({nonlinear_epochs})")
        command.add_argument("--seeds", type=int, nargs="+", default=[0])
        command.add_argument("--n-train", type=int, help="training rows; all by default, 100,000 patches")
        command.add_argument("--step-size", type=_step_size, default="table", help="'table', 'auto' or a number")
        command.add_argument("--nonlinear-step-size", type=_step_size, default="table", help="of non-linear models")
        command.add_argument(
            "--training", choices=("paper", "automatic"), default="paper", help="automatic: the package's own fit"
        )
        command.add_argument("--device", default="auto")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--n-jobs", type=int, default=1, help="points computed at the same time")
        command.add_argument("--runs", type=Path, default=Path("benchmarks/runs"), help="finished models and points")
        command.add_argument("--results", type=Path, default=Path("benchmarks/results"))
        command.add_argument("--name", help="file name of the results, without ending")
        command.add_argument("--verbose", type=int, default=0, help="1: a line per epoch")
        if kinds is not None:
            command.add_argument("--kinds", nargs="+", choices=KINDS, default=list(kinds))
        if name in ("regret", "regret-patches", "low-labels", "patches"):
            command.add_argument("--alphas", type=float, nargs="+", help="instead of the table's")
            command.add_argument("--n-alphas", type=int, help="only the largest so many of the table's")
        if name == "low-labels":
            per_class = [1, 2, 5, 10, 20, 50, 100, 0]
            command.add_argument("--labels-per-class", type=int, nargs="+", default=per_class, help="0: all labels")
            command.add_argument("--draws", type=int, default=10)
            command.add_argument("--classifiers", nargs="+", choices=CLASSIFIERS, default=list(CLASSIFIERS))
            command.add_argument("--baselines", nargs="*", choices=BASELINES, default=BASELINES)
        if name in ("patches", "regret-patches"):
            command.add_argument("--images", type=Path, required=True, help="folder of photographs")
            command.add_argument("--floor", type=_floor, default="image", help="of contrast: image, crop or a number")
    return parser.parse_args(argv)


def _floor(text: str) -> float | str:
    return text if text in ("image", "crop") else float(text)


def _step_size(text: str) -> float | str:
    return text if text in ("table", "auto", "backtracking") else float(text)


def main(argv: list[str]) -> None:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    function, name, *_ = COMMANDS[arguments.command]
    function(arguments, Output(arguments.results, arguments.name or name, "benchmarks.reproduce_vdl", argv))


if __name__ == "__main__":
    main(sys.argv[1:])
