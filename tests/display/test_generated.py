import matplotlib
import numpy as np
import pytest
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvardict.display import ActivityDisplay, LatentSweepDisplay, ReceptiveFieldDisplay, SamplesDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID251


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 12)) @ np.random.default_rng(1).normal(size=(12, 12))


def _picture(tiles, row, column, shape):
    height, width = shape[0] + 1, shape[1] + 1
    return tiles[1 + row * height : (row + 1) * height, 1 + column * width : (column + 1) * width]


class _Generator(PCA):
    def sample(self, n_samples, random_state=None):
        return np.random.default_rng(random_state).normal(size=(n_samples, 12))


def test_samples_come_from_the_estimator_and_keep_their_values(X):
    display = SamplesDisplay.from_estimator(_Generator().fit(X), n_samples=5, image_shape=(3, 4), random_state=3)
    rows = _Generator().sample(5, random_state=3)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(_picture(display.tiles, index // 3, index % 3, (3, 4)), row.reshape(3, 4))
    assert display.limits == (rows.min(), rows.max())
    display.plot(title="samples")
    assert display.image_.get_clim() == display.limits


def test_constant_rows_have_limits_too():
    low, high = SamplesDisplay.from_rows(np.full((2, 4), 3.0)).limits
    assert low < 3 < high


def test_an_estimator_without_a_prior_is_refused(X):
    with pytest.raises(ValueError, match="PCA has no prior to sample from"):
        SamplesDisplay.from_estimator(PCA(2).fit(X), image_shape=(3, 4))
    with pytest.raises(NotFittedError):
        SamplesDisplay.from_estimator(_Generator())


def test_a_sweep_changes_one_component_at_a_time(X):
    pca = PCA(5).fit(X)
    display = LatentSweepDisplay.from_estimator(pca, X[:1], components=[3, 0], values=[-2, 0.5], image_shape=(3, 4))
    code = pca.transform(X[:1])[0]
    for row, component in enumerate([3, 0]):
        for column, value in enumerate([-2, 0.5]):
            changed = code.copy()
            changed[component] = value
            expected = pca.inverse_transform(changed[None]).reshape(3, 4)
            np.testing.assert_allclose(_picture(display.tiles, row, column, (3, 4)), expected)


def test_by_default_the_largest_components_are_swept_over_their_range(X):
    pipeline = make_pipeline(StandardScaler(), PCA(12)).fit(X)
    display = LatentSweepDisplay.from_estimator(pipeline, X[:1], image_shape=(3, 4))
    code = pipeline.transform(X[:1])[0]
    assert display.components.tolist() == np.argsort(-np.abs(code))[:10].tolist()
    np.testing.assert_allclose(display.values[[0, 3, -1]], np.abs(code).max() * np.array([-1, 0, 1]), atol=1e-12)
    about_zero = LatentSweepDisplay.from_estimator(pipeline, image_shape=(3, 4))
    assert about_zero.components.tolist() == list(range(10))
    assert about_zero.values[-1] == 1


def test_a_code_without_negative_entries_is_swept_from_zero():
    display = LatentSweepDisplay.from_estimator(NMF(2, random_state=0).fit(np.eye(4)), np.ones((1, 4)))
    assert display.values[0] == 0
    assert (np.diff(display.values) > 0).all()


def test_a_sweep_says_which_component_and_which_value(X):
    pca = PCA(5).fit(X)
    display = LatentSweepDisplay.from_estimator(pca, components=[3, 0], values=[-2, 0.5, 1], image_shape=(3, 4)).plot()
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["3", "0"]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["-2", "0.5", "1"]
    np.testing.assert_allclose(display.ax_.get_yticks(), [2, 6])  # the middle of pictures of 3 x 4, one pixel apart
    np.testing.assert_allclose(display.ax_.get_xticks(), [2.5, 7.5, 12.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((2, 12))}, "one row, but X has 2"),
        ({"components": [5]}, "indices from 0 to 4"),
        ({"components": [0.5]}, "indices from 0 to 4"),
        ({"values": []}, r"finite numbers, but got \[\]"),
        ({"values": 1.0}, r"finite numbers, but got 1\.0"),
        ({"values": [np.nan]}, r"finite numbers, but got \[nan\]"),
        ({"image_shape": (5, 5)}, "25 pixels"),
    ],
)
def test_sweeps_that_do_not_fit_are_named(X, arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentSweepDisplay.from_estimator(PCA(5).fit(X), **{"image_shape": (3, 4), **arguments})


def test_receptive_fields_of_a_linear_encoder_are_its_weights(X):
    centred = X - X.mean(0)
    pca = PCA(5).fit(centred)
    display = ReceptiveFieldDisplay.from_estimator(pca, centred, image_shape=(3, 4), n_fields=4)
    np.testing.assert_allclose(display.fields, pca.components_, atol=1e-8)
    expected = pca.components_[2].reshape(3, 4)
    np.testing.assert_allclose(_picture(display.tiles, 1, 0, (3, 4)), expected / np.abs(expected).max(), atol=1e-8)
    assert display.tiles.shape == (9, 11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda pca, X: ReceptiveFieldDisplay.from_estimator(pca, X, n_fields=0), "n_fields >= 1, but got 0"),
        (lambda pca, X: ReceptiveFieldDisplay.from_estimator(pca, X, n_fields=-1), "n_fields >= 1, but got -1"),
        (lambda pca, X: ActivityDisplay.from_estimator(pca, X[0]), r"ActivityDisplay expects rows .* got \(12,\)"),
        (lambda pca, X: SamplesDisplay.from_rows(X, n_columns=0), "n_columns >= 1, but got 0"),
    ],
)
def test_sheets_of_nothing_are_named(X, make, message):
    with pytest.raises(ValueError, match=message):
        make(PCA(5).fit(X), X)


def test_activity_shows_the_codes_beside_their_inputs(X):
    pca = PCA(5).fit(X)
    display = ActivityDisplay.from_estimator(pca, X[:3], image_shape=(3, 4)).plot()
    np.testing.assert_allclose(display.codes, pca.transform(X[:3]))
    assert display.axes_.shape == (3, 2)
    np.testing.assert_array_equal(display.axes_[1, 0].images[0].get_array(), X[1].reshape(3, 4))
    heights = [path.vertices[1, 1] for path in display.axes_[1, 1].collections[0].get_paths()]
    np.testing.assert_allclose(heights, display.codes[1])
    display.figure_.canvas.draw()


def test_every_panel_of_activity_shows_something():
    codes = np.array([[0, 2.0, 0, 3.0], [0, 0, 0, 0], [1.0, 0, 0, 0]])
    display = ActivityDisplay(codes).plot()
    assert display.axes_.shape == (3, 1)  # no empty axes for pictures that there are not
    assert display.figure_.axes == display.axes_[:, 0].tolist()
    titles = [ax.get_title(loc="right") for ax in display.axes_[:, 0]]
    assert titles == [f"{n} of 4 components on" for n in (2, 0, 1)]
    assert [len(ax.collections[0].get_paths()) for ax in display.axes_[:, 0]] == [2, 0, 1]
    assert all(len(ax.get_lines()) == 1 for ax in display.axes_[:, 0])  # the line of zero
    for ax in display.axes_[:, 0]:  # one scale for all, and none of it below zero
        assert ax.get_ylim() == (0, pytest.approx(3.24))


def test_inputs_of_activity_share_their_colours(X):
    display = ActivityDisplay.from_estimator(PCA(5).fit(X), X[:3], image_shape=(3, 4)).plot()
    assert {ax.images[0].get_clim() for ax in display.axes_[:, 0]} == {(X[:3].min(), X[:3].max())}
    coloured = ActivityDisplay.from_estimator(PCA(5).fit(X), X[:3], image_shape=(2, 2, 3)).plot()
    assert coloured.axes_[0, 0].images[0].get_array().shape == (2, 2, 3)
    with pytest.raises(ValueError, match="got no image_shape"):
        ActivityDisplay(np.ones((1, 2)), rows=np.ones((1, 4))).plot()
