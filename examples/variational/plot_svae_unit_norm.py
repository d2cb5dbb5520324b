"""
What unit-norm atoms do to a sparse VAE
=======================================

A sparse-coding VAE leaves the norms of its atoms free, and some of its components end up unused. Does it help to put
every atom back to unit norm after each step, as sparse coding has always done?
"""

# %%
# Two photographs that come with scikit-learn, whitened, give small patches: one to train, one to test. The patches
# keep their scale, variance 0.1; only the mean of each is taken out.
import matplotlib

matplotlib.use("Agg")
import numpy as np
from sklearn.datasets import load_sample_images

from skvardict import SparseVAE
from skvardict.display import DictionaryDisplay, SamplesDisplay
from skvardict.metrics import active_components
from skvardict.networks import MLP
from skvardict.preprocessing import FourierWhitener, PatchSampler

photographs = [image.mean(axis=2)[:, 100:527] / 255 for image in load_sample_images().images]
whitened = FourierWhitener(variance=0.1).fit_transform(photographs)
inner = [image[8:-8, 8:-8] for image in whitened]  # whitening wraps round at the borders
X_train = PatchSampler((12, 12), n_patches=8000, random_state=0).fit_transform(inner[:1])
X_test = PatchSampler((12, 12), n_patches=2000, random_state=1).fit_transform(inner[1:])
X_train, X_test = (rows - rows.mean(axis=1, keepdims=True) for rows in (X_train, X_test))

# %%
# Two models that differ in `atom_norm` only. What matters of the likelihood's variance and the weight of the KL
# term is one product, ``kl_weight * n_features``: 0.02 here.
models = {
    name: SparseVAE(
        200,
        atom_norm=atom_norm,
        kl_weight=0.02 / 144,
        encoder=MLP((256,)),
        max_iter=12,
        early_stopping=False,
        random_state=0,
    ).fit(X_train)
    for name, atom_norm in [("free", None), ("unit norm", 1.0)]
}

# %%
# How many components does each model use? The literature counts in several ways, and they do not agree: name the one
# that you use. Atoms without a constraint drift apart in norm.
for name, model in models.items():
    means = model.transform(X_test)
    used = {criterion: int(active_components(means, criterion=criterion).sum()) for criterion in ("max", "variance")}
    norms = np.quantile(np.linalg.norm(model.components_, axis=1), [0.05, 0.5, 0.95])
    print(f"{name:10s} active {used}   R^2 {model.score(X_test):.3f}   norms 5/50/95 % {norms.round(2)}")

# %%
# The atoms, largest first, each scaled on its own.
for name, model in models.items():
    DictionaryDisplay.from_estimator(model, order="norm", n_atoms=100).plot(title=f"atoms, {name}")

# %%
# Samples from the prior: sums of a few atoms.
SamplesDisplay.from_estimator(models["unit norm"], n_samples=36, random_state=0).plot(title="samples, unit norm")

# %%
# With unit norms more components carry a part of the picture. R^2 is not what tells: 200 atoms span all 144 pixels, and
# PCA with 100 directions leaves half a percent of the variance. The pictures show a start only: after 12 epochs few
# atoms have an orientation, and samples are hardly more than noise. The effect depends on ``kl_weight``: it shrinks
# where the KL term is weak, and can turn round where it is strong. ``python -m benchmarks.reproduce_svae patches``
# measures that on more data.
