import json
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV, ShuffleSplit, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import skvardict.model_selection._blocks as blocks_module
import skvardict.model_selection._training as training_module
from skvardict import SparseVAE, SpikeAndSlabVSC, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.model_selection import BatchedGridSearchCV, BatchedRandomizedSearchCV
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA
from skvardict.training import SGD, Adam, CheckpointMismatchError

# Three epochs are few on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*the encoder leaves .* components unused")

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:300], LABELS[:300]
SCALED = GlobalStandardizer().fit_transform(DIGITS)
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}  # coders are float32 here and there, trained in another order of sums


def small_coder(**changes):
    return VarianceDictionaryLearning(**{"n_components": 8, "max_iter": 3, "random_state": 0, **changes})


def small_pipeline(**changes):
    steps = {"scale": GlobalStandardizer(), "coder": small_coder(), "clf": LogisticRegression(max_iter=2000), **changes}
    return Pipeline(list(steps.items()))


@pytest.fixture
def trained(monkeypatch):
    """How many coders each call of `fit_together` was given."""
    numbers, fit_together = [], blocks_module.fit_together

    def counted(members, *args, **kwargs):
        numbers.append(len(members))
        return fit_together(members, *args, **kwargs)

    monkeypatch.setattr(blocks_module, "fit_together", counted)
    return numbers


def assert_equal_results(ours, theirs, **tolerance):
    """Compare all but times."""
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        if "time" in name:
            assert (ours[name] >= 0).all()
        elif name == "params":
            assert ours[name] == values
        elif np.asarray(values).dtype.kind == "f" and "score" in name.replace("test_", "score").replace(
            "train_", "score"
        ):
            np.testing.assert_allclose(ours[name], values, **(tolerance or ROUNDING), err_msg=name)
        elif not name.startswith("rank"):  # of scores that are equal but for rounding
            assert ours[name].tolist() == values.tolist(), name


def both(estimator, grid, X, y=None, **options):
    fit_params = options.pop("fit_params", {})
    ours = BatchedGridSearchCV(estimator, grid, **options).fit(X, y, **fit_params)
    theirs = GridSearchCV(estimator, grid, **options).fit(X, y, **fit_params)
    assert_equal_results(ours.cv_results_, theirs.cv_results_)
    return ours, theirs


def test_a_coder_is_searched_as_scikit_learn_does(trained):
    grid = {"alpha": [0.005, 0.05], "beta": [1.0, 10.0]}
    ours, theirs = both(small_coder(), grid, SCALED, cv=3, return_train_score=True)
    assert trained == [12]
    assert ours.best_params_ == theirs.best_params_
    assert ours.n_splits_ == 3
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-4)
    np.testing.assert_allclose(ours.best_estimator_.components_, theirs.best_estimator_.components_, **ROUNDING)
    np.testing.assert_allclose(ours.transform(SCALED[:5]), theirs.transform(SCALED[:5]), rtol=1e-3, atol=1e-5)
    assert vars(ours).keys() == vars(theirs).keys() | {"max_bytes"}
    assert vars(ours.best_estimator_).keys() == vars(theirs.best_estimator_).keys()


def test_candidates_that_differ_in_later_steps_share_a_coder(trained):
    grid = {"coder__alpha": [0.005, 0.05], "coder__beta": [1.0, 10.0], "clf__C": [0.1, 1.0]}
    ours, theirs = both(small_pipeline(), grid, DIGITS, LABELS, cv=3, return_train_score=True)
    assert trained == [2 * 2 * 3]
    assert ours.best_params_ == theirs.best_params_
    assert ours.score(DIGITS, LABELS) == pytest.approx(theirs.score(DIGITS, LABELS), abs=0.01)
    assert ours.classes_.tolist() == list(range(10))
    assert is_classifier(ours)


def test_earlier_steps_are_fitted_once_for_each_fold_and_setting(trained, monkeypatch):
    fits, fit = [], StandardScaler.fit

    def counted(self, X, y=None, sample_weight=None):
        fits.append(len(X))
        return fit(self, X, y)

    monkeypatch.setattr(StandardScaler, "fit", counted)
    grid = {"scale__with_std": [True, False], "coder__alpha": [0.005, 0.05], "clf__C": [0.1, 1.0]}
    pipeline = small_pipeline(scale=StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the mean square without scaling
        ours = BatchedGridSearchCV(pipeline, grid, cv=3, refit=False).fit(DIGITS, LABELS)
        assert fits == 2 * 3 * [200]
        assert trained == [2 * 2 * 3]
        theirs = GridSearchCV(pipeline, grid, cv=3, refit=False).fit(DIGITS, LABELS)
    assert_equal_results(ours.cv_results_, theirs.cv_results_)


def test_widths_that_differ_are_trained_apart_and_steps_may_come_and_go(trained):
    pipeline = small_pipeline(pca=PCA(random_state=0))
    pipeline = Pipeline([pipeline.steps[0], pipeline.steps[3], pipeline.steps[1], pipeline.steps[2]])
    grid = [{"pca__n_components": [10, 20]}, {"pca": ["passthrough"], "coder__alpha": [0.05]}]
    both(pipeline, grid, DIGITS, LABELS, cv=2, refit=False)
    assert trained == [2, 2, 2]


def test_steps_that_transform_the_rows_they_learn_from_in_another_way_are_respected():
    class Noisy(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X

        def fit_transform(self, X, y=None):
            return X + np.random.default_rng(0).normal(size=X.shape)

    pipeline = Pipeline([("noise", Noisy()), *small_pipeline().steps])
    both(pipeline, {"clf__C": [0.1, 1.0]}, DIGITS, LABELS, cv=2, refit=False)


def test_several_scores_and_rules_for_the_best():
    scoring = {"accuracy": "accuracy", "loss": "neg_log_loss"}
    grid = {"coder__alpha": [0.005, 0.05], "clf__C": [0.01, 1.0]}
    ours, theirs = both(small_pipeline(), grid, DIGITS, LABELS, cv=2, scoring=scoring, refit="loss")
    assert ours.best_params_ == theirs.best_params_
    assert ours.multimetric_
    assert set(ours.scorer_) == set(scoring)

    def simplest(results):
        return int(np.argmin(results["param_clf__C"].astype(float)))

    ours, _ = both(small_pipeline(), grid, DIGITS, LABELS, cv=2, scoring=scoring, refit=simplest)
    assert ours.best_params_["clf__C"] == 0.01
    assert not hasattr(ours, "best_score_")
    ours, _ = both(small_pipeline(), grid, DIGITS, LABELS, cv=2, scoring=scoring, refit=False)
    assert not hasattr(ours, "best_estimator_")
    with pytest.raises(ValueError, match="refit"):
        BatchedGridSearchCV(small_pipeline(), grid, scoring=scoring).fit(DIGITS, LABELS)


def test_a_scorer_sees_the_pipeline_and_the_rows():
    seen = []

    def sparsity(pipeline, X, y):
        seen.append((type(pipeline), type(pipeline["coder"]), X.shape[1]))
        return float((pipeline[:-1].transform(X) == 0).mean())

    both(small_pipeline(), {"coder__alpha": [0.005, 0.05]}, DIGITS, LABELS, cv=2, scoring=sparsity)
    assert set(seen) == {(Pipeline, VarianceDictionaryLearning, 64)}


def test_candidates_that_fail_get_the_error_score():
    grid = {"coder__alpha": [-1.0, 0.05], "clf__C": [1.0]}
    search = BatchedGridSearchCV(small_pipeline(), grid, cv=2, error_score=-7.0)
    with (
        pytest.warns(UserWarning, match="1 of 2 candidates one by one: .*alpha"),
        pytest.warns(FitFailedWarning, match=r"2 fits failed out of a total of 4(.|\n)*'alpha' parameter"),
    ):
        search.fit(DIGITS, LABELS)
    assert search.cv_results_["mean_test_score"][0] == -7.0
    assert search.best_params_ == {"clf__C": 1.0, "coder__alpha": 0.05}
    with pytest.raises(ValueError, match="alpha"), pytest.warns(UserWarning, match="one by one"):
        search.set_params(error_score="raise").fit(DIGITS, LABELS)
    search.set_params(param_grid={"coder__alpha": [-1.0, -2.0]}, error_score=np.nan)
    with pytest.raises(ValueError, match="All the 4 fits failed"), pytest.warns(UserWarning, match="one by one"):
        search.fit(DIGITS, LABELS)


@pytest.mark.filterwarnings("ignore:.*the solver did not converge")
def test_a_coder_that_diverges_fails_alone(trained):
    grid = {"optimizer": [SGD(1e30), SGD(1e-3)]}
    search = BatchedGridSearchCV(small_coder(max_iter=5), grid, cv=2)
    with (
        pytest.warns(UserWarning, match="test scores are non-finite"),
        pytest.warns(FitFailedWarning, match=r"2 fits failed out of a total of 4(.|\n)*TrainingDivergedError"),
    ):
        search.fit(SCALED)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False]
    assert trained == [4]


def test_frames_keep_their_names_and_set_output_is_kept():
    frame = pd.DataFrame(DIGITS, columns=[f"pixel{i}" for i in range(64)])
    ours, theirs = both(small_pipeline(), {"coder__alpha": [0.005, 0.05]}, frame, LABELS, cv=2)
    assert ours.feature_names_in_.tolist() == list(frame.columns)
    assert ours.predict(frame).tolist() == theirs.predict(frame).tolist()
    scaled = pd.DataFrame(SCALED, columns=frame.columns)
    ours, _ = both(small_coder().set_output(transform="pandas"), {"alpha": [0.005, 0.05]}, scaled, cv=2)
    assert ours.transform(scaled).columns[0] == "variancedictionarylearning0"
    seen = []

    def look(pipeline, X, y):
        seen.append(pipeline["coder"].feature_names_in_[0])
        seen.append(type(pipeline[:-1].transform(X)))
        return 0.0

    pipeline = small_pipeline().set_output(transform="pandas")
    both(pipeline, {"clf__C": [0.1, 1.0]}, frame, LABELS, cv=2, scoring=look)
    assert set(seen) == {"pixel0", pd.DataFrame}


def test_groups_weights_and_random_splits_go_where_scikit_learn_sends_them():
    groups, weights = np.arange(300) % 5, np.linspace(0, 1, 300)
    grid = {"coder__alpha": [0.005, 0.05], "clf__C": [0.1, 1.0]}
    fit_params = {"groups": groups, "clf__sample_weight": weights}
    both(small_pipeline(), grid, DIGITS, LABELS, cv=GroupKFold(3), fit_params=fit_params)
    plain = BatchedGridSearchCV(small_pipeline(), grid, cv=GroupKFold(3)).fit(DIGITS, LABELS, groups=groups)
    weighed = BatchedGridSearchCV(small_pipeline(), grid, cv=GroupKFold(3)).fit(DIGITS, LABELS, **fit_params)
    assert not np.allclose(plain.cv_results_["mean_test_score"], weighed.cv_results_["mean_test_score"])
    both(small_pipeline(), grid, DIGITS, LABELS, cv=ShuffleSplit(2, random_state=0))
    masks = [(np.arange(300) % 2 == i, np.arange(300) % 2 != i) for i in range(2)]
    _, theirs = both(small_coder(), {"alpha": [0.005, 0.05]}, SCALED, cv=masks)
    once = BatchedGridSearchCV(small_coder(), {"alpha": [0.005, 0.05]}, cv=(split for split in masks)).fit(SCALED)
    assert_equal_results(once.cv_results_, theirs.cv_results_)


def test_processes_find_what_was_trained(trained):
    grid = {"coder__alpha": [0.005, 0.05], "clf__C": [0.1, 1.0]}
    both(small_pipeline(), grid, DIGITS, LABELS, cv=2, n_jobs=2)
    assert trained == [4]


def test_a_state_of_a_generator_means_the_same_in_both():
    both(small_coder(random_state=np.random.RandomState(3)), {"alpha": [0.005, 0.05]}, SCALED, cv=2)


def test_every_fit_has_an_equal_share_of_the_time_of_training(monkeypatch):
    times = iter([1000.0, 1000.0 + 4 * 5000.0])
    monkeypatch.setattr(training_module, "perf_counter", lambda: next(times))
    search = BatchedGridSearchCV(small_coder(), {"alpha": [0.005, 0.05]}, cv=2, refit=False).fit(SCALED)
    of_its_own = search.cv_results_["mean_fit_time"] - 5000.0
    assert (of_its_own > 0).all()  # taking the coder from the shelf
    assert (of_its_own < 5000.0).all()


def test_draws_of_parameters_are_those_of_scikit_learn():
    distributions = {"alpha": loguniform(1e-3, 1e-1), "beta": [1.0, 10.0]}
    options = {"n_iter": 3, "cv": 2, "refit": True}
    seeds = {"ours": np.random.RandomState(4), "theirs": np.random.RandomState(4)}
    ours = BatchedRandomizedSearchCV(small_coder(), distributions, random_state=seeds["ours"], **options).fit(SCALED)
    theirs = RandomizedSearchCV(small_coder(), distributions, random_state=seeds["theirs"], **options).fit(SCALED)
    assert_equal_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_


@pytest.mark.parametrize(
    ("estimator", "grid", "reason"),
    [
        (make_pipeline(PCA(4), LogisticRegression(max_iter=2000)), {"pca__n_components": [2, 4]}, "has 0 steps"),
        (PCA(4), {"n_components": [2, 4]}, "PCA is neither an estimator of skvardict nor a Pipeline"),
        (make_pipeline(small_coder(), small_coder()), {"memory": [None]}, "has 2 steps"),
        (SpikeAndSlabVSC(4, expectation="draws", max_iter=1, random_state=0), {"max_iter": [1, 2]}, "SpikeAndSlabVSC"),
    ],
)
def test_what_cannot_be_trained_together_is_left_to_scikit_learn(estimator, grid, reason, trained):
    search = BatchedGridSearchCV(estimator, grid, cv=2)
    with pytest.warns(UserWarning, match=rf"^BatchedGridSearchCV fits .* candidates one by one.*{reason}"):
        search.fit(SCALED, LABELS)
    assert trained == []
    assert_equal_results(search.cv_results_, GridSearchCV(estimator, grid, cv=2).fit(SCALED, LABELS).cv_results_)


def test_candidates_of_other_kinds_are_fitted_beside_those_that_share(trained):
    other = StandardDictionaryLearning(8, max_iter=3, random_state=0)
    steps = [small_coder(), other, PCA(8), NMF(8, max_iter=500, random_state=0)]
    pipeline = small_pipeline(scale=StandardScaler(with_mean=False), coder=PCA(3))
    with pytest.warns(UserWarning, match="fits 2 of 4 candidates one by one: the Pipeline has 0 steps"):
        search = BatchedGridSearchCV(pipeline, {"coder": steps}, cv=2).fit(DIGITS, LABELS)
    assert trained == [4]
    theirs = GridSearchCV(pipeline, {"coder": steps}, cv=2).fit(DIGITS, LABELS)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-4)


def test_fit_parameters_of_the_coder_are_left_to_scikit_learn(trained):
    with pytest.warns(UserWarning, match="one by one.*fit was given X_val"):
        BatchedGridSearchCV(small_coder(), {"alpha": [0.01]}, cv=2).fit(SCALED, X_val=SCALED[:20])
    assert trained == []
    with pytest.raises(ValueError, match=r"checkpoint= keeps coders .* Leave checkpoint out"):
        BatchedGridSearchCV(PCA(2), {"n_components": [1]}).fit(SCALED, checkpoint="nowhere")


def test_a_search_is_an_estimator_among_others():
    search = BatchedGridSearchCV(small_coder(), {"alpha": [0.005, 0.05]}, cv=2, max_bytes=10**8)
    assert clone(search).get_params()["max_bytes"] == 10**8
    assert repr(search).replace("\n" + " " * 20, " ").startswith("BatchedGridSearchCV(cv=2, estimator=Variance")
    ours = cross_val_score(search, SCALED, cv=2)
    theirs = cross_val_score(GridSearchCV(small_coder(), {"alpha": [0.005, 0.05]}, cv=2), SCALED, cv=2)
    np.testing.assert_allclose(ours, theirs, **ROUNDING)
    assert not hasattr(search, "cv_results_")
    with pytest.raises(ValueError, match="max_bytes"):
        search.set_params(max_bytes=0).fit(SCALED)
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        BatchedGridSearchCV(small_coder(), {"nonsense": [1]}, cv=2).fit(SCALED)


def test_memory_of_rows_that_are_put_together_is_bounded(trained):
    grid, fold = {"coder__alpha": [0.005, 0.05]}, 200 * 64 * 8
    search = BatchedGridSearchCV(small_pipeline(), grid, cv=3, refit=False)
    whole = search.fit(DIGITS, LABELS).cv_results_
    parts = search.set_params(max_bytes=2 * fold).fit(DIGITS, LABELS).cv_results_
    assert trained == [6, 4, 2]
    assert_equal_results(parts, whole)


def test_a_progress_bar_follows_the_search():
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")
    search = BatchedGridSearchCV(small_coder(), {"alpha": [0.005, 0.05]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(SCALED)
    assert search.n_splits_ == 2


def test_a_killed_search_goes_on_with_the_folds_that_were_not_trained(tmp_path, trained):
    script = f"""
        import os, signal
        import skvardict.model_selection._blocks as blocks
        from tests.model_selection.test_search import DIGITS, LABELS, grid_to_kill

        calls, fit_together = [], blocks.fit_together

        def kill_in_the_third(*args, **kwargs):
            calls.append(0)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return fit_together(*args, **kwargs)

        blocks.fit_together = kill_in_the_third
        grid_to_kill().fit(DIGITS, LABELS, checkpoint={str(tmp_path / "search")!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((tmp_path / "search").glob("*.joblib"))) == 2 * 2
    resumed = grid_to_kill().fit(DIGITS, LABELS, checkpoint=tmp_path / "search")
    assert trained == [2]
    whole = grid_to_kill().fit(DIGITS, LABELS, checkpoint=tmp_path / "whole")
    assert trained == [2, 2, 2, 2]
    assert_equal_results(resumed.cv_results_, whole.cv_results_)
    more = grid_to_kill(alphas=(0.005, 0.05, 0.1)).fit(DIGITS, LABELS, checkpoint=tmp_path / "search")
    assert trained == [2, 2, 2, 2, 1, 1, 1]
    assert len(more.cv_results_["params"]) == 6


def grid_to_kill(alphas=(0.005, 0.05), **changes):
    grid = {"coder__alpha": list(alphas), "clf__C": [0.1, 1.0]}
    return BatchedGridSearchCV(small_pipeline(**changes), grid, cv=3)


def test_a_checkpoint_of_another_search_is_refused(tmp_path):
    path = tmp_path / "search"
    grid_to_kill().fit(DIGITS, LABELS, checkpoint=path)
    with pytest.raises(CheckpointMismatchError, match=r"another search. What differs: X: .* in the checkpoint"):
        grid_to_kill().fit(DIGITS[::-1].copy(), LABELS, checkpoint=path)
    with pytest.raises(CheckpointMismatchError, match="What differs: coder__n_components: 8 in the checkpoint, 9 now"):
        grid_to_kill(coder=small_coder(n_components=9)).fit(DIGITS, LABELS, checkpoint=path)
    grid_to_kill(clf=LogisticRegression(max_iter=1000)).fit(DIGITS, LABELS, checkpoint=path)  # no coder depends on it
    about = path / "search.json"
    saved = json.loads(about.read_text())
    about.write_text(json.dumps({**saved, "torch": "1.0"}))
    with pytest.raises(CheckpointMismatchError, match=r"torch: 1[.]0 in the checkpoint"):
        grid_to_kill().fit(DIGITS, LABELS, checkpoint=path)
    about.write_text("{")
    with pytest.raises(CheckpointMismatchError, match="is damaged"):
        grid_to_kill().fit(DIGITS, LABELS, checkpoint=path)
    about.unlink()
    with pytest.raises(CheckpointMismatchError, match="is not the checkpoint of a search"):
        grid_to_kill().fit(DIGITS, LABELS, checkpoint=path)


def test_a_coder_whose_file_is_damaged_is_trained_again(tmp_path, trained):
    first = grid_to_kill().fit(DIGITS, LABELS, checkpoint=tmp_path)
    path = next(iter(tmp_path.glob("*.joblib")))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="cannot be read .* its coder is fitted again"):
        again = grid_to_kill().fit(DIGITS, LABELS, checkpoint=tmp_path)
    assert trained == [2, 2, 2, 1]
    assert_equal_results(again.cv_results_, first.cv_results_)


def test_what_is_scored_against_goes_through():
    noisy = SCALED + 0.3 * np.random.default_rng(0).standard_normal(SCALED.shape)
    ours, theirs = both(small_coder(), {"alpha": [0.005, 0.05]}, noisy, SCALED, cv=2)
    assert ours.score(noisy, SCALED) == pytest.approx(theirs.score(noisy, SCALED), rel=1e-4)


def test_values_of_parts_are_searched(trained):
    grid = {"optimizer": [Adam(1e-3), Adam(1e-2)], "solver": [None, FISTA(max_iter=5)]}
    ours, _ = both(small_coder(), grid, SCALED, cv=2)
    assert trained == [8]
    assert isinstance(ours.best_params_["optimizer"], Adam)
    both(small_coder(optimizer=Adam(1e-3)), {"optimizer__learning_rate": [1e-3, 1e-2]}, SCALED, cv=2)


@parametrize_with_checks(
    [
        BatchedGridSearchCV(
            make_pipeline(small_coder(n_components=4, max_iter=1), LogisticRegression()),
            {"logisticregression__C": [0.01, 0.1]},
            cv=2,
        )
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_it_is_a_classifier_like_others(estimator, check):
    check(estimator)


def test_routing_of_metadata_is_that_of_scikit_learn(trained):
    groups, weights = np.arange(300) % 5, np.linspace(0, 1, 300)
    grid = {"coder__alpha": [0.005, 0.05]}
    with config_context(enable_metadata_routing=True):
        both(small_pipeline(), grid, DIGITS, LABELS, cv=GroupKFold(2), refit=False, fit_params={"groups": groups})
        assert trained == [4]
        weighed = small_pipeline(clf=LogisticRegression(max_iter=2000).set_fit_request(sample_weight=True))
        scoring = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        options = {"cv": 2, "refit": False, "scoring": scoring, "fit_params": {"sample_weight": weights}}
        with pytest.warns(UserWarning, match="fit was given sample_weight, which is not for later steps alone"):
            both(weighed, grid, DIGITS, LABELS, **options)
        assert trained == [4]
        nested = cross_val_score(
            BatchedGridSearchCV(small_pipeline(), grid, cv=GroupKFold(2)),
            DIGITS, LABELS, cv=GroupKFold(2), params={"groups": groups},
        )  # fmt: skip
    assert nested.shape == (2,)


def test_variational_models_are_searched_together(trained):
    both(SparseVAE(4, max_iter=1, random_state=0), {"kl_weight": [0.5, 1.0]}, SCALED, cv=2)
    assert trained == [4]
