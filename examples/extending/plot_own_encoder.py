"""
An encoder of your own: a promise about zeros
=============================================

LISTA predicts sparse codes, but no one can say beforehand how many components of a row will be on. Is an encoder that
keeps the k largest components, and trains with that promise, better than one that is cut off afterwards?
"""

# %%
# One mean and one standard deviation for all pixels; half of the digits are held out.
import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skvardict import VarianceDictionaryLearning
from skvardict.display import SamplesDisplay
from skvardict.metrics import r2
from skvardict.networks import EncoderPart
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

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


model = VarianceDictionaryLearning(
    48,
    encoder=TopK(),
    alpha=0.01,
    gamma=20.0,  # codes stay close to what the encoder can predict
    optimizer=Adam(3e-3),
    batch_size=50,
    max_iter=20,
    early_stopping=False,
    random_state=0,
)
print(model)

# %%
# The same model with LISTA, at several ``alpha``. Its codes are cut to their k largest components; for each k the best
# ``alpha`` counts.


def cut(codes, k):
    smallest_kept = np.sort(codes, axis=1)[:, -k, None]
    return np.where(codes >= smallest_kept, codes, 0)


def fitted(**settings):
    return clone(model).set_params(**settings).fit(X_train)


ks = (3, 6, 12)
promised = {k: fitted(encoder__k=k) for k in ks}
lista = [fitted(encoder="lista", alpha=alpha) for alpha in (0.01, 0.03, 0.1)]

codes = {k: promised[k].transform(X_test) for k in ks}
rows = {k: promised[k].inverse_transform(codes[k]) for k in ks}
cut_rows = {k: [other.inverse_transform(cut(other.transform(X_test), k)) for other in lista] for k in ks}
scores = {k: float(r2(X_test, rows[k])) for k in ks}
cut_scores = {k: max(float(r2(X_test, candidate)) for candidate in cut_rows[k]) for k in ks}

# %%
# What is left of the held-out digits.
figure = plt.figure(figsize=(11, 3.6), layout="constrained")
curves, sheet = figure.subplots(1, 2, width_ratios=(1, 1.5))
curves.plot(ks, list(scores.values()), marker="o", label="TopK(k)")
curves.plot(ks, list(cut_scores.values()), marker="s", label="LISTA, cut to k")
curves.set(xlabel="components on, at most", ylabel="R^2 on held-out digits", xticks=ks)
curves.legend()
shown = np.concatenate([X_test[:10], *(rows[k][:10] for k in ks)])
SamplesDisplay.from_rows(np.clip(shown, X.min(), X.max()), image_shape=(8, 8), n_columns=10).plot(
    sheet, title="digits, then TopK with k = " + ", ".join(map(str, ks)), cmap="gray"
)

# %%
# The claim: no code has more than k components on, and at every k the promise reconstructs better than the cut.
for k in ks:
    most = int((codes[k] > 0).sum(axis=1).max())
    print(f"k = {k:2d}: at most {most:2d} on, R^2 {scores[k]:.3f}; LISTA cut to k {cut_scores[k]:.3f}")
    assert most <= k
    assert scores[k] > cut_scores[k]

# %%
# One seed; the gain is largest where the promise is hardest to keep. To give the part a name, put it into a file of its
# own and into ``CODE_ENCODERS`` in ``skvardict/networks/builders.py``: see the user guide, "Extending".
