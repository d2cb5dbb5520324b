from argparse import Namespace

import pytest

from benchmarks.vdl_mnist import build

GIVEN = {"alpha": 0.02, "decoder": "linear", "epochs": None, "seed": 31, "step_size": "0.5", "device": "cpu"}


@pytest.mark.parametrize(("decoder", "gamma"), [("linear", 5), ("mlp", 100)])
def test_the_paper_s_recipe_is_its_row_with_another_step(decoder, gamma):
    model = build(Namespace(**{**GIVEN, "decoder": decoder, "recipe": "paper", "step_size": "0.25"}))
    assert (model.solver.step_size, model.gamma, model.max_iter, model.random_state) == (0.25, gamma, 3, 31)
    assert (model.optimizer.learning_rate, model.batch_size, model.alpha) == (3e-4, 250, 0.02)


def test_the_automatic_recipe_leaves_everything_to_the_estimator():
    model = build(Namespace(**GIVEN, recipe="auto"))
    assert (model.optimizer, model.batch_size, model.max_iter, model.solver) == ("auto", "auto", "auto", None)
    assert (model.n_components, model.alpha, model.random_state) == (128, 0.02, 31)
