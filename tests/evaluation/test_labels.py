import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import skvardict.evaluation._labels as labels_module
import skvardict.model_selection._blocks as blocks_module
from skvardict import VarianceDictionaryLearning
from skvardict.evaluation import LISTAClassifier, low_label_curve, low_label_differences, low_label_summary
from skvardict.evaluation._labels import _draw_rows, _top_errors
from skvardict.evaluation._linear_layer import LinearLayer

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 8 - 1
SPLITS = (X[:900], y[:900]), (X[900:1300], y[900:1300]), (X[1300:], y[1300:])
QUICK = {"Cs": (0.1, 10.0), "n_draws": 2}


def test_draws_are_balanced_repeatable_and_differ():
    classes = np.unique(y)
    rows = _draw_rows(y, classes, 7, draw=3)
    assert np.bincount(y[rows]).tolist() == [7] * 10
    assert len(np.unique(rows)) == 70
    np.testing.assert_array_equal(rows, _draw_rows(y, classes, 7, draw=3))
    assert set(rows) != set(_draw_rows(y, classes, 7, draw=4))
    np.testing.assert_array_equal(_draw_rows(y, classes, None, draw=0), np.arange(len(y)))


def test_errors_are_those_of_scikit_learn_and_ties_count_against_the_true_class():
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(50, 5)), rng.choice([2, 3, 5, 7, 11], size=50)
    classes = np.array([2, 3, 5, 7, 11])
    errors = _top_errors(scores, classes, truth)
    for k in (1, 3):
        expected = 100 * (1 - top_k_accuracy_score(truth, scores, k=k, labels=classes))
        assert errors[f"top{k}_error"] == pytest.approx(expected)
    for useless in (1.0, np.nan):
        worst = _top_errors(np.full((4, 5), useless), classes, truth[:4])
        assert worst == {"top1_error": 100.0, "top3_error": 100.0}


def test_raw_rows_are_classified_by_logistic_regression_with_the_best_c_on_validation():
    table = low_label_curve("passthrough", *SPLITS, labels_per_class=[3], Cs=(1e-4, 1.0), n_draws=1)
    assert table["model"].tolist() == ["passthrough"]
    rows = _draw_rows(SPLITS[0][1], np.unique(y), 3, draw=0)
    scale = 1 / np.sqrt(np.mean(SPLITS[0][0][rows] ** 2))
    fitted = [
        LogisticRegression(C=C, max_iter=2000).fit(SPLITS[0][0][rows] * scale, y[:900][rows]) for C in (1e-4, 1.0)
    ]
    accuracies = [model.score(SPLITS[1][0] * scale, SPLITS[1][1]) for model in fitted]
    best = int(np.argmax(accuracies))
    row = table.iloc[0]
    assert row["C"] == (1e-4, 1.0)[best]
    # a warm start ends within the solver's tolerance of a cold one: at most a row or two differ
    assert row["validation_accuracy"] == pytest.approx(accuracies[best], abs=2.5 / len(SPLITS[1][1]))
    assert row["top1_error"] == pytest.approx(
        100 * (1 - fitted[best].score(SPLITS[2][0] * scale, SPLITS[2][1])), abs=250 / len(SPLITS[2][1])
    )
    assert row["top3_error"] < row["top1_error"]


def test_all_models_see_the_same_labels_and_more_labels_help():
    coder = VarianceDictionaryLearning(32, alpha=0.01, max_iter=3).fit(X[:900])
    nothing = FunctionTransformer(np.zeros_like)
    models = {
        "raw": "passthrough",
        "codes": {"0.01": coder, "none": nothing},
        "naive": GaussianNB(var_smoothing=0.1),
        "rotated": PCA(64).fit(X[:900]),
    }
    table = low_label_curve(models, *SPLITS, labels_per_class=[2, 20, None], **QUICK)
    assert len(table) == 5 * (2 + 2 + 1)
    assert table.groupby("model")["n_per_class"].unique()["raw"].tolist() == [2, 20, 90]
    mean = table.groupby(["model", "n_per_class"])["top1_error"].mean().unstack()
    assert (mean[90] < mean[2]).all()
    # A rotation changes nothing for a rotation-invariant classifier but the mean that PCA takes off (and so the scale).
    assert mean.loc["rotated"].to_numpy() == pytest.approx(mean.loc["raw"].to_numpy(), abs=4)
    assert table["C"].isna().equals(table["model"] == "naive")
    # where nothing can be told apart, ties count against the model: only the class of the largest intercept is found
    assert (table.loc[table["candidate"] == "none", "top1_error"] > 85).all()
    summary = low_label_summary(table)
    assert len(summary) == 4 * 3
    assert summary.loc[summary["model"] == "codes", "candidate"].eq("0.01").all()


def test_the_summary_has_means_and_standard_errors():
    draws = pd.DataFrame(
        {
            "model": "m",
            "candidate": [1, 1, 1, 2, 2, 2],
            "n_per_class": 5,
            "draw": [0, 1, 2] * 2,
            "validation_accuracy": [0.5, 0.6, 0.7, 0.9, 0.1, 0.5],
            "top1_error": [50.0, 40.0, 30.0, 1.0, 1.0, 1.0],
            "top3_error": [20.0, 10.0, 0.0, 1.0, 1.0, 1.0],
        }
    )
    (row,) = low_label_summary(draws).to_dict("records")
    assert row["candidate"] == 1  # 0.6 against 0.5 in the mean, though the other has the best single draw
    assert row["top1_error"] == pytest.approx(40)
    assert row["top1_se"] == pytest.approx(10 / np.sqrt(3))
    assert row["top3_se"] == pytest.approx(10 / np.sqrt(3))
    assert row["n_draws"] == 3


def test_the_papers_linear_layer_is_the_one_that_torch_trains():
    rows, labels = X[:600], y[:600]
    layer = LinearLayer(3).fit(rows, labels)
    generator = torch.Generator().manual_seed(3)
    bound = 64**-0.5
    weight = (2 * torch.rand(10, 64, generator=generator) - 1) * bound
    bias = (2 * torch.rand(10, generator=generator) - 1) * bound
    expected = torch.nn.utils.skip_init(torch.nn.Linear, 64, 10)
    expected.load_state_dict({"weight": weight, "bias": bias})
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3)
    for _ in range(100):
        for batch in torch.randperm(600, generator=generator).split(250):
            optimizer.zero_grad()
            scores = expected(torch.from_numpy(rows[batch]))
            torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[batch])).backward()
            optimizer.step()
    np.testing.assert_allclose(layer.scores(X[600:700]), expected(torch.from_numpy(X[600:700])).detach(), atol=1e-4)


def test_both_classifiers_see_the_same_rows_and_the_papers_takes_features_as_they_are(tmp_path):
    arguments = {"labels_per_class": [5], "folder": tmp_path, **QUICK}
    models = {"raw": "passthrough", "naive": GaussianNB(var_smoothing=0.1)}
    tables = [low_label_curve(models, *SPLITS, classifier=name, **arguments) for name in ("logistic", "sgd-linear")]
    assert tables[1]["classifier"].tolist() == ["sgd-linear"] * 2 + ["own"] * 2
    assert tables[1]["C"].isna().all()
    rows = _draw_rows(SPLITS[0][1], np.unique(y), 5, draw=1)
    layer = LinearLayer(1).fit(X[:900][rows], y[:900][rows])
    own = tables[1].query("model == 'raw' and draw == 1").iloc[0]
    assert own["top1_error"] == pytest.approx(100 * np.mean(layer.scores(SPLITS[2][0]).argmax(1) != SPLITS[2][1]))
    summary = low_label_summary(pd.concat(tables))
    assert summary.query("model == 'raw'")["classifier"].tolist() == ["logistic", "sgd-linear"]
    again = low_label_curve(models, *SPLITS, classifier="sgd-linear", **arguments)
    pd.testing.assert_frame_equal(again, tables[1])  # seconds and all: found, not computed
    with pytest.raises(ValueError, match=r"'svm' is not known. Use one of 'logistic', 'sgd-linear'"):
        low_label_curve(models, *SPLITS, classifier="svm", **arguments)


def test_a_table_read_from_a_file_keeps_its_baseline(tmp_path):
    rows = [
        (model, candidate, 1, draw, 0.5, error + draw, error / 2)
        for model, candidate, error in [("pixels", "", 40.0), ("VDL", 0.01, 30.0), ("VDL", 0.02, 35.0)]
        for draw in range(3)
    ]
    names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    table = pd.DataFrame(rows, columns=names)
    table.to_csv(tmp_path / "table.csv", index=False)
    read = pd.read_csv(tmp_path / "table.csv")
    for function in (low_label_summary, lambda table: low_label_differences(table, "pixels")):
        pd.testing.assert_frame_equal(function(read), function(table), check_dtype=False)
    assert set(low_label_summary(read)["model"]) == {"pixels", "VDL"}
    assert len(low_label_differences(read, "pixels")) == 1


def test_differences_are_paired_by_draw_and_their_errors_are_over_seeds():
    rng = np.random.default_rng(0)
    of_draws = rng.normal(40, 10, size=4)
    rows = [("raw", "", 0, draw, 0.5, error) for draw, error in enumerate(of_draws)]
    for seed, shift in enumerate((-3.0, -1.0)):
        rows += [("VDL", "a", seed, draw, 0.9, error + shift) for draw, error in enumerate(of_draws)]
        rows += [("VDL", "b", seed, draw, 0.1, 0.0) for draw in range(4)]  # not chosen
    table = pd.DataFrame(rows, columns=["model", "candidate", "seed", "draw", "validation_accuracy", "top1_error"])
    table = table.assign(n_per_class=5, top3_error=table["top1_error"] / 2)
    (row,) = low_label_differences(table, "raw").to_dict("records")
    assert (row["model"], row["n_pairs"], row["n_seeds"]) == ("VDL", 8, 2)
    assert row["top1_difference"] == pytest.approx(-2)
    assert row["top1_difference_se"] == pytest.approx(1)  # of two seeds at -3 and -1; draws differ by far more
    assert row["top3_difference"] == pytest.approx(-1)
    (one,) = low_label_differences(table[table["seed"] == 0], "raw").to_dict("records")
    assert one["top1_difference_se"] == pytest.approx(0, abs=1e-12)
    (back,) = low_label_differences(table, "VDL").to_dict("records")
    assert (back["model"], back["n_pairs"], back["n_seeds"]) == ("raw", 8, 2)
    assert back["top1_difference"] == pytest.approx(2)
    # in the order of the summary, whatever the order of candidates
    longer = pd.concat([table.assign(n_per_class=20), table.assign(candidate="c"), table.assign(candidate="d")])
    longer = pd.concat([longer, table.assign(n_per_class=20, candidate="c")])
    pd.testing.assert_series_equal(
        low_label_differences(longer, "raw")["n_per_class"],
        low_label_summary(longer).query("model == 'VDL'")["n_per_class"].reset_index(drop=True),
    )
    with pytest.raises(ValueError, match=r"no model 'pixels'. It has \['raw', 'VDL'\]"):
        low_label_differences(table, "pixels")


def test_finished_points_are_not_computed_again(tmp_path, monkeypatch):
    calls = []

    def counted(Cs, features, rows, draw, logistic=labels_module._logistic):
        calls.append(len(rows))
        return logistic(Cs, features, rows, draw)

    monkeypatch.setitem(labels_module.CLASSIFIERS, "logistic", counted)
    arguments = {**QUICK, "folder": tmp_path}
    first = low_label_curve({"raw": "passthrough"}, *SPLITS, labels_per_class=[1, 2], **arguments)
    again = low_label_curve({"other name": "passthrough"}, *SPLITS, labels_per_class=[1, 2, 3], **arguments)
    assert calls == [10, 10, 20, 20, 30, 30]
    columns = ["n_per_class", "draw", "C", "top1_error", "seconds"]
    pd.testing.assert_frame_equal(again.loc[:3, columns], first[columns])
    low_label_curve({"raw": PCA(64).fit(X)}, *SPLITS, labels_per_class=[1], **arguments)
    assert len(calls) == 8


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels_per_class": [500]}, ValueError, "cannot draw 500 labels per class"),
        ({"labels_per_class": [0]}, ValueError, "cannot draw 0 labels per class"),
        ({"train": X}, TypeError, r"expects train=\(X, y\)"),
        ({"test": (X[:5], y[:5] + 50)}, ValueError, "labels .* that train has not"),
        ({"test": (X[:5], y[:4])}, ValueError, "inconsistent numbers of samples"),
        ({"test": (X[:5], y[:10].reshape(5, 2))}, ValueError, r"1d array, got an array of shape \(5, 2\)"),
        ({"estimators": {"a": "drop"}}, ValueError, "not 'drop'"),
        ({"Cs": []}, ValueError, "Cs is empty"),
        ({"labels_per_class": []}, ValueError, "labels_per_class is empty"),
        ({"n_draws": 0}, ValueError, "draws is empty"),
    ],
)
def test_bad_arguments_are_named(changes, error, message):
    arguments = dict(zip(("train", "validation", "test"), SPLITS)) | {
        "estimators": {"raw": "passthrough"},
        "labels_per_class": [2],
    }
    with pytest.raises(error, match=message):
        low_label_curve(**{**arguments, **changes})


def test_the_baseline_from_scratch_learns_and_depends_on_its_seed_alone():
    (X_train, y_train), _, (X_test, y_test) = SPLITS
    names = y_train + 100  # labels need not be 0, 1, ...
    fitted = [LISTAClassifier(32, max_updates=300, random_state=s).fit(X_train, names) for s in (0, 0, 1)]
    assert fitted[0].score(X_test, y_test + 100) > 0.8
    first, same, other = (model.predict_proba(X_test) for model in fitted)
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    assert fitted[0].n_iter_ == 300


def test_the_baseline_from_scratch_keeps_its_best_step_on_validation():
    train, (X_val, y_val), _ = SPLITS
    rows = _draw_rows(train[1], np.unique(y), 2, draw=0)
    few = train[0][rows], train[1][rows]
    model = LISTAClassifier(32, n_iter_no_change=2, random_state=0).fit(*few, X_val, y_val)
    assert model.n_iter_ < 5000
    chosen = model.score(X_val, y_val)
    for n_updates in range(50, model.n_iter_ + 1, 50):
        later = LISTAClassifier(32, max_updates=n_updates, random_state=0).fit(*few)
        assert later.score(X_val, y_val) <= chosen


@parametrize_with_checks([LISTAClassifier(8, max_updates=300, learning_rate=1e-2)])
def test_the_baseline_is_a_classifier_like_others(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((np.zeros((5, 3)), np.zeros(5)), "X has 3 features, but LISTAClassifier is expecting 64"),
        ((X[:5], None), "got X_val without y_val"),
        ((None, y[:5]), "got y_val without X_val"),
        ((X[:5], y[:4]), "inconsistent numbers of samples"),
    ],
)
def test_the_baseline_refuses_validation_rows_that_do_not_fit(validation, message):
    with pytest.raises(ValueError, match=message):
        LISTAClassifier(8, max_updates=1).fit(*SPLITS[0], *validation)


@pytest.mark.parametrize("validation", [(), SPLITS[1]])
def test_a_baseline_that_diverges_says_so_and_keeps_finite_weights(validation):
    with pytest.warns(ConvergenceWarning, match="diverged within 50 updates"):
        model = LISTAClassifier(8, learning_rate=1e18, random_state=0).fit(*SPLITS[0], *validation)
    assert model.n_iter_ == 50
    assert np.isfinite(model.predict_proba(X[:5])).all()


def test_the_draw_seeds_a_baseline_inside_a_pipeline():
    model = make_pipeline(StandardScaler(), LISTAClassifier(8, max_updates=30))
    first, again = (low_label_curve(model, *SPLITS, labels_per_class=[3], n_draws=2)["top1_error"] for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first[0] != first[1]


def test_transformers_that_are_not_fitted_are_trained_together_for_every_seed(monkeypatch, tmp_path):
    numbers, fit_together = [], blocks_module.fit_together

    def counted(members, *args, **kwargs):
        numbers.append(len(members))
        return fit_together(members, *args, **kwargs)

    monkeypatch.setattr(blocks_module, "fit_together", counted)
    coders = {alpha: VarianceDictionaryLearning(16, alpha=alpha, max_iter=2) for alpha in (0.01, 0.05)}
    models = {"raw": "passthrough", "codes": coders, "PCA": PCA(8)}
    arguments = {"labels_per_class": [3], "n_draws": 2, "Cs": (1.0,)}
    table = low_label_curve(models, *SPLITS, n_seeds=3, **arguments)
    assert numbers == [6]
    assert table.groupby("model")["seed"].nunique().to_dict() == {"raw": 1, "codes": 3, "PCA": 3}
    assert not hasattr(coders[0.01], "params_")
    alone = {0.05: VarianceDictionaryLearning(16, alpha=0.05, max_iter=2, random_state=2).fit(X[:900])}
    expected = low_label_curve({"codes": alone}, *SPLITS, **arguments)["top1_error"]
    found = table.query("model == 'codes' and candidate == 0.05 and seed == 2")["top1_error"]
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), abs=300 / len(SPLITS[2][1]))  # a few rows by rounding
    kept = low_label_curve({"codes": coders}, *SPLITS, n_seeds=2, folder=tmp_path, **arguments)
    assert numbers == [6, 2, 2]
    again = low_label_curve({"codes": coders}, *SPLITS, n_seeds=2, folder=tmp_path, **arguments)
    assert numbers == [6, 2, 2]
    pd.testing.assert_frame_equal(kept, again)


def test_standard_errors_are_those_over_seeds_where_there_are_several():
    table = pd.DataFrame(
        {
            "model": "m",
            "candidate": "",
            "seed": [0, 0, 1, 1],
            "n_per_class": 5,
            "draw": [0, 1, 0, 1],
            "validation_accuracy": 0.5,
            "top1_error": [10.0, 20.0, 40.0, 50.0],
            "top3_error": [1.0, 3.0, 1.0, 3.0],
        }
    )
    (row,) = low_label_summary(table).to_dict("records")
    assert (row["n_draws"], row["n_seeds"]) == (2, 2)
    assert row["top1_error"] == pytest.approx(30)
    assert row["top1_se"] == pytest.approx(15)  # of 15 and 45
    assert row["top3_se"] == pytest.approx(0)
