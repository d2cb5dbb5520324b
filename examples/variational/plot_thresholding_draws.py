"""
Exact zeros from a variational model, and how many draws they need
==================================================================

Thresholding the draws of a Laplace posterior makes most of them exactly zero. A random support is a poor guess, so the
model trains on the best of several draws. What do more draws buy?
"""

# %%
# Whitened patches of two photographs, standardised: every pixel has variance one.
from time import perf_counter

import matplotlib

matplotlib.use("Agg")
import numpy as np
from sklearn.datasets import load_sample_images

from skvardict import ThresholdedVSC
from skvardict.display import ActivityDisplay, DictionaryDisplay
from skvardict.metrics import jaccard_consistency, r2, sparsity
from skvardict.networks import MLP
from skvardict.preprocessing import FourierWhitener, GlobalStandardizer, PatchSampler

photographs = [image.mean(axis=2)[:, 100:527] / 255 for image in load_sample_images().images]
inner = [image[8:-8, 8:-8] for image in FourierWhitener(variance=0.1).fit_transform(photographs)]
X_train = PatchSampler((8, 8), n_patches=8000, random_state=0).fit_transform(inner[:1])
X_test = PatchSampler((8, 8), n_patches=1000, random_state=1).fit_transform(inner[1:])
scaler = GlobalStandardizer().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

# %%
# ``activation_probability`` is the share of components that are on under the prior; the threshold follows from it.
models = {}
for n_draws in (1, 5, 20):
    begin = perf_counter()
    models[n_draws] = ThresholdedVSC(
        64,
        activation_probability=0.1,
        n_draws=n_draws,
        encoder=MLP((128, 128)),
        max_iter=12,
        random_state=0,
    ).fit(X_train)
    print(f"J = {n_draws:2d}: trained in {perf_counter() - begin:.1f} s, threshold {models[n_draws].threshold_:.3f}")


# %%
# The share on is set, and holds for draws from the prior; draws from the posterior of a test row stay near it. A model
# that trained on the best of several draws is better at its own best draw, and no better at a single one.
def best_of(model, X, n_draws):
    draws = model.sample_codes(X, n_draws, random_state=0)
    errors = [((model.inverse_transform(codes) - X) ** 2).sum(axis=1) for codes in draws]
    return draws[np.argmin(errors, axis=0), np.arange(len(X))]


for n_draws, model in models.items():
    prior = model.sample_prior_codes(2000, random_state=0)
    draws = model.sample_codes(X_test, 20, random_state=0)
    scores = {k: round(r2(X_test, model.inverse_transform(best_of(model, X_test, k))), 3) for k in (1, 20, 100)}
    print(
        f"trained with J = {n_draws:2d}: on {1 - sparsity(prior):.3f} (prior) {1 - sparsity(draws):.3f} (posterior), "
        f"Jaccard index of supports {np.nanmean(jaccard_consistency(draws, model.components_)):.3f}, "
        f"R^2 of the best of k draws {scores}"
    )

# %%
# Two draws for one row share few components: about as many as supports drawn at random. The information is in the whole
# posterior, not in the support of a draw. `transform` therefore does not draw: with a linear dictionary it solves for
# the most probable code, started at the posterior mean. Faint patches get no component at all; the picture has the
# codes of the three strongest.
model = models[20]
print(f"transform: R^2 {model.score(X_test):.3f}, fraction on {1 - sparsity(model.transform(X_test)):.3f}")
DictionaryDisplay.from_estimator(model, order="norm").plot(title="atoms, J = 20")
ranking = np.argsort(np.linalg.norm(X_test, axis=1))[::-1]
ActivityDisplay.from_estimator(model, X_test[ranking[:3]]).plot()

# %%
# Twenty draws cost far less than twenty times one: only the chosen draw is back-propagated. The user guide compares the
# ways from a posterior to a code (`transform_algorithm`).
