import builtins

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.display import (
    ActivityDisplay,
    DenoisingDisplay,
    DictionaryDisplay,
    EncoderDisplay,
    HistoryDisplay,
    LatentSweepDisplay,
    LowLabelDisplay,
    RegretCurveDisplay,
)
from skvardict.evaluation import denoising_table, low_label_summary
from skvardict.evaluation._denoising import add_noise
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID251

X = GlobalStandardizer().fit_transform(load_digits().data / 16).astype(np.float32)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def linear():
    return StandardDictionaryLearning(9, max_iter=2, early_stopping=True, random_state=0).fit(X)


@pytest.fixture(scope="module")
def nonlinear():
    model = VarianceDictionaryLearning(9, decoder=MLP((20,)), max_iter=2, random_state=0)
    model.fit(X)
    rng = np.random.default_rng(0)
    # biases of a trained size: after two epochs they are near zero, and nothing would tell the responses apart
    model.params_ = {**model.params_, "decoder.biases.0": rng.normal(size=20).astype(np.float32)}
    return model


def shown_atoms(display, n_atoms):
    """The atoms on a sheet, each scaled to a largest absolute value of one."""
    height, width = display.image_shape
    n_columns = int(np.ceil(np.sqrt(n_atoms)))
    corners = [divmod(index, n_columns) for index in range(n_atoms)]
    cut = [
        display.tiles[1 + r * (height + 1) : (r + 1) * (height + 1), 1 + c * (width + 1) : (c + 1) * (width + 1)]
        for r, c in corners
    ]
    return np.reshape(cut, (n_atoms, -1))


def scaled(atoms):
    return atoms / np.abs(atoms).max(axis=1, keepdims=True)


def test_a_multi_layer_decoder_is_shown_without_the_effect_of_its_biases(nonlinear):
    W1, W2, b = (nonlinear.params_[f"decoder.{name}"] for name in ("weights.0", "weights.1", "biases.0"))
    linear_response = DictionaryDisplay.from_estimator(nonlinear)
    np.testing.assert_allclose(shown_atoms(linear_response, 9), scaled(W1 @ W2), rtol=1e-4, atol=1e-6)
    decoder_response = DictionaryDisplay.from_estimator(nonlinear, response="decoder")
    expected = (np.maximum(W1 + b, 0) - np.maximum(b, 0)) @ W2  # a unit code selects a row of W1
    np.testing.assert_allclose(shown_atoms(decoder_response, 9), scaled(expected), rtol=1e-4, atol=1e-5)
    assert not np.allclose(shown_atoms(decoder_response, 9), shown_atoms(linear_response, 9), atol=0.1)


def test_both_responses_of_a_linear_decoder_are_its_atoms(linear):
    by_name = [DictionaryDisplay.from_estimator(linear, response=name).tiles for name in ("components", "decoder")]
    np.testing.assert_allclose(*by_name, rtol=1e-5, atol=1e-6)
    # an inverse_transform with an offset, as PCA's, loses it
    pca = PCA(4).fit(X + 5)
    np.testing.assert_allclose(
        shown_atoms(DictionaryDisplay.from_estimator(pca, response="decoder"), 4),
        scaled(pca.components_),
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="does not know response='relu'"):
        DictionaryDisplay.from_estimator(linear, response="relu")


def test_encoder_filters_are_the_columns_of_u(linear):
    pipeline = make_pipeline(GlobalStandardizer(), linear)
    pipeline[0].fit(X)
    for estimator in (linear, pipeline):
        display = EncoderDisplay.from_estimator(estimator, n_atoms=4, order=[3, 1, 0, 2, 4])
        assert type(display) is EncoderDisplay
        filters = linear.params_["encoder.input"].T[[3, 1, 0, 2]]
        np.testing.assert_allclose(shown_atoms(display, 4), scaled(filters), rtol=1e-5)
    assert display.plot().ax_ is not None


@pytest.mark.parametrize("settings", [{"split_sign": True}, {"sparse_output": True}])
def test_codes_of_any_kind_are_shown(settings):
    model = StandardDictionaryLearning(6, encoder=None, positive_code=False, max_iter=2, random_state=0).fit(X[:300])
    expected = {
        "use": DictionaryDisplay.from_estimator(model, X=X[:50], order="use").atom_indices,
        "denoised": DenoisingDisplay.from_estimator(model, X[:4]).images,
        "on": np.count_nonzero(ActivityDisplay.from_estimator(model, X[:4]).codes, axis=1),
    }
    model.set_params(**settings)
    shown = DictionaryDisplay.from_estimator(model, X=X[:50], order="use")
    np.testing.assert_array_equal(shown.atom_indices, expected["use"])
    np.testing.assert_allclose(DenoisingDisplay.from_estimator(model, X[:4]).images, expected["denoised"], rtol=1e-5)
    activity = ActivityDisplay.from_estimator(model, X[:4])
    np.testing.assert_array_equal(np.count_nonzero(activity.codes, axis=1), expected["on"])
    assert LatentSweepDisplay.from_estimator(model, X[:1]).plot().tiles.ndim == 2


def test_a_model_without_lista_has_no_filters(linear):
    without = StandardDictionaryLearning(4, encoder=None, max_iter=1).fit(X[:200])
    with pytest.raises(ValueError, match="the estimator has encoder=None"):
        EncoderDisplay.from_estimator(without)
    other = StandardDictionaryLearning(4, encoder=lambda d, k: nn.Sequential(nn.Linear(d, k), nn.ReLU()), max_iter=1)
    with torch.random.fork_rng():
        other.fit(X[:200])
        with pytest.raises(ValueError, match="an encoder of class Sequential"):
            EncoderDisplay.from_estimator(other)
    with pytest.raises(ValueError, match="EncoderDisplay expects an estimator with encoder_, but PCA has none"):
        EncoderDisplay.from_estimator(PCA(2).fit(X))
    with pytest.raises(NotFittedError):
        EncoderDisplay.from_estimator(StandardDictionaryLearning())


def test_denoised_images_are_those_of_the_table(linear):
    rows, pca = X[:5], PCA(20).fit(X)
    display = DenoisingDisplay.from_estimator({"SDL": linear, "PCA": pca}, rows, sigma=0.5, seed=3)
    assert display.labels == ["original", "noise 0.5", "SDL", "PCA"]
    assert display.images.shape == (4, 5, 8, 8)
    flat = display.images.reshape(4, 5, 64)
    np.testing.assert_array_equal(flat[0], rows)
    np.testing.assert_array_equal(flat[1], add_noise(rows, 0.5, 3))
    table = denoising_table({"SDL": linear, "PCA": pca}, rows, noise_levels=[0.5], seeds=[3])
    for line, expected in zip(flat[1:], [table["input_psnr"][0], *table["psnr"]]):
        assert np.mean(-10 * np.log10(((rows - line) ** 2).mean(axis=1))) == pytest.approx(expected, abs=1e-4)


def test_all_denoised_images_have_the_scale_of_the_originals_in_pixels(linear):
    rows = torch.from_numpy(X[:3])
    display = DenoisingDisplay.from_estimator(
        linear, rows, sigma=2.0, image_shape=(4, 16), to_pixels=lambda values: values * 10 + 1
    )
    np.testing.assert_allclose(display.images[0].reshape(3, 64), X[:3] * 10 + 1, rtol=1e-5)
    display.plot()
    assert display.image_.get_clim() == (display.images[0].min(), display.images[0].max())
    sheet = display.image_.get_array().filled(np.nan)
    np.testing.assert_array_equal(sheet[6:10, 18:34], display.images[1, 1])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == display.labels
    np.testing.assert_allclose(display.ax_.get_yticks(), [2.5, 7.5, 12.5])  # the middle of each line


def test_denoised_images_are_apart(linear):
    display = DenoisingDisplay.from_estimator(linear, X[:4]).plot()
    sheet = display.image_.get_array()
    assert sheet.shape == (3 * 9 + 1, 4 * 9 + 1)
    assert sheet.mask[::9].all()
    assert sheet.mask[:, ::9].all()
    bad = display.image_.get_cmap().get_bad()
    assert 0 < bad[0] < 1  # neither the black nor the white of the pictures
    assert bad[3] == 1


@pytest.fixture
def regret_table():
    rows = [
        ("VDL", 0.02, 0, 0.9, 18.0),
        ("VDL", 0.02, 1, 0.8, 20.0),
        ("VDL", 0.01, 0, 0.6, 21.0),
        ("VDL", 0.01, 1, np.nan, np.nan),
        ("SDL", 0.5, 0, 0.7, 17.0),
    ]
    return pd.DataFrame(rows, columns=["model", "alpha", "seed", "sparsity", "psnr"])


def test_regret_curves_are_means_over_the_seeds_that_did_not_fail(regret_table):
    display = RegretCurveDisplay(regret_table)
    assert display.points[["model", "alpha"]].values.tolist() == [["VDL", 0.02], ["VDL", 0.01], ["SDL", 0.5]]
    assert display.points["psnr"].tolist() == [19.0, 21.0, 17.0]
    # two values d apart have a standard error of d / 2
    assert display.points["psnr_se"].tolist() == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)
    assert display.points["sparsity_se"].tolist() == pytest.approx([0.05, np.nan, np.nan], nan_ok=True)
    display.plot(annotate=True)
    line, _, bars = display.lines_[0]
    np.testing.assert_allclose(line.get_xydata(), [[0.6, 21.0], [0.85, 19.0]])  # in the order of sparsity
    assert len(bars) == 2
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["VDL", "SDL"]
    assert [text.get_text() for text in display.ax_.texts] == ["0.01", "0.02", "0.5"]
    legend = display.ax_.get_legend().get_title().get_text()
    assert legend == "mean ± standard error over seeds\nnumbers: alpha"


def band_of(band):
    """Lower and upper ends of a band, by the place where they stand."""
    vertices = band.get_paths()[0].vertices
    return {x: (vertices[vertices[:, 0] == x, 1].min(), vertices[vertices[:, 0] == x, 1].max()) for x in vertices[:, 0]}


def test_a_band_is_one_standard_error_up_and_down(regret_table):
    display = RegretCurveDisplay(regret_table).plot()
    (band,) = display.bands_  # SDL has one seed, and no error
    ends = band_of(band)
    assert ends[0.6] == pytest.approx((21.0, 21.0))
    assert next(ends[x] for x in ends if x > 0.7) == pytest.approx((18.0, 20.0))
    np.testing.assert_array_equal(band.get_facecolor()[0, :3], to_rgb(display.lines_[0][0].get_color()))


def test_standard_errors_of_a_table_are_taken_as_they_are():
    rows = [("VDL", 0.01, 0.6, 21.0, 0.5), ("VDL", 0.02, 0.8, 19.0, 0.25)]
    display = RegretCurveDisplay(pd.DataFrame(rows, columns=["model", "alpha", "sparsity", "psnr", "psnr_se"])).plot()
    assert display.points["psnr_se"].tolist() == [0.5, 0.25]
    assert band_of(display.bands_[0]) == {0.6: (20.5, 21.5), 0.8: (18.75, 19.25)}


def test_curves_without_errors_have_no_band(regret_table):
    display = RegretCurveDisplay(regret_table.query("seed == 0")).plot()
    assert display.bands_ == []
    assert display.ax_.get_legend().get_title().get_text() == ""


def test_lines_differ_in_colour_and_marker(regret_table):
    first, second = (line[0] for line in RegretCurveDisplay(regret_table).plot().lines_)
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    plain = RegretCurveDisplay(regret_table).plot(marker="x", color="red")
    assert {(line[0].get_marker(), line[0].get_color()) for line in plain.lines_} == {("x", "red")}


def test_few_labels_are_drawn_from_the_summary():
    rows = [("VDL", c, n, d, 0.4 + c, 60.0 - n + d, 30.0) for c in (0.1, 0.2) for n in (10, 1) for d in (0, 1)]
    rows += [("raw", "", n, 0, 0.3, 70.0, 40.0) for n in (1, 10)]
    names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    table = pd.DataFrame(rows, columns=names)
    display = LowLabelDisplay(table)
    pd.testing.assert_frame_equal(display.summary, low_label_summary(table))
    display.plot()
    assert display.ax_.get_xscale() == "log"
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["1", "10"]
    assert list(band_of(display.bands_[0]).values()) == [pytest.approx((59, 60)), pytest.approx((50, 51))]
    np.testing.assert_allclose(display.lines_[0][0].get_xydata(), [[1, 59.5], [10, 50.5]])
    np.testing.assert_allclose(display.plot(top=3).lines_[1][0].get_xydata(), [[1, 40], [10, 40]])
    # models keep the order of the table, and with it their colours, whatever numbers of labels they have
    some = LowLabelDisplay(table.query("model == 'raw' or n_per_class == 10")).plot()
    assert [text.get_text() for text in some.ax_.get_legend().get_texts()] == ["VDL", "raw"]
    with pytest.raises(ValueError, match="top=1 and top=3"):
        display.plot(top=5)


def test_few_labels_are_drawn_as_differences_and_for_each_classifier():
    rows = [(m, c, 1, d, 0.5, e + 10 * d, 30.0) for m, e in [("raw", 50), ("VDL", 45)] for c in "ab" for d in (0, 1)]
    names = ["model", "classifier", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    table = pd.DataFrame(rows, columns=names).assign(candidate="")
    display = LowLabelDisplay(table, reference="raw").plot()
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["VDL, a", "VDL, b"]
    np.testing.assert_allclose(display.lines_[0][0].get_xydata(), [[1, -5]])
    assert "minus that of raw" in display.ax_.get_ylabel()
    of_one = LowLabelDisplay(table.query("classifier == 'a'")).plot()
    assert [text.get_text() for text in of_one.ax_.get_legend().get_texts()] == ["raw", "VDL"]


@pytest.mark.parametrize(("n_seeds", "over"), [(1, "draws"), (2, "seeds")])
def test_the_legend_says_what_few_labels_were_repeated_over(n_seeds, over):
    rows = [("VDL", "", s, n, d, 0.5, 60.0 - n + d + s, 30.0) for s in range(n_seeds) for n in (1, 10) for d in (0, 1)]
    names = ["model", "candidate", "seed", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    ax = LowLabelDisplay(pd.DataFrame(rows, columns=names)).plot().ax_
    assert ax.get_legend().get_title().get_text() == f"mean ± standard error over {over}"


def test_training_and_validation_share_a_panel(linear):
    display = HistoryDisplay.from_estimator(make_pipeline(linear))
    assert display.quantities == ["energy", "r2", "sparsity", "l1", "n_dead", "component_std"]
    display.plot()
    assert len(display.axes_) == 6
    training, validation, best = display.axes_[0].get_lines()
    np.testing.assert_allclose(training.get_ydata(), linear.history_["energy"])
    np.testing.assert_allclose(validation.get_ydata(), linear.history_["validation_energy"])
    np.testing.assert_allclose(training.get_xdata(), [1, 2])
    assert best.get_xdata()[0] == linear.best_epoch_
    # recorded for validation only: one curve, and the line of the best epoch
    assert [line.get_label() for line in display.axes_[1].get_lines()][:1] == ["validation"]


def test_panels_stand_in_a_grid_and_do_not_overlap(linear):
    display = HistoryDisplay.from_estimator(linear).plot()
    display.figure_.canvas.draw()
    places = [ax.get_subplotspec() for ax in display.axes_]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [divmod(i, 3) for i in range(6)]
    boxes = [ax.get_tightbbox() for ax in display.axes_] + [display.figure_.legends[0].get_window_extent()]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    inside = display.figure_.bbox
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1 for box in boxes)
    assert [ax.get_xlabel() for ax in display.axes_] == [""] * 3 + ["epoch"] * 3


def test_what_the_legend_explains_is_said_once(linear):
    display = HistoryDisplay.from_estimator(linear).plot()
    (legend,) = display.figure_.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["training", "validation", f"best epoch: {linear.best_epoch_}"]
    colours = {ax.get_lines()[0].get_label(): ax.get_lines()[0].get_color() for ax in display.axes_}
    assert len(colours) == 2  # one per kind of line, the same in all panels
    assert len(set(colours.values())) == 2


def test_panels_are_titled_and_dead_components_are_counted_from_zero(linear):
    display = HistoryDisplay.from_estimator(linear, quantities=["n_dead", "psnr", "seconds"]).plot()
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["dead components", "PSNR for a data range of 1 (dB)", "seconds"]
    low, high = display.axes_[0].get_ylim()
    assert low == 0
    assert high >= 1


def test_quantities_can_be_chosen_and_must_be_known(linear):
    display = HistoryDisplay.from_estimator(linear, quantities=["validation_r2", "seconds"])
    axes = plt.subplots(1, 2)[1]
    assert display.plot(axes, color="red").axes_ == list(axes)
    assert axes[1].get_lines()[0].get_color() == "red"
    with pytest.raises(ValueError, match="2 panels, but got 3 axes"):
        display.plot(plt.subplots(1, 3)[1])
    with pytest.raises(ValueError, match=r"no speed\. Pass quantities= from .*component_std"):
        HistoryDisplay.from_estimator(linear, quantities=["speed"])
    with pytest.raises(ValueError, match="no quantity that is shown by default"):
        HistoryDisplay.from_history({"epoch": [1], "other": [2.0]})
    with pytest.raises(ValueError, match="HistoryDisplay expects an estimator with history_"):
        HistoryDisplay.from_estimator(PCA(2).fit(X))


def test_tables_with_missing_columns_are_refused(regret_table):
    with pytest.raises(ValueError, match=r"RegretCurveDisplay expects .* but psnr is missing"):
        RegretCurveDisplay(regret_table.drop(columns="psnr"))
    with pytest.raises(ValueError, match=r"LowLabelDisplay expects .* are missing"):
        LowLabelDisplay(regret_table)


def test_a_missing_matplotlib_is_reported_by_every_display(regret_table, linear, monkeypatch):
    displays = [
        RegretCurveDisplay(regret_table),
        HistoryDisplay.from_estimator(linear),
        DenoisingDisplay.from_estimator(linear, X[:2]),
        EncoderDisplay.from_estimator(linear),
    ]
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    for display in displays:
        with pytest.raises(ImportError, match=rf"{type(display).__name__}\.plot needs matplotlib.*pip install"):
            display.plot()


def test_lines_beyond_the_colours_are_told_apart():
    names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    rows = [(f"model {index}", "", n, 0, 0.5, 10.0 + index, 1.0) for index in range(9) for n in (1, 10)]
    display = LowLabelDisplay(pd.DataFrame(rows, columns=names)).plot()
    looks = {(line[0].get_color(), line[0].get_linestyle()) for line in display.lines_}
    assert len(looks) == 9
