"""The ablation of the paper on a small problem: what happens to codes without the variance term."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skvardict import VarianceDictionaryLearning
from skvardict.metrics import dead_components
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

X = GlobalStandardizer().fit_transform(load_digits().data / 16).astype(np.float32)
BATCHES = [X[start : start + 100] for _ in range(6) for start in range(0, 1700, 100)]


# The paper's training: constant rates from uniform atoms.
PAPER = {
    "init": "random",
    "optimizer": Adam(3e-4, encoder_learning_rate=1e-4),
    "batch_size": 100,
}


def lowest_l1(model):
    """The smallest mean L1 of a batch of solver codes in training; a call of `partial_fit` is a batch."""
    for batch in BATCHES:
        model.partial_fit(batch)
    return min(model.history_["l1"])


@pytest.mark.filterwarnings("ignore:.*never active:UserWarning")  # the collapse is what is looked at
@pytest.mark.parametrize("seed", [0, 1])
def test_codes_collapse_without_the_variance_term_and_not_with_it(seed):
    def model(beta):
        return VarianceDictionaryLearning(64, alpha=0.1, beta=beta, random_state=seed, **PAPER)

    protected, unprotected = model(10.0), model(0.0)
    # over seeds 0 to 3: 3.4 to 3.8 with the term, 0.7 to 1.0 without; 0 or 1 against 8 to 13 of 64 dead
    assert lowest_l1(protected) > 3 * lowest_l1(unprotected)
    dead = [dead_components(m.set_params(transform_algorithm="solver").transform(X)) for m in (protected, unprotected)]
    assert dead[0] <= 1
    assert dead[1] >= 5


def test_codes_of_a_multi_layer_decoder_shrink_without_the_variance_term():
    def model(beta):
        return VarianceDictionaryLearning(64, alpha=0.1, beta=beta, decoder=MLP((128,)), random_state=0, **PAPER)

    # 7.2 against 5.0
    assert lowest_l1(model(10.0)) > 1.2 * lowest_l1(model(0.0))
