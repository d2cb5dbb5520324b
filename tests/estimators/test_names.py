import inspect

import numpy as np
import pytest
from sklearn.base import clone

import skvardict
from skvardict import SparseCoder, SparseVAE, VarianceDictionaryLearning, sparse_encode, sparse_encode_path
from skvardict.networks import MLP

ROWS = np.eye(4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: VarianceDictionaryLearning(transform_alpha=1), "has no 'transform_alpha'; it is alpha"),
        (lambda: VarianceDictionaryLearning(learning_rate=1), r"it is optimizer=Adam\(learning_rate=\.\.\.\) here"),
        (lambda: SparseVAE(n_epochs=1), "SparseVAE has no 'n_epochs'; it is max_iter here"),
        (lambda: VarianceDictionaryLearning(alhpa=1), "has no 'alhpa'. Did you mean 'alpha'?"),
        (lambda: VarianceDictionaryLearning(foo=1), "has no 'foo'. It takes n_components, decoder"),
        (lambda: MLP(hidden_layers=3), "MLP has no 'hidden_layers'. Did you mean 'hidden_layer_sizes'?"),
        (lambda: SparseCoder(ROWS, transform_alpha=1), "SparseCoder has no 'transform_alpha'; it is alpha"),
        (lambda: SparseCoder(components=ROWS), "SparseCoder has no 'components'; it is dictionary"),
        (lambda: sparse_encode(ROWS, dictionary=ROWS), "sparse_encode has no 'dictionary'; it is components"),
        (lambda: sparse_encode(ROWS, ROWS, regularization=1), "sparse_encode has no 'regularization'; it is alpha"),
        (lambda: sparse_encode_path(ROWS, dictionary=ROWS), "sparse_encode_path has no 'dictionary'; it is components"),
    ],
)  # fmt: skip
def test_an_unknown_keyword_is_answered_with_the_right_one(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_setting_a_parameter_of_another_name_is_answered_too():
    with pytest.raises(ValueError, match=r"has no 'learning_rate'; it is optimizer=Adam\(learning_rate=\.\.\.\) here"):
        VarianceDictionaryLearning().set_params(learning_rate=0.1)
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        VarianceDictionaryLearning().set_params(foo=0.1)


def test_weights_of_rows_are_refused_in_the_name_of_the_class_that_users_know():
    for estimator in (VarianceDictionaryLearning(2), SparseCoder(ROWS)):
        with pytest.raises(TypeError, match=rf"{type(estimator).__name__}\.fit got an unexpected .*'sample_weight'"):
            estimator.fit(ROWS, sample_weight=np.ones(4))


def test_other_names_are_no_parameters_and_what_they_stand_for_is():
    for name in skvardict.__all__:
        kind = getattr(skvardict, name)
        if not hasattr(kind, "_OTHER_NAMES"):
            continue
        parameters = inspect.signature(kind).parameters
        assert not parameters.keys() & kind._OTHER_NAMES.keys() - {"hidden_layer_sizes"}
        assert clone(kind(ROWS) if kind is SparseCoder else kind()).get_params(deep=False).keys() == parameters.keys()
