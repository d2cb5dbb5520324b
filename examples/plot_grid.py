"""
A grid as one program
=====================

Which ``alpha`` and ``beta``? A grid answers, but ``GridSearchCV`` trains one small model after the other, and small
models wait for operations to start more than they compute. Here all of them are trained at once.
"""

# %%
# Digits, in a pipeline that ends in a classifier. Four alphas, two betas and three folds are 24 dictionaries; with two
# strengths of the classifier there are 48 fits.
from time import perf_counter

import matplotlib.pyplot as plt  # noqa: TID251
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skvardict import VarianceDictionaryLearning
from skvardict.display import RegretCurveDisplay
from skvardict.evaluation import regret_curve, regret_summary
from skvardict.model_selection import BatchedGridSearchCV
from skvardict.preprocessing import GlobalStandardizer

X, y = load_digits(return_X_y=True)
coder = VarianceDictionaryLearning(48, max_iter=20, random_state=0)
pipeline = Pipeline([("scale", GlobalStandardizer()), ("coder", coder), ("clf", LogisticRegression(max_iter=2000))])
grid = {"coder__alpha": [0.002, 0.005, 0.02, 0.05], "coder__beta": [3.0, 10.0], "clf__C": [0.1, 1.0]}

begin = perf_counter()
search = BatchedGridSearchCV(pipeline, grid, cv=3, verbose=1).fit(X, y)
print(f"all of them: {perf_counter() - begin:.1f} s, best accuracy {search.best_score_:.3f} at {search.best_params_}")

# %%
# The same by scikit-learn, over a quarter of the grid: two alphas and one beta.
begin = perf_counter()
few = {"coder__alpha": [0.005, 0.02], "coder__beta": [10.0], "clf__C": [0.1, 1.0]}
one_by_one = GridSearchCV(pipeline, few, cv=3).fit(X, y)
print(f"a quarter of them, one by one: {perf_counter() - begin:.1f} s, best accuracy {one_by_one.best_score_:.3f}")

# %%
# Scores are those of scikit-learn: what both have searched agrees but for rounding.
ours, theirs = (pd.DataFrame(found.cv_results_) for found in (search, one_by_one))
names = [f"param_{name}" for name in grid]
both = theirs.merge(ours, on=names, suffixes=("_one_by_one", "_together"))
print(both[[*names, "mean_test_score_one_by_one", "mean_test_score_together"]].to_string(index=False))

# %%
# Accuracy over the grid, for the best strength of the classifier. In grey: logistic regression on the pixels, and on as
# many principal components as a code has entries.
best = ours.astype(dict.fromkeys(names, float)).groupby(names[:2])["mean_test_score"].max().unstack()
figure, ax = plt.subplots(layout="constrained")
for beta, accuracies in best.items():
    ax.plot(accuracies.index, accuracies, marker="o", label=f"codes, beta = {beta:g}")
for name, features, style in (("pixels", "passthrough", "--"), ("PCA, 48 components", PCA(48), ":")):
    reference = clone(pipeline).set_params(coder=features)
    found = GridSearchCV(reference, {"clf__C": grid["clf__C"]}, cv=3).fit(X, y)
    ax.axhline(found.best_score_, color="grey", linestyle=style, label=name)
ax.set(xscale="log", xlabel="alpha", ylabel="accuracy, three folds")
ax.set_xticks(grid["coder__alpha"], grid["coder__alpha"])
ax.set_xticks([], minor=True)
ax.legend()

# %%
# Curves over several seeds are trained in the same way: four alphas and three seeds are twelve models and one call. The
# band is one standard error over seeds.
scaler = GlobalStandardizer()
rows = scaler.fit_transform(X / 16)
order = np.random.default_rng(0).permutation(len(rows))
train, test = rows[order[:1200]], rows[order[1200:]]
table = regret_curve(coder, train, test, alphas=grid["coder__alpha"], n_seeds=3, data_range=1 / scaler.scale_)
print(regret_summary(table)[["alpha", "sparsity", "sparsity_se", "psnr", "psnr_se"]].round(4).to_string(index=False))
RegretCurveDisplay(table).plot(annotate=True)

# %%
# One call searches the whole grid, and its scores are those of one model after the other. With all labels of digits a
# linear classifier does about as well on pixels; the grid is cheap enough to find that out. Next: what codes are worth
# where labels are few.
