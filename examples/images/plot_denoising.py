"""
Denoising by sparse codes, one digit a row
==========================================

Noise has no sparse code in a dictionary of strokes. How much of it do the codes of an encoder leave out, and which of
two models should one take?
"""

# %%
# Noise is added in the standardised space. Models are trained on clean digits only, with three seeds each; PCA is what
# costs nothing.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are fastest on one thread

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.display import DenoisingDisplay
from skvardict.evaluation import denoising_table
from skvardict.preprocessing import GlobalStandardizer

scaler = GlobalStandardizer()
X = scaler.fit_transform(load_digits().data / 16)
X_train, X_test = train_test_split(X, test_size=0.5, random_state=0)


def models(seed):
    return {
        "SDL": StandardDictionaryLearning(36, alpha=0.03, random_state=seed).fit(X_train),
        "VDL": VarianceDictionaryLearning(36, alpha=0.03, random_state=seed).fit(X_train),
        "PCA": PCA(8).fit(X_train),
    }


trained = [models(seed) for seed in range(3)]

# %%
# One pass of the encoder, then the decoder. ``input_psnr`` is that of the noisy rows, ``psnr`` that of what the codes
# reconstruct, both against the clean rows; ``sparsity`` is that of the noisy codes.
noise = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
tables = [denoising_table(named, X_test, noise_levels=noise, data_range=1 / scaler.scale_) for named in trained]
points = pd.concat(tables).groupby(["sigma", "model"])[["input_psnr", "psnr", "sparsity"]].agg(["mean", "sem"])
psnr = points["psnr"]["mean"].unstack()
error = points["psnr"]["sem"].unstack()
shown = psnr.assign(noisy=points["input_psnr"]["mean"].unstack()["PCA"]).join(error.add_suffix(" +-"))
print(shown.round(2).to_string())
print("zeros of noisy codes", points["sparsity"]["mean"].unstack().loc[[0.5, 1.0]].round(2), sep="\n")

# %%
# Where do the curves cross, by straight lines between the points?
levels = np.linspace(0, 1.5, 301)
curve = {name: np.interp(levels, psnr.index, psnr[name]) for name in psnr}
for better, other in (("SDL", "VDL"), ("PCA", "VDL"), ("PCA", "SDL")):
    crossed = levels[1:][np.diff(np.sign(curve[better] - curve[other])) > 0]
    print(f"{better} passes {other} at a noise of {crossed.round(2)}")

figure, ax = plt.subplots(layout="constrained")
for name, color, marker in (("SDL", "#D55E00", "s"), ("VDL", "#0072B2", "o"), ("PCA", "#009E73", "^")):
    ax.plot(psnr.index, psnr[name], color=color, marker=marker, label=name)
    ax.fill_between(psnr.index, psnr[name] - error[name], psnr[name] + error[name], color=color, alpha=0.2)
ax.plot(shown.index[1:], shown["noisy"][1:], color="gray", linestyle=":", label="noisy digits")
ax.set(xlabel="standard deviation of the noise", ylabel="PSNR (dB)", ylim=(5, 19))
ax.legend(title="mean ± standard error over seeds")

# %%
# Lines of images: what was there, what the models saw, and what they made of it.
DenoisingDisplay.from_estimator(trained[0], X_test[:12], sigma=1.0).plot()

# %%
# VDL reconstructs clean digits best, by more than a decibel, but its codes must vary, and so they follow the noise:
# SDL passes it at a noise of one half of the standard deviation of the digits, PCA a little later. From there to 1.5
# SDL is ahead of eight principal directions, with six atoms of 36 a row, and level with them at the end. (Eight are
# the best that PCA can do at a noise of 1.) Below a noise of 0.4 the noisy digits themselves are the best picture.
# The paper finds the same order on larger digits, in its table 1. ``GridSearchCV(model, grid).fit(X_noisy, X_clean)``
# chooses ``alpha`` for denoising. Next: a photograph, by patches that overlap.
