"""
Receptive fields from photographs
=================================

Show a dictionary nothing but photographs, ask for codes of few atoms, and the atoms become short oriented edges, like
the receptive fields of simple cells in the visual cortex. Is that more than a pretty picture?
"""

# %%
# Seven photographs that come with scikit-image and scikit-learn, in grey and at half their size, whitened: without that
# the coarsest patterns would be all that matters. One photograph, the cameraman, is kept to measure on.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are fastest on one thread

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
from skimage import data
from skimage.transform import downscale_local_mean
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA

from skvardict import StandardDictionaryLearning, sparse_encode
from skvardict.display import DictionaryDisplay
from skvardict.metrics import r2, sparsity
from skvardict.preprocessing import FourierWhitener, PatchSampler

colour = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), *load_sample_images().images]
photographs = [image.mean(axis=2) / 255 for image in colour]
halves = [downscale_local_mean(image, (2, 2)) for image in (*photographs, data.camera() / 255)]
whitened = [image[8:-8, 8:-8] for image in FourierWhitener(variance=1.0).fit_transform(halves)]
side = 12
X_train = PatchSampler((side, side), n_patches=20000, random_state=0).fit_transform(whitened[:-1])
X_test = PatchSampler((side, side), n_patches=2000, random_state=1).fit_transform(whitened[-1:])

# %%
# As many atoms as pixels, and codes that may be negative. Without an encoder the atoms are learnt from running sums,
# and codes are exact.
alpha = 0.01
model = StandardDictionaryLearning(144, encoder=None, positive_code=False, alpha=alpha, random_state=0).fit(X_train)
DictionaryDisplay.from_estimator(model, X=X_test, order="use").plot(cmap="gray")

# %%
# Three dictionaries of the same size that nobody trained for sparse codes: the principal directions, patches of the
# photographs as they are, and noise.
rng = np.random.default_rng(0)
dictionaries = {
    "learnt": model.components_,
    "patches": X_train[rng.choice(len(X_train), 144, replace=False)],
    "PCA": PCA(144).fit(X_train).components_,
    "noise": rng.standard_normal((144, side * side)),
}
dictionaries = {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in dictionaries.items()}

# %%
# How much of its spectrum does an atom have in one direction? The index is 0 for a round spectrum, and 1 for a grating.


def orientation(atoms):
    """Return |sum_f P(f) exp(2i angle(f))| / sum_f P(f) for the power spectrum P of each atom, without its mean."""
    power = np.abs(np.fft.fft2(atoms.reshape(-1, side, side))) ** 2
    power[:, 0, 0] = 0
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    turns = np.exp(2j * np.arctan2(vertical, horizontal))
    return np.abs((power * turns).sum(axis=(1, 2))) / power.sum(axis=(1, 2))


# %%
# All four dictionaries get exact codes at the same ``alpha``. The objective is what these codes minimise: mean square
# error plus ``alpha`` times the L1 norm of a code.
scores = {}
print("dictionary   objective     R^2   zeros   orientation (median)")
for name, atoms in dictionaries.items():
    codes = sparse_encode(X_test, atoms, alpha=alpha, positive=False)
    rows = codes @ atoms
    objective = np.mean((X_test - rows) ** 2) + alpha * np.abs(codes).sum(axis=1).mean()
    scores[name] = orientation(atoms)
    print(f"{name:12s} {objective:9.3f} {r2(X_test, rows):7.3f} {sparsity(codes):7.3f} {np.median(scores[name]):12.2f}")

# %%
# Left, the share of atoms above each value of the index; right, the photograph that no atom has seen, and the same
# rebuilt from the codes of its patches.
figure, (curves, before, after) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained", width_ratios=(1.3, 1, 1))
colors = {"learnt": "#0072B2", "patches": "#E69F00", "PCA": "#009E73", "noise": "#CC79A7"}
for name, values in scores.items():
    curves.plot(np.sort(values), np.linspace(1, 0, len(values)), label=name, color=colors[name])
curves.set(xlabel="orientation index", ylabel="share of atoms above")
curves.legend()

picture = whitened[-1][:240, :240]
tiles = picture.reshape(20, side, 20, side).swapaxes(1, 2).reshape(-1, side * side)
rebuilt = model.inverse_transform(model.transform(tiles)).reshape(20, 20, side, side).swapaxes(1, 2).reshape(240, 240)
share = np.count_nonzero(model.transform(tiles)) / tiles.size
for ax, image, title in ((before, picture, "whitened"), (after, rebuilt, f"from {share:.0%} as many numbers")):
    ax.imshow(image, cmap="gray", vmin=-3, vmax=3)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# It is more than a picture. On a photograph that took no part in learning, the learnt atoms reach an objective of 0.32,
# where principal directions reach 0.45, patches as they are 0.52, and noise 0.84: fewer numbers, and a smaller error.
# Half of the atoms have an orientation index above 0.79; of the patches that they come from, and of principal
# directions, half are below 0.42. Next: dictionaries against noise.
