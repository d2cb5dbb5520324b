"""
Few labels
==========

All digits are there, but only a few of each class have a label. Does a dictionary learned without labels help a linear
classifier?
"""

# %%
# Codes are learned on all training rows, labels are drawn from them; C and the best of several ``alpha`` are chosen on
# validation rows, and errors are measured on others.
import matplotlib.pyplot as plt  # noqa: TID251
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvardict import VarianceDictionaryLearning
from skvardict.display import LowLabelDisplay
from skvardict.evaluation import LISTAClassifier, low_label_curve
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

X, y = load_digits(return_X_y=True)
X = GlobalStandardizer().fit_transform(X / 16)
X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=0.6, random_state=0, stratify=y)
X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest)

training = {
    "max_iter": 40,
    "batch_size": 100,
    "optimizer": Adam(2e-3, encoder_learning_rate=1e-4),
    "early_stopping": False,
    "random_state": 0,
}
models = {
    "VDL": {a: VarianceDictionaryLearning(128, alpha=a, **training).fit(X_train) for a in (0.02, 0.1)},
    "raw pixels": "passthrough",
    "LISTA + linear": LISTAClassifier(128, max_updates=100),
}

# %%
# Three draws of the labels, the same for all models; bars are standard errors.
splits = (X_train, y_train), (X_val, y_val), (X_test, y_test)
table = low_label_curve(models, *splits, labels_per_class=[1, 3, 10], n_draws=3, Cs=(0.01, 1, 100))
display = LowLabelDisplay(table)
print(display.summary[["model", "n_per_class", "candidate", "top1_error", "top1_se"]].round(2).to_string(index=False))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, top in zip(axes, (1, 3)):
    display.plot(ax, top=top, capsize=2)

# %%
# The table keeps every draw, and the labels of a draw are the same for all: models can be compared pair by pair.
chosen = table.merge(display.summary[["model", "n_per_class", "candidate"]])
paired = chosen.pivot(index=["n_per_class", "draw"], columns="model", values="top1_error")
gain = (paired["raw pixels"] - paired["VDL"]).groupby("n_per_class").agg(["mean", "sem"])
print("percent fewer errors with codes than with pixels", gain.round(2), sep="\n")
