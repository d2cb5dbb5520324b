"""
Features against alpha
======================

What does the sparsity ``alpha`` do to a dictionary? With a small one every pixel can be explained by many faint atoms;
with a large one only few atoms may be active, and each must say more.
"""

# %%
# Digits of 8 x 8 pixels, on the scale that ``alpha`` assumes. Half of them is kept to measure on.
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt  # noqa: TID251
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
# The regret curve shows how much PSNR a model gives up for its zeros. The variance-regularised model is compared with
# one whose atoms have norm 1. Finished points and models are kept in a folder: a killed run continues where it was. To
# keep the example short each fit makes 60 passes over the rows, less than half of what it takes by itself.
models = {"VDL": VarianceDictionaryLearning(36, max_iter=60), "SDL": StandardDictionaryLearning(36, max_iter=60)}
alphas = {"VDL": (0.005, 0.02, 0.1), "SDL": (0.005, 0.02, 0.05)}
folder = TemporaryDirectory()
table = regret_curve(
    models, X_train, X_test, alphas=alphas, data_range=1 / scaler.scale_, folder=folder.name, keep_models=True
)
print(table[["model", "alpha", "psnr", "sparsity", "l1", "n_dead"]].round(3).to_string(index=False))
RegretCurveDisplay(table).plot(annotate=True)

# %%
# What do so few numbers give without learning to be sparse? PCA keeps the same directions for every digit.
for n_active in (3, 6):
    pca = PCA(n_active).fit(X_train)
    reconstructed = pca.inverse_transform(pca.transform(X_test))
    print(f"PCA, {n_active} numbers a digit: {psnr(X_test, reconstructed, data_range=1 / scaler.scale_):.1f} dB")

# %%
# The dictionaries behind the points of VDL. From left to right atoms turn from pieces into whole digits.
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for ax, alpha in zip(axes, alphas["VDL"]):
    model = clone(models["VDL"]).set_params(alpha=alpha, random_state=0)
    fitted = fit_or_load(model, X_train, folder=f"{folder.name}/models")
    DictionaryDisplay.from_estimator(fitted).plot(ax, title=f"alpha = {alpha:g}")
folder.cleanup()

# %%
# With nine zeros in ten, three atoms of 36 a digit, VDL is at about 16 dB, ahead of PCA with three directions and with
# six. At equal sparsity VDL is ahead of SDL, too. At equal ``alpha`` nothing can be said, since it means different
# things to the two: codes of VDL keep a standard deviation, those of SDL need not. Next: what sparse codes do to noise.
