"""
Digits that nobody wrote
========================

A sparse variational autoencoder has a prior over codes: draw a code, decode it, and there is a new digit. Or is there?
A classifier of real digits is the judge, and a Gaussian over pixels is what has to be beaten.
"""

# %%
# Half of the digits train the models and the judge, the other half is what samples are compared with.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are fastest on one thread

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skvardict import SparseVAE
from skvardict.display import LatentSweepDisplay, SamplesDisplay
from skvardict.metrics import active_components, frechet_distance
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

X, y = load_digits(return_X_y=True)
X = GlobalStandardizer().fit_transform(X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)

# %%
# Twelve components are few enough for the prior to be filled: with hundreds most codes drawn from it are of no digit.
# The decoder is not linear, because sums of strokes drawn at random are no digits either. The weight of the divergence
# is large for the same reason: it keeps the codes of real digits where the prior has its mass.
settings = {
    "decoder": MLP((256,)),
    "encoder": MLP((256,)),
    "atom_norm": None,
    "kl_weight": 0.02,
    "optimizer": Adam(3e-3),
    "max_iter": 200,
    "early_stopping": False,
    "random_state": 0,
}
models = {
    "Laplace prior": SparseVAE(12, prior="laplace", prior_scale=0.5**0.5, **settings).fit(X_train),
    "Gaussian prior": SparseVAE(12, prior="gaussian", prior_scale=1.0, **settings).fit(X_train),
}
for name, model in models.items():
    used = int(active_components(model.transform(X_test), criterion="variance").sum())
    print(f"{name:15s} R^2 of held-out digits {model.score(X_test):.2f}, components in use {used} of 12")

# %%
# Samples, as many as there are held-out digits. The Gaussian over pixels has the mean and the covariance of the
# training digits. All are cut to the range of a pixel.
n = len(X_test)
rng = np.random.default_rng(0)
samples = {name: model.sample(n, random_state=0) for name, model in models.items()}
samples["Gaussian over pixels"] = rng.multivariate_normal(X_train.mean(axis=0), np.cov(X_train.T), size=n)
samples = {name: np.clip(rows, X.min(), X.max()).astype(np.float32) for name, rows in samples.items()}
samples["held-out digits"] = X_test

# %%
# The judge is a logistic regression on products of pixels. It says how many samples it takes for one of the ten digits
# with a probability above 0.9, and which digits they are: an entropy of log(10) = 2.30 is all ten alike. The Frechet
# distance compares means and covariances of what the judge sees, its ten logits.
judge = make_pipeline(PolynomialFeatures(2, interaction_only=True), LogisticRegression(C=1e-2, max_iter=200))
judge.fit(X_train, y_train)
print(f"accuracy of the judge {judge.score(X_test, y_test):.3f}")
for name, rows in samples.items():
    probabilities = judge.predict_proba(rows)
    shares = np.bincount(probabilities.argmax(axis=1), minlength=10) / n
    entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-12)))
    sure = np.mean(probabilities.max(axis=1) > 0.9)
    distance = frechet_distance(judge.decision_function(rows), judge.decision_function(X_train[:n]))
    print(f"{name:21s} sure {sure:4.0%}   entropy of classes {entropy:.2f}   Frechet distance {distance:6.2f}")

# %%
# What the numbers say can be seen.
figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for ax, name in zip(axes, ("Laplace prior", "Gaussian over pixels", "held-out digits")):
    SamplesDisplay.from_rows(samples[name][:64]).plot(ax, title=name)

# %%
# A sweep changes one component of a digit's code and leaves the others: the components of this decoder are ways in
# which digits differ. Each row is a component, from the one that is largest in the code down.
digit = X_test[y_test == 3][:1]
LatentSweepDisplay.from_estimator(models["Laplace prior"], digit, values=np.linspace(-3, 3, 9)).plot(
    vmin=X.min(), vmax=X.max()
)

# %%
# Of the samples of the sparse model the judge takes 24 % for a digit, of the Gaussian over pixels 7 %, of real digits
# 81 %. That is three times better than no model, and a long way from digits: many samples lie between two of them.
# The Laplace prior is a little ahead of the Gaussian one, by less than one would bet on with one seed. Sweeps show
# the same: one component turns a 3 into a 9 and another into an 8 or a 5, and where a component is far from its usual
# values, the picture is of nothing. Four of twelve components carry nothing, and their rows do not change.
