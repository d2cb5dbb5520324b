"""
An encoder of your own: a promise about zeros
=============================================

LISTA predicts sparse codes, but no one can say beforehand how many components of a row will be on. An encoder that
keeps the k largest components can promise it. What does training with that promise gain or cost, against a cut
afterwards?
"""

# %%
# One mean and one standard deviation for all pixels; half of the digits are held out.
import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import nn

from skvardict import VarianceDictionaryLearning
from skvardict.display import SamplesDisplay
from skvardict.metrics import r2
from skvardict.networks import EncoderPart
from skvardict.preprocessing import GlobalStandardizer

X = GlobalStandardizer().fit_transform(load_digits().data).astype(np.float32)
X_train, X_test = train_test_split(X, test_size=0.5, random_state=0)

# %%
# The network is any torch module. It draws its weights from the generator that it is handed, so that ``random_state``
# holds for it, too.


class TopKEncoder(nn.Module):
    """``relu(x W + b)``, of which all but the k largest entries of a row are set to zero."""

    def __init__(self, n_features, n_outputs, k, generator):
        super().__init__()
        bound = n_features**-0.5
        self.weight = nn.Parameter(torch.empty(n_features, n_outputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        self.k = k

    def forward(self, X):
        hidden = (X @ self.weight + self.bias).relu()
        largest = hidden.topk(self.k, dim=-1)
        return torch.zeros_like(hidden).scatter(-1, largest.indices, largest.values)


# %%
# The part holds the settings and builds the network. It clones, prints, and takes part in grids like any estimator.


class TopK(EncoderPart):
    def __init__(self, k=8):
        self.k = k

    def build_encoder(self, n_features, n_outputs, generator):
        return TopKEncoder(n_features, n_outputs, self.k, generator)


model = VarianceDictionaryLearning(48, encoder=TopK(), max_iter=60, random_state=0)
print(model)

# %%
# The same model with LISTA. Its codes are cut to their k largest components. Both are trained at several ``alpha``, and
# for each k the best one counts.


def cut(codes, k):
    smallest_kept = np.sort(codes, axis=1)[:, -k, None]
    return np.where(codes >= smallest_kept, codes, 0)


def fitted(**settings):
    return clone(model).set_params(**settings).fit(X_train)


ks, alphas = (3, 6, 12), (0.01, 0.03, 0.1)
lista = [fitted(encoder="lista", alpha=alpha) for alpha in alphas]
promised = {k: max((fitted(encoder__k=k, alpha=alpha) for alpha in alphas), key=lambda m: m.score(X_test)) for k in ks}

codes = {k: promised[k].transform(X_test) for k in ks}
rows = {k: promised[k].inverse_transform(codes[k]) for k in ks}
cut_rows = {k: [other.inverse_transform(cut(other.transform(X_test), k)) for other in lista] for k in ks}
scores = {k: float(r2(X_test, rows[k])) for k in ks}
cut_scores = {k: max(float(r2(X_test, candidate)) for candidate in cut_rows[k]) for k in ks}
directions = {k: PCA(k).fit(X_train) for k in ks}
pca_scores = {k: float(r2(X_test, pca.inverse_transform(pca.transform(X_test)))) for k, pca in directions.items()}

# %%
# What is left of the held-out digits.
figure = plt.figure(figsize=(11, 3.6), layout="constrained")
curves, sheet = figure.subplots(1, 2, width_ratios=(1, 1.5))
curves.plot(ks, list(scores.values()), marker="o", label="TopK(k)")
curves.plot(ks, list(cut_scores.values()), marker="s", label="LISTA, cut to k")
curves.plot(ks, list(pca_scores.values()), marker="^", label="PCA, k directions")
curves.set(xlabel="components on, at most", ylabel="R^2 on held-out digits", xticks=ks)
curves.legend()
shown = np.concatenate([X_test[:10], *(rows[k][:10] for k in ks)])
SamplesDisplay.from_rows(np.clip(shown, X.min(), X.max()), image_shape=(8, 8), n_columns=10).plot(
    sheet, title="digits, then TopK with k = " + ", ".join(map(str, ks)), cmap="gray"
)

# %%
# The claim: no code has more than k components on, and the promise costs next to nothing. Both are ahead of PCA, the
# same k directions for all digits.
for k in ks:
    most = int((codes[k] > 0).sum(axis=1).max())
    others = f"LISTA cut to k {cut_scores[k]:.3f}, PCA {pca_scores[k]:.3f}"
    print(f"k = {k:2d}: at most {most:2d} on, R^2 {scores[k]:.3f}; {others}")

# %%
# One seed, and a budget of 60 passes, less than half of the default. With three components on TopK is ahead here; with
# the full budget the two are level there, too. What one gains is the promise. To give the part a name, put it into a
# file of its own and into ``CODE_ENCODERS`` in ``skvardict/networks/builders.py``: see the user guide, "Extending".
