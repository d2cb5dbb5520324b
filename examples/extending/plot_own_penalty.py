"""
A penalty of your own: what if some atoms cost more?
====================================================

The L1 norm charges the same for every atom. In a dictionary of cosines the low frequencies of a digit are large and the
high ones small. Does it help a code against noise to charge each atom by how large it usually is?
"""

# %%
# Half of the digits tell the usual size of each coefficient, the other half is denoised. One mean and one standard
# deviation for all pixels; noise with a standard deviation of 1 is as large as the pictures themselves.
from dataclasses import dataclass

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvardict.display import SamplesDisplay
from skvardict.energies import L1, LinearProblem, Penalty
from skvardict.functional import soft_threshold
from skvardict.metrics import psnr
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA

scaler = GlobalStandardizer()
X = scaler.fit_transform(load_digits().data / 16)
X_train, X_test = train_test_split(X, test_size=0.5, random_state=0)
noisy = X_test + np.random.default_rng(0).standard_normal(X_test.shape)

# %%
# Twelve times twelve cosines for eight times eight pixels, each a separable wave of unit norm.
waves = np.cos(np.pi * np.outer(np.arange(12) * 8 / 12, np.arange(8) + 0.5) / 8)
atoms = np.einsum("au,bv->abuv", waves, waves).reshape(144, 64)
atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)

# %%
# The penalty: its value without the weight ``alpha``, its proximal operator, and its dual norm, which bounds the
# duality gap. Everything else is inherited.


@dataclass(frozen=True)
class WeightedL1(Penalty):
    """``alpha sum_j w_j |z_j|``: an L1 norm with a price per component."""

    alpha: float
    prices: torch.Tensor
    name = "weighted_l1"

    def measure(self, codes):
        return (self.prices * codes.abs()).sum(-1)

    def prox(self, point, step):
        return soft_threshold(point, step * self.alpha * self.prices, positive=False)

    def dual_norm(self, gradient):
        return (gradient.abs() / self.prices).amax(-1)


# %%
# A problem is rows, atoms and a penalty; any solver takes it. The stopping rule "gap" is a certificate: it compares the
# energy with the bound that our ``dual_norm`` gives, so a wrong operator would never get there.
solver = FISTA(max_iter=3000, tol=1e-3, restart=True, criterion="gap")


def encode(rows, penalty):
    problem = LinearProblem(torch.as_tensor(rows), torch.as_tensor(atoms), penalty)
    result = solver.solve(problem, torch.zeros(len(rows), len(atoms), dtype=torch.float64))
    print(f"{penalty.name:12s} alpha {penalty.alpha:.2f}   rows within the gap {result.converged.double().mean():.1%}")
    return result.codes.numpy()


# %%
# Prices are inverse to the mean size of a coefficient on clean digits; the floor keeps atoms that are never used from
# costing infinitely much. Their mean is one, so that ``alpha`` stays comparable.
usual = np.abs(encode(X_train, L1(0.01, positive=False))).mean(axis=0)
prices = 1 / (usual / usual.max() + 0.05)
prices /= prices.mean()

penalties = {
    "L1": lambda alpha: L1(alpha, positive=False),
    "weighted L1": lambda alpha: WeightedL1(alpha, torch.as_tensor(prices)),
}
alphas = (0.02, 0.03, 0.05, 0.07, 0.1)
denoised = {(name, a): encode(noisy, make(a)) @ atoms for name, make in penalties.items() for a in alphas}
scores = {key: float(psnr(X_test, rows, data_range=1 / scaler.scale_)) for key, rows in denoised.items()}

# %%
# Each penalty at each ``alpha``, then both at their best.
figure = plt.figure(figsize=(11, 3.6), layout="constrained")
curves, sheet = figure.subplots(1, 2, width_ratios=(1, 1.5))
for name in penalties:
    curves.plot(alphas, [scores[name, a] for a in alphas], marker="o", label=name)
curves.axhline(psnr(X_test, noisy, data_range=1 / scaler.scale_), color="gray", linestyle=":", label="noisy digits")
curves.set(xlabel="alpha", ylabel="PSNR (dB) against the clean digits")
curves.legend()

best = {name: max((key for key in scores if key[0] == name), key=scores.get) for name in penalties}
lines = [X_test, noisy, *(denoised[key] for key in best.values())]
shown = np.clip(np.concatenate([rows[:10] for rows in lines]), X.min(), X.max())
SamplesDisplay.from_rows(shown, image_shape=(8, 8), n_columns=10).plot(
    sheet, title="clean, noisy, L1, weighted L1", cmap="gray"
)

# %%
# The claim: with prices, the best picture is better than the best of the plain norm, on digits that set no price.
for name, key in best.items():
    print(f"{name:12s} best at alpha {key[1]:.2f}: {scores[key]:.2f} dB")
gain = scores[best["weighted L1"]] - scores[best["L1"]]
print(f"gain {gain:.2f} dB")

# %%
# A price list is what the prior scales of a Bayesian model are. To add a penalty to the package, put the class into a
# file of its own and name it in ``skvardict.energies.PENALTIES``: see the user guide, "Extending".
