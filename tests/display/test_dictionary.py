import builtins
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skvardict.display import DictionaryDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID251


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 12))


@pytest.fixture
def atoms():
    return np.random.default_rng(0).normal(size=(7, 12)) * np.arange(1, 8)[:, None]


def test_each_tile_is_its_atom_scaled_about_zero(atoms):
    display = DictionaryDisplay.from_components(atoms, image_shape=(3, 4))
    assert display.tiles.shape == (3 * 4 + 1, 3 * 5 + 1)
    for index, atom in enumerate(atoms):
        row, column = 1 + 4 * (index // 3), 1 + 5 * (index % 3)
        tile = display.tiles[row : row + 3, column : column + 4]
        np.testing.assert_allclose(tile, atom.reshape(3, 4) / np.abs(atom).max())


def test_borders_and_empty_places_are_not_a_number(atoms):
    tiles = DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).tiles
    assert np.isnan(tiles[::4]).all()
    assert np.isnan(tiles[:, ::5]).all()
    assert np.isfinite(tiles).sum() == atoms.size


@pytest.mark.parametrize(
    ("n_components", "grid"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (5, (2, 3)), (128, (11, 12))]
)
def test_the_grid_is_nearly_square(n_components, grid):
    tiles = DictionaryDisplay.from_components(np.ones((n_components, 4))).tiles
    assert tiles.shape == tuple(3 * n + 1 for n in grid)


def test_an_atom_of_zeros_stays_zero():
    assert np.nansum(np.abs(DictionaryDisplay.from_components(np.zeros((2, 4))).tiles)) == 0


def test_atoms_are_shown_in_the_order_asked_for(atoms):
    shape = {"image_shape": (3, 4)}
    norms = np.linalg.norm(atoms, axis=1)
    by_norm = DictionaryDisplay.from_components(atoms, order="norm", n_atoms=4, **shape)
    np.testing.assert_array_equal(by_norm.atom_indices, np.argsort(-norms)[:4])
    picked = DictionaryDisplay.from_components(atoms, order=[5, 0], **shape)
    np.testing.assert_array_equal(picked.tiles, DictionaryDisplay.from_components(atoms[[5, 0]], **shape).tiles)
    assert DictionaryDisplay.from_components(atoms, **shape).atom_indices.tolist() == list(range(7))


def test_any_estimator_with_components_can_be_shown(X):
    pca = PCA(5).fit(X)
    expected = DictionaryDisplay.from_components(pca.components_, image_shape=(4, 3)).tiles
    np.testing.assert_array_equal(DictionaryDisplay.from_estimator(pca, image_shape=(4, 3)).tiles, expected)


def test_a_pipeline_shows_its_last_or_its_named_step_with_components(X):
    labels = np.arange(60) % 2
    pipeline = Pipeline(
        [("first", PCA(9)), ("second", PCA(4)), ("none", "passthrough"), ("classify", DummyClassifier())]
    ).fit(X, labels)
    assert DictionaryDisplay.from_estimator(pipeline).image_shape == (3, 3)
    assert len(DictionaryDisplay.from_estimator(pipeline).atom_indices) == 4
    display = DictionaryDisplay.from_estimator(pipeline, step="first", image_shape=(3, 4))
    assert len(display.atom_indices) == 9
    with pytest.raises(ValueError, match=r"no step 'third'; its steps are \['first', 'second'"):
        DictionaryDisplay.from_estimator(pipeline, step="third")


@pytest.mark.parametrize("estimator", [PCA(), make_pipeline(StandardScaler(), NMF())])
def test_an_unfitted_estimator_is_refused(estimator):
    with pytest.raises(NotFittedError):
        DictionaryDisplay.from_estimator(estimator)


def test_an_estimator_without_components_is_refused(X):
    with pytest.raises(ValueError, match="but KMeans has none"):
        DictionaryDisplay.from_estimator(KMeans(2, n_init=1, random_state=0).fit(X))
    with pytest.raises(ValueError, match="the step 'standardscaler' of Pipeline has none"):
        DictionaryDisplay.from_estimator(make_pipeline(StandardScaler(), PCA(2)).fit(X), step="standardscaler")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "12 features are no square number"),
        ({"image_shape": (3, 5)}, r"image_shape=\(3, 5\), 15 pixels, but the rows have 12"),
        ({"image_shape": (3, 4), "n_atoms": 0}, "n_atoms >= 1, but got 0"),
        ({"image_shape": (3, 4), "order": "size"}, "order='size'"),
        ({"image_shape": (2, 2, 3), "order": "use"}, r"from_estimator\(model, X=X\)"),
        ({"image_shape": (3, 2, 3)}, r"image_shape=\(3, 2, 3\), 18 values, but the rows have 12"),
        ({"image_shape": (2, 3, 2)}, r"Pass image_shape=\(height, width, 3\) or \(3, height, width\)"),
        ({"image_shape": (3, 4), "order": [7]}, "indices from 0 to 6"),
        ({"image_shape": (3, 4), "order": [0.5]}, "indices from 0 to 6"),
    ],
)
def test_parameters_that_do_not_fit_are_named(atoms, parameters, message):
    with pytest.raises(ValueError, match=message):
        DictionaryDisplay.from_components(atoms, **parameters)


def test_weights_of_a_module_can_be_shown(atoms):
    weights = torch.nn.Parameter(torch.from_numpy(atoms))
    shown = (DictionaryDisplay.from_components(rows, image_shape=(3, 4)).tiles for rows in (weights, atoms))
    np.testing.assert_array_equal(*shown)


def test_components_have_to_be_rows():
    with pytest.raises(ValueError, match=r"but got \(4,\)"):
        DictionaryDisplay.from_components(np.ones(4))


def test_plot_draws_the_sheet_on_the_axes_it_is_given(atoms):
    display = DictionaryDisplay.from_components(atoms, image_shape=(3, 4))
    figure, ax = plt.subplots()
    assert display.plot(ax, cmap="RdBu", title="atoms", alpha=0.5) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.get_title() == "atoms"
    assert display.image_.get_clim() == (-1, 1)
    assert display.image_.get_cmap().name == "RdBu"
    np.testing.assert_array_equal(display.image_.get_array().filled(np.nan), display.tiles)


def test_plot_makes_a_figure_of_its_own_and_can_be_repeated(atoms):
    display = DictionaryDisplay.from_components(atoms, image_shape=(3, 4))
    first = display.plot().figure_
    assert display.plot().figure_ is not first
    first.canvas.draw()


def test_matplotlib_is_imported_by_plot_only():
    code = "import sys, skvardict.display; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_matplotlib_is_reported(atoms, monkeypatch):
    original = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).plot()


def test_colours_stand_last_or_first(atoms):
    last = DictionaryDisplay.from_components(atoms, image_shape=(2, 2, 3))
    assert last.tiles.shape == (3 * 3 + 1, 3 * 3 + 1, 3)
    np.testing.assert_allclose(last.tiles[1:3, 4:6], atoms[1].reshape(2, 2, 3) / np.abs(atoms[1]).max())
    assert np.isnan(last.tiles[::3]).all()
    assert np.isnan(last.tiles[:, ::3]).all()
    moved = np.moveaxis(atoms.reshape(-1, 2, 2, 3), -1, 1).reshape(7, 12)
    first = DictionaryDisplay.from_components(moved, image_shape=(3, 2, 2))
    np.testing.assert_array_equal(first.tiles, last.tiles)


def test_zero_is_grey_in_colour():
    atoms = np.zeros((1, 12))
    atoms[0, :3] = 2, 0, -2
    display = DictionaryDisplay.from_components(atoms, image_shape=(2, 2, 3)).plot(colorbar=True)
    colours = np.asarray(display.image_.get_array())
    np.testing.assert_allclose(colours[1, 1], [1, 0.5, 0])
    np.testing.assert_allclose(colours[2, 2], [0.5, 0.5, 0.5])
    np.testing.assert_allclose(colours[0, 0], [0.8, 0.8, 0.8])
    assert display.figure_.axes == [display.ax_]  # values have no colour bar


def test_signed_atoms_have_a_diverging_map_about_zero(atoms):
    signed = DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).plot()
    assert signed.image_.get_cmap().name == "RdBu_r"
    assert signed.image_.get_clim() == (-1, 1)
    red, _, blue, _ = signed.image_.cmap(1.0)
    assert red > blue  # red is positive
    positive = DictionaryDisplay.from_components(np.abs(atoms), image_shape=(3, 4)).plot()
    assert positive.image_.get_cmap().name == "gray"
    assert positive.image_.get_clim() == (0, 1)


def test_borders_can_be_told_from_zero(atoms):
    image = DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).plot().image_
    assert np.abs(np.subtract(image.cmap.get_bad(), image.cmap(0.5))).max() > 0.1


def test_borders_grow_with_the_pictures():
    tiles = DictionaryDisplay.from_components(np.ones((4, 28 * 28))).tiles
    assert tiles.shape == (2 * 30 + 2, 2 * 30 + 2)
    assert np.isnan(tiles[:, 30:32]).all()


def test_atoms_in_use_come_first(X):
    codes = np.zeros((60, 3))
    codes[:5, 0], codes[:50, 1], codes[:20, 2] = 1, -1, 1  # how often counts, and not the sign

    class Coder(PCA):
        def transform(self, X):
            return codes

    coder = Coder(3).fit(X)
    for estimator in (coder, make_pipeline(StandardScaler(), Coder(3), DummyClassifier()).fit(X, np.arange(60) % 2)):
        display = DictionaryDisplay.from_estimator(estimator, X=X, order="use", image_shape=(3, 4), n_atoms=2)
        assert display.atom_indices.tolist() == [1, 2]
        assert display.plot().ax_.get_title() == "2 of 3 atoms, most used first"
    with pytest.raises(ValueError, match=r"order='use', but got no rows. Pass X="):
        DictionaryDisplay.from_estimator(coder, order="use", image_shape=(3, 4))


def test_the_title_can_be_left_out(atoms):
    assert DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).plot().ax_.get_title() == "7 atoms"
    assert DictionaryDisplay.from_components(atoms, image_shape=(3, 4)).plot(title="").ax_.get_title() == ""


def test_a_colour_bar_is_drawn_when_asked_for(atoms):
    display = DictionaryDisplay.from_components(atoms, image_shape=(3, 4))
    assert len(display.plot().figure_.axes) == 1
    bar = display.plot(colorbar=True).figure_.axes[1]
    assert bar.get_ylim() == (-1, 1)


@pytest.mark.parametrize("n_components", [1, 2, 10, 256])
def test_a_sheet_fills_its_figure(n_components):
    display = DictionaryDisplay.from_components(np.eye(n_components, 64)).plot()
    display.figure_.canvas.draw()
    sheet, figure = display.ax_.get_window_extent(), display.figure_.bbox
    assert max(sheet.width / figure.width, sheet.height / figure.height) > 0.75
