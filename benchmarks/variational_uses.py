"""What variational models are good for: few labels, denoising, generation, beside what costs less.

    python -m benchmarks.variational_uses --data digits
    python -m benchmarks.variational_uses --data mnist          # 10,000 rows of 14 x 14 pixels

Codes have one length, 32 on scikit-learn's digits (1,000 rows) and 64 on MNIST; a smaller one only where the rank is
what a method tunes (PCA, NMF). Every method has three values of one parameter (rank or kl_weight; four of alpha) on
clean rows, for denoising also two (three of alpha) on noisy rows of either level, and three mixtures for generation;
what is best on validation rows of the first seed serves the others. A seed draws splits, models, labels and noise. A
row per method and seed:

- error_1 to error_50: test error in per cent of logistic regression on the codes of so many labelled rows per class
  (codes of variational models are posterior means), C chosen on validation rows;
- mse_weak, mse_strong: squared error per pixel of the reconstruction of noisy rows, noise of 0.5 and 1.5 standard
  deviations of the pixels, against the clean rows; codes of the encoder, or, for linear decoders, of the solver with a
  weight that allows for the noise;
- frechet_pixels, frechet_features: distance of generated rows to held-out rows, in pixels and in the hidden layer of a
  classifier (64 units). A mixture of Gaussians is fitted to the codes of the training rows, and its draws are
  decoded; frechet_prior is the distance in features of draws from the prior of the model, as `sample` gives them.

"pixels" are the rows themselves: the noisy rows, and for generation other training rows, the floor of the distances.
"Wiener" is the linear denoiser of all pixels, "Gaussians on PCA" the posterior mean under a mixture of 20 on PCA codes.
Rows and models are kept in --runs; the table goes to --results.
"""

import argparse
import sys
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neural_network import MLPClassifier
from sklearn.utils import resample

from benchmarks._experiment import Experiment, add_common_arguments
from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
)
from skvardict.datasets import fetch_mnist
from skvardict.evaluation import low_label_curve, low_label_summary
from skvardict.evaluation._store import fit_together_or_load
from skvardict.metrics import frechet_distance
from skvardict.model_selection._fits import can_be_fitted_together
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer

NOISE = {"weak": 0.5, "strong": 1.5}
LABELS = (1, 5, 10, 50)
MIXTURES = (1, 5, 20)
N_COPIES = 5  # of the training rows, each with noise of its own
N_LABEL_DRAWS = 5
SIZES = {"digits": {"n_train": 1000, "n_test": 398}, "mnist": {"n_train": 10_000, "n_test": 2000}}
N_FEATURES, LENGTHS = {"digits": 64, "mnist": 196}, {"digits": 32, "mnist": 64}
BATCH_SIZE = 128
SOLVER = " solver"
WITHOUT_SOLVER = ("PCA", "NMF", "VAE")
TRIVIAL = ("pixels", "Wiener", "Gaussians on PCA")
BUDGET = ("n_train", "n_test", "steps")


@dataclass(frozen=True)
class Splits:
    """Rows and labels of a seed; pixels have mean 0 and variance 1 over all training rows."""

    train: tuple[NDArray, NDArray]
    validation: tuple[NDArray, NDArray]
    test: tuple[NDArray, NDArray]


def small_mnist() -> tuple[NDArray, NDArray]:
    """Return MNIST at half its resolution, every pixel the mean of four."""
    X, y = fetch_mnist("train", standardize=False, return_X_y=True)
    return X.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(X), -1), y


def load(data: str, n_train: int, n_test: int, seed: int) -> Splits:
    """Return splits, with as many validation as test rows."""
    X, y = load_digits(return_X_y=True) if data == "digits" else small_mnist()
    X, y = resample(X.astype(np.float32), y, replace=False, n_samples=n_train + 2 * n_test, random_state=seed)
    X = GlobalStandardizer().fit(X[:n_train]).transform(X)
    ends = [slice(0, n_train), slice(n_train, n_train + n_test), slice(n_train + n_test, None)]
    return Splits(*((X[rows], y[rows]) for rows in ends))


class ShiftedNMF(TransformerMixin, BaseEstimator):
    """NMF of rows from which their smallest entry is taken; entries of other rows below it count as it."""

    def __init__(self, n_components: int):
        self.n_components = n_components

    def fit(self, X, y=None):
        """Learn atoms."""
        self.shift_ = X.min()
        self.nmf_ = NMF(self.n_components, init="nndsvda", max_iter=300, random_state=0).fit(X - self.shift_)
        return self

    def transform(self, X):
        """Return codes."""
        return self.nmf_.transform((X - self.shift_).clip(0))

    def inverse_transform(self, codes):
        """Return rows."""
        return self.nmf_.inverse_transform(codes.clip(0).astype(self.nmf_.components_.dtype)) + self.shift_


def methods(arguments, seed: int, sigma: float = 0.0) -> dict[str, dict[float, Any]]:
    """Return the unfitted candidates of every method for rows with noise of `sigma`, by the value that is tuned."""
    length, n_features = LENGTHS[arguments.data], N_FEATURES[arguments.data]
    ranks, weights = [length // 4, length // 2, length], [2.5e-4, 2e-3, 1.6e-2]
    alphas = [1e-3, 5e-3, 2e-2, 8e-2]
    if sigma:
        matched = 2 * sigma**2 / n_features  # the likelihood's variance is then that of the noise
        ranks, alphas, weights = ranks[:2], alphas[1:], [matched / 4, matched]
    n_batches = -(-arguments.n_train * (N_COPIES if sigma else 1) // BATCH_SIZE)
    fit = {"batch_size": BATCH_SIZE, "max_iter": max(1, round(arguments.steps / n_batches)), "random_state": seed}
    dense = {**fit, "encoder": MLP((256,))}
    sparse = {**dense, "transform_algorithm": "mean"}
    free, drawn = {**sparse, "divergence": "aggregate"}, {**sparse, "expectation": "draws", "n_draws": 10}
    vae = {"prior": "gaussian", "prior_scale": 1.0, "atom_norm": None, "decoder": MLP((256,))}
    return {
        "PCA": {rank: PCA(rank, random_state=seed) for rank in ranks},
        "SDL": {alpha: StandardDictionaryLearning(length, alpha=alpha, random_state=seed) for alpha in alphas},
        "VDL": {alpha: VarianceDictionaryLearning(length, alpha=alpha, random_state=seed) for alpha in alphas},
        "VAE": {weight: SparseVAE(length, kl_weight=weight, **vae, **dense) for weight in weights},
        "SVAE": {weight: SparseVAE(length, kl_weight=weight, atom_norm=None, **dense) for weight in weights},
        "SVAE-Norm": {weight: SparseVAE(length, kl_weight=weight, **dense) for weight in weights},
        "thresholded": {weight: ThresholdedVSC(length, kl_weight=weight, **sparse) for weight in weights},
        "spike and slab": {weight: SpikeAndSlabVSC(length, kl_weight=weight, **sparse) for weight in weights},
        "spike and slab, aggregate": {weight: SpikeAndSlabVSC(length, kl_weight=weight, **free) for weight in weights},
        "thresholded, draws": {weight: ThresholdedVSC(length, kl_weight=weight, **drawn) for weight in weights},
        "spike and slab, draws": {weight: SpikeAndSlabVSC(length, kl_weight=weight, **drawn) for weight in weights},
        "NMF": {rank: ShiftedNMF(rank) for rank in ranks},
    }


def noise_allowance(model, label: str, sigma: float) -> dict[str, float]:
    """Return the weight that the solver takes for noisy rows, where the model was fitted on clean ones."""
    if not label.removesuffix(SOLVER).endswith("noise 0"):
        return {}
    if hasattr(model, "alpha_"):
        return {"alpha": 4 * model.alpha_}
    return {"kl_weight": model.kl_weight + 2 * sigma**2 / model.n_features_in_}  # variances add


def noisy(X: NDArray, sigma: float, seed: int) -> NDArray:
    return X + sigma * np.random.default_rng([seed, int(10 * sigma)]).standard_normal(X.shape, dtype=np.float32)


def noisy_copies(X: NDArray, sigma: float, seed: int) -> NDArray:
    return noisy(np.tile(X, (N_COPIES, 1)), sigma, 1000 + seed)


def wiener(X: NDArray, rows: NDArray, sigma: float) -> NDArray:
    """Return the posterior mean of rows with noise under one Gaussian with the moments of `X`."""
    mean, covariance = X.mean(0), np.cov(X.T)
    gain = solve(covariance + sigma**2 * np.eye(len(mean)), covariance, assume_a="pos")
    return (rows - mean) @ gain + mean


def mixture_mean(X: NDArray, rows: NDArray, sigma: float, rank: int) -> NDArray:
    """Return the posterior mean of rows with noise under 20 Gaussians on the leading components of `X`."""
    pca = PCA(rank, random_state=0).fit(X)
    mixture = fit_mixture(pca.transform(X), 20, 0)
    codes = pca.transform(rows).astype(np.float64)
    log_weights, means = [], []
    for weight, mean, covariance in zip(mixture.weights_, mixture.means_, mixture.covariances_):
        noisy_law = multivariate_normal(mean, covariance + sigma**2 * np.eye(rank))
        log_weights.append(np.log(weight) + np.atleast_1d(noisy_law.logpdf(codes)))
        means.append(mean + (codes - mean) @ solve(noisy_law.cov, covariance, assume_a="pos"))
    weights = softmax(np.array(log_weights), axis=0)
    return pca.inverse_transform(np.einsum("kn,knl->nl", weights, np.array(means)))


def fit_mixture(codes: NDArray, n_gaussians: int, seed: int) -> GaussianMixture:
    mixture = GaussianMixture(n_gaussians, reg_covar=1e-4, max_iter=50, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(codes.astype(np.float64))


class Bench:
    """One data set and seed: fits that are found again, and the three jobs of a method.

    Parameters
    ----------
    arguments : Namespace
    experiment : Experiment
    seed : int
    """

    def __init__(self, arguments, experiment: Experiment, seed: int):
        self.arguments, self.experiment, self.seed = arguments, experiment, seed
        self.is_first = seed == arguments.seeds[0]
        self.fitted: dict[tuple[str, str], Any] = {}
        self.splits = load(arguments.data, arguments.n_train, arguments.n_test, seed)
        X, y = self.splits.train
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier = MLPClassifier((64,), max_iter=60, random_state=0).fit(X, y)

    def candidates(self, method: str, sigma: float = 0.0) -> dict[str, Any]:
        """Return the unfitted candidates of `method` for rows with noise of `sigma`."""
        found = methods(self.arguments, self.seed, sigma)[method]
        return {f"{value:g} noise {sigma:g}": model for value, model in found.items()}

    def fit(self, method: str, label: str) -> Any:
        """Return a fitted candidate; None if it diverged. On the first seed its competitors are fitted with it."""
        if (method, label) not in self.fitted:
            sigma = float(label.split("noise ")[1])
            models = self.candidates(method, sigma)
            self.fit_all(method, models if self.is_first else {label: models[label]}, sigma)
        return self.fitted[method, label]

    def fit_all(self, method: str, models: dict[str, Any], sigma: float) -> None:
        """Fit candidates for rows with noise of `sigma`, those of one architecture as one program."""
        X = self.splits.train[0]
        X = noisy_copies(X, sigma, self.seed) if sigma else X
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if all(can_be_fitted_together(model) for model in models.values()):
                found = fit_together_or_load(list(models.values()), X, folder=self.arguments.runs / "models")
            else:
                found = [self.experiment.fit(model, X) for model in models.values()]
        for label, model in zip(models, found):
            self.fitted[method, label] = None if isinstance(model, Exception) else model

    def measure(self, method: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the three jobs of a method; `chosen` holds what the first seed has chosen, or nothing."""
        if method in TRIVIAL:
            return self.trivial(method)
        return {
            **self.few_labels(method, chosen),
            **self.denoise(method, chosen),
            **self.generate(method, chosen),
        }

    def trivial(self, method: str) -> dict[str, Any]:
        """Return what rows themselves, or Gaussians, do."""
        (X, _), (X_test, _) = self.splits.train, self.splits.test
        rank = LENGTHS[self.arguments.data]
        denoisers = {
            "pixels": lambda rows, sigma: rows,
            "Wiener": lambda rows, sigma: wiener(X, rows, sigma),
            "Gaussians on PCA": lambda rows, sigma: mixture_mean(X, rows, sigma, rank),
        }
        found = {level: denoisers[method](noisy(X_test, sigma, self.seed), sigma) for level, sigma in NOISE.items()}
        errors = {f"mse_{level}": mse(rows, X_test) for level, rows in found.items()}
        if method != "pixels":
            return errors
        return {**self.label_errors({"": "passthrough"}, {}), **errors, **self.distances(X[: len(X_test)])}

    def few_labels(self, method: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the errors of a method by labels per class, and what candidates they are of."""
        labels = sorted({chosen[f"error_{n}_by"] for n in LABELS}) if chosen else list(self.candidates(method))
        models = {label: self.fit(method, label) for label in labels}
        return self.label_errors({label: model for label, model in models.items() if model is not None}, chosen)

    def label_errors(self, models: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same of fitted transformers by label."""
        splits = self.splits
        draws = {"labels_per_class": LABELS, "n_draws": N_LABEL_DRAWS, "folder": self.arguments.runs / "labels"}
        table = low_label_curve({"model": models}, splits.train, splits.validation, splits.test, **draws)
        if chosen:
            wanted = table["n_per_class"].map(lambda n: chosen[f"error_{n:g}_by"])
            table = table[table["candidate"] == wanted]
        found = {}
        for row in low_label_summary(table).itertuples():
            found |= {f"error_{row.n_per_class:g}": row.top1_error, f"error_{row.n_per_class:g}_by": row.candidate}
        return found

    def denoise(self, method: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the errors of a method at both levels of noise, and what candidates they are of."""
        found: dict[str, Any] = {}
        for level, sigma in NOISE.items():
            labels = [*self.candidates(method), *self.candidates(method, sigma)]
            labels += [f"{label}{SOLVER}" for label in labels] if method not in WITHOUT_SOLVER else []
            labels = [chosen[f"mse_{level}_by"]] if chosen else labels
            errors = {label: self.denoising_error(method, label, sigma, "validation") for label in labels}
            best = min(errors, key=errors.__getitem__)
            found |= {f"mse_{level}": self.denoising_error(method, best, sigma, "test"), f"mse_{level}_by": best}
        return found

    def denoising_error(self, method: str, label: str, sigma: float, split: str) -> float:
        """Return the error of one candidate, with codes of its `transform` or of the solver."""
        model, (X, _) = self.fit(method, label.removesuffix(SOLVER)), getattr(self.splits, split)
        if model is None:
            return float("inf")
        if label.endswith(SOLVER):
            model = deepcopy(model).set_params(transform_algorithm="solver", **noise_allowance(model, label, sigma))
        return mse(model.inverse_transform(model.transform(noisy(X, sigma, self.seed))), X)

    def generate(self, method: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the distances of generated rows, from a mixture of codes and, where there is one, from the prior."""
        labels = [label for label in self.candidates(method) if chosen or self.fit(method, label) is not None]
        ways = [chosen["frechet_by"]] if chosen else [f"{label}, {n} Gaussians" for label in labels for n in MIXTURES]
        made = {way: self.from_mixture(method, way) for way in ways}
        X_val = self.splits.validation[0]
        best = min(made, key=lambda way: self.distance(made[way], X_val))
        found: dict[str, Any] = {**self.distances(made[best]), "frechet_by": best}
        if hasattr(self.candidates(method)[labels[0]], "sample"):
            priors = [chosen["frechet_prior_by"]] if chosen else labels
            samples = {label: self.fit(method, label).sample(len(X_val), self.seed) for label in priors}
            best = min(samples, key=lambda label: self.distance(samples[label], X_val))
            found |= {"frechet_prior": self.distance(samples[best], self.splits.test[0]), "frechet_prior_by": best}
        return found

    def from_mixture(self, method: str, way: str) -> NDArray:
        """Return rows decoded from a mixture that is fitted to the codes of the training rows."""
        label, n_gaussians = way.removesuffix(" Gaussians").rsplit(", ", 1)
        model, (X, _) = self.fit(method, label), self.splits.train
        codes = model.transform(X)
        scale = float(np.sqrt(np.mean(np.square(codes)))) or 1.0
        mixture = fit_mixture(codes / scale, int(n_gaussians), self.seed)
        drawn = mixture.sample(self.arguments.n_test)[0] * scale
        return model.inverse_transform(drawn.astype(np.float32))

    def distances(self, rows: NDArray) -> dict[str, float]:
        """Return both distances to the test rows."""
        X = self.splits.test[0]
        return {"frechet_pixels": frechet_distance(rows, X), "frechet_features": self.distance(rows, X)}

    def distance(self, rows: NDArray, X: NDArray) -> float:
        """Return the distance in the features of the classifier."""
        weights, bias = self.classifier.coefs_[0], self.classifier.intercepts_[0]
        return frechet_distance(*(np.maximum(each @ weights + bias, 0) for each in (rows, X)))


def mse(first: NDArray, second: NDArray) -> float:
    return float(np.mean((first - second) ** 2))


def run(arguments, experiment: Experiment) -> None:
    """Measure every method on every seed; the first seed tunes."""
    names = [*TRIVIAL, *methods(arguments, 0)]
    chosen: dict[str, dict] = {}
    for seed in arguments.seeds:
        bench = Bench(arguments, experiment, seed)
        for method in arguments.methods or names:
            key = {"data": arguments.data, "method": method, "seed": seed}
            row = experiment.add(key, lambda b=bench, m=method: b.measure(m, chosen.get(m, {})))
            chosen.setdefault(method, row)
    table = pd.DataFrame(experiment.rows)
    numbers = table.drop(columns=["seed", "measure_seconds"]).select_dtypes("number").columns
    experiment.write(
        "_summary",
        table.groupby(["data", "method"], sort=False)[list(numbers)].agg(["mean", "sem"]).round(4).reset_index(),
    )


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(SIZES), default="digits")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--methods", nargs="+")
    add_common_arguments(parser, n_train=0, n_test=0)
    parser.set_defaults(seeds=[0, 1, 2])
    arguments = parser.parse_args(argv)
    for name, size in SIZES[arguments.data].items():
        setattr(arguments, name, getattr(arguments, name) or size)
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    run(
        arguments,
        Experiment(
            arguments, "benchmarks.variational_uses", f"variational_uses_{arguments.data}", argv or sys.argv[1:], BUDGET
        ),
    )


if __name__ == "__main__":
    main()
