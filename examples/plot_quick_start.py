"""
Sparse codes of digits in a pipeline
====================================

Do sparse codes help a linear classifier? Learn a dictionary on scikit-learn's digits inside a pipeline, choose the
sparsity ``alpha`` and the variance weight ``beta`` by cross-validation, and compare with raw pixels.
"""

# %%
# Digits have 64 pixels. One mean and one standard deviation for all of them puts the data on the scale that ``alpha``
# and the variance floor assume.
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skvardict import VarianceDictionaryLearning
from skvardict.display import DictionaryDisplay
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)

# %%
# The whole model is one pipeline, and the grid search treats its parameters like any others.
pipeline = Pipeline(
    [
        ("scale", GlobalStandardizer()),
        (
            "sc",
            VarianceDictionaryLearning(
                n_components=128, max_iter=40, optimizer=Adam(1e-3, encoder_learning_rate=1e-4), random_state=0
            ),
        ),
        ("clf", LogisticRegression(max_iter=2000)),
    ]
)
search = GridSearchCV(pipeline, {"sc__alpha": [0.005, 0.02], "sc__beta": [1.0, 10.0]}, cv=3, n_jobs=2)
search.fit(X_train, y_train)

raw = Pipeline([("scale", GlobalStandardizer()), ("clf", LogisticRegression(max_iter=2000))]).fit(X_train, y_train)
print(f"best parameters     {search.best_params_}")
print(f"raw-pixel accuracy  {raw.score(X_test, y_test):.3f}")
print(f"code accuracy       {search.score(X_test, y_test):.3f}")

# %%
# The atoms are strokes and parts of digits.
display = DictionaryDisplay.from_estimator(search.best_estimator_, step="sc", image_shape=(8, 8))
display.plot()
path = Path("digits_atoms.png")
display.figure_.savefig(path, dpi=150, bbox_inches="tight")
print(f"atoms saved to      {path}")

# %%
# Codes of a sparse model are features like any others. Where labels are scarce they help most: see the user guide for
# how to choose ``alpha``.
