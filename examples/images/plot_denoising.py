"""
Denoising by sparse codes
=========================

Noise has no sparse code in a dictionary of strokes. How much of it do the encoder's codes leave out?
"""

# %%
# Noise is added in the standardised space. Models are trained on clean digits only; PCA is what costs nothing.
import matplotlib.pyplot as plt  # noqa: TID251
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

models = {
    "SDL": StandardDictionaryLearning(36, alpha=0.03, random_state=0).fit(X_train),
    "VDL": VarianceDictionaryLearning(36, alpha=0.03, random_state=0).fit(X_train),
    "PCA": PCA(8).fit(X_train),
}

# %%
# One pass of the encoder, then the decoder. ``input_psnr`` is that of the noisy rows, ``psnr`` that of what the codes
# reconstruct, both against the clean rows; ``sparsity`` is that of the noisy codes.
table = denoising_table(models, X_test, noise_levels=[0.0, 0.5, 1.0, 1.5], data_range=1 / scaler.scale_)
print(table[["model", "sigma", "input_psnr", "psnr", "sparsity"]].round(2).to_string(index=False))

# %%
# Lines of images: what was there, what the models saw, and what they made of it.
figure, ax = plt.subplots(figsize=(8, 4))
DenoisingDisplay.from_estimator(models, X_test[:12], sigma=1.0).plot(ax)

# %%
# Eight directions are the best that PCA can do at a noise of 1: with more it keeps more noise, with fewer less of the
# digits. SDL is 0.6 dB ahead of it there, with a sixth of its 36 atoms a row, and level with it at a noise of 1.5. VDL
# reconstructs clean digits best, but its codes must vary, and so follow the noise: from a noise of 1 on it is behind
# both, as it is behind SDL in table 1 of the paper. ``score(X_noisy, X_clean)`` is R^2 against clean rows, so that
# ``GridSearchCV(model, grid).fit(X_noisy, X_clean)`` chooses ``alpha`` for denoising. Next: codes where labels are few.
