"""
Choosing alpha by what it costs
===============================

A larger ``alpha`` buys zeros and pays with the picture. How much does each zero cost, and with which of two models is
it cheaper?
"""

# %%
# Digits of 8 x 8 pixels, on the scale that ``alpha`` assumes. Half of them is kept to measure on.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are fastest on one thread

from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.display import DictionaryDisplay, RegretCurveDisplay
from skvardict.evaluation import fit_or_load, regret_curve
from skvardict.metrics import psnr
from skvardict.preprocessing import GlobalStandardizer

scaler = GlobalStandardizer()
X = scaler.fit_transform(load_digits().data / 16)
X_train, X_test = train_test_split(X, test_size=0.5, random_state=0)

# %%
# The regret curve shows how much PSNR a model gives up for its zeros. The variance-regularised model (VDL) is
# compared with one whose atoms have norm 1 (SDL), each at four values and with three seeds. Finished points and
# models are kept in a folder: a killed run continues where it was. To keep the example short each fit makes 40 passes
# over the rows, less than a third of what it takes by itself.
models = {"VDL": VarianceDictionaryLearning(36, max_iter=40), "SDL": StandardDictionaryLearning(36, max_iter=40)}
alphas = {"VDL": (0.001, 0.005, 0.02, 0.1), "SDL": (0.002, 0.005, 0.02, 0.05)}
folder = TemporaryDirectory()
options = {"data_range": 1 / scaler.scale_, "folder": folder.name, "keep_models": True}
table = regret_curve(models, X_train, X_test, alphas=alphas, seeds=(0, 1, 2), **options)
display = RegretCurveDisplay(table).plot(annotate=True)
print(display.points.round(3).to_string(index=False))

# %%
# How far is VDL ahead at equal zeros, and what does the next percent of zeros cost it?
curves = {name: points.sort_values("sparsity") for name, points in display.points.groupby("model")}
for share in (0.55, 0.7, 0.8, 0.89):
    quality = {name: np.interp(share, curve["sparsity"], curve["psnr"]) for name, curve in curves.items()}
    print(f"at {share:.0%} zeros VDL is {quality['VDL'] - quality['SDL']:+.1f} dB ahead of SDL")
costs = -curves["VDL"]["psnr"].diff() / (100 * curves["VDL"]["sparsity"].diff())
for alpha, cost in zip(curves["VDL"]["alpha"][1:], costs[1:]):
    print(f"the last percent of zeros before alpha = {alpha:<5g} costs {cost:.2f} dB")

# %%
# What do so few numbers give without learning to be sparse? PCA keeps the same directions for every digit.
for n_active in (3, 6, 12):
    pca = PCA(n_active).fit(X_train)
    reconstructed = pca.inverse_transform(pca.transform(X_test))
    quality = psnr(X_test, reconstructed, data_range=1 / scaler.scale_)
    print(f"PCA, {n_active:2d} numbers a digit ({1 - n_active / 36:.0%} zeros of 36): {quality:.1f} dB")

# %%
# The dictionaries behind three points of VDL, the atoms in use first. From left to right atoms turn from pieces into
# whole digits.
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, alpha in zip(axes, alphas["VDL"][1:]):
    model = clone(models["VDL"]).set_params(alpha=alpha, random_state=0)
    fitted = fit_or_load(model, X_train, folder=f"{folder.name}/models")
    DictionaryDisplay.from_estimator(fitted, X=X_test, order="use").plot(ax, title=f"alpha = {alpha:g}")
folder.cleanup()

# %%
# VDL is ahead of SDL wherever both have points, by more than their standard errors: by 0.3 dB at 55 % zeros, by almost
# 2 dB at 89 %. It is also ahead of PCA with as many numbers a digit: with three atoms a digit, 92 % zeros, at about
# 16 dB, where three directions reach 13.8. At equal ``alpha`` nothing can be said, since it means different things to
# the two: codes of VDL keep a standard deviation, those of SDL need not. The price of zeros says where to stop: up to
# ``alpha`` of 0.02 a percent costs VDL about a tenth of a decibel, after that twice as much. Next: a grid of such
# models at once.
