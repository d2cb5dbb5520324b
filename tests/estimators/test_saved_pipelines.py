"""Pipelines of our steps in files without code: what comes back, what is refused, what a hostile file cannot do."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skvardict
from skvardict import SparseCoder, SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.networks import MLP, LinearDecoder
from skvardict.preprocessing import FourierWhitener, GlobalStandardizer, LocalContrastNormalizer, PatchSampler
from skvardict.storage.files import DamagedFileError, read_file, write_file

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 36)).astype(np.float32)


def vdl(**parameters):
    return VarianceDictionaryLearning(5, max_iter=2, random_state=0, **parameters)


PIPELINES = {
    "standardised": lambda: make_pipeline(GlobalStandardizer(), vdl()),
    "variational": lambda: make_pipeline(GlobalStandardizer(), SparseVAE(4, encoder=MLP((6,)), max_iter=1)),
    "contrast": lambda: make_pipeline(LocalContrastNormalizer(window_size=3), GlobalStandardizer(), vdl()),
    "fixed atoms": lambda: make_pipeline(GlobalStandardizer(), SparseCoder(np.eye(36)[:6], alpha=0.1)),
    "two coders": lambda: Pipeline([("first", vdl()), ("skipped", "passthrough"), ("second", vdl(split_sign=True))]),
}


@pytest.fixture(params=PIPELINES.values(), ids=PIPELINES)
def pipeline(request):
    return request.param().fit(X)


def test_a_loaded_pipeline_gives_the_same_codes(pipeline, tmp_path):
    skvardict.save(pipeline, tmp_path / "pipeline")
    loaded = skvardict.load(tmp_path / "pipeline")
    assert isinstance(loaded, Pipeline)
    assert [name for name, _ in loaded.steps] == [name for name, _ in pipeline.steps]
    np.testing.assert_array_equal(loaded.transform(X), pipeline.transform(X))
    np.testing.assert_array_equal(loaded.get_params()["steps"][0][1].transform(X), pipeline[0].transform(X))
    assert str(loaded.get_params(deep=False)) == str(pipeline.get_params(deep=False))


@pytest.mark.parametrize(
    "transformer",
    [
        GlobalStandardizer(),
        GlobalStandardizer(mean=0.5),
        LocalContrastNormalizer(window_size=3, image_shape=(6, 6)),
        SparseCoder(np.eye(36), alpha=0.1, sparse_output=True),
        vdl(),
    ],
    ids=str,
)
def test_steps_are_saved_alone_too(transformer, tmp_path):
    transformer.fit(X)
    skvardict.save(transformer, tmp_path / "step")
    loaded = skvardict.load(tmp_path / "step")
    assert type(loaded) is type(transformer)
    found, expected = loaded.transform(X), transformer.transform(X)
    assert type(found) is type(expected)
    assert abs(found - expected).max() == 0


def test_transformers_of_images_are_saved(tmp_path):
    images = [RNG.random((20, 20)) for _ in range(3)]
    for index, transformer in enumerate([FourierWhitener(variance=0.1), PatchSampler((4, 4), 10, random_state=0)]):
        skvardict.save(transformer.fit(images), tmp_path / str(index))
        loaded = skvardict.load(tmp_path / str(index))
        np.testing.assert_array_equal(loaded.transform(images), transformer.transform(images))


def test_names_of_features_come_back(tmp_path):
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(36)])
    skvardict.save(make_pipeline(GlobalStandardizer(), vdl()).fit(frame), tmp_path / "pipeline")
    loaded = skvardict.load(tmp_path / "pipeline")
    assert list(loaded.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(frame[frame.columns[::-1]])


def test_what_a_file_cannot_hold_is_passed_by_step(tmp_path):
    def build(n_features, n_components):
        return LinearDecoder(n_components, n_features, None)

    fitted = Pipeline([("scale", GlobalStandardizer()), ("code", vdl(decoder=build))]).fit(X)
    skvardict.save(fitted, tmp_path / "pipeline")
    with pytest.raises(ValueError, match="cannot hold decoder"):
        skvardict.load(tmp_path / "pipeline")
    loaded = skvardict.load(tmp_path / "pipeline", code__decoder=build, code__device="cpu")
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    for unknown in ("decoder", "other__decoder"):
        with pytest.raises(TypeError, match=r"no parameters .*; its steps are \['scale', 'code'\]"):
            skvardict.load(tmp_path / "pipeline", code__decoder=build, **{unknown: build})


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: make_pipeline(StandardScaler(), vdl()).fit(X), "'standardscaler', a sklearn"),
        (lambda: make_pipeline(vdl(), LogisticRegression()).fit(X, RNG.integers(2, size=60)), "'logisticregression'"),
        (lambda: Pipeline([("inner", make_pipeline(GlobalStandardizer()))]).fit(X), "'inner', a sklearn"),
        (lambda: StandardScaler().fit(X), "it, a sklearn"),
    ],
)
def test_steps_of_others_are_refused_with_what_to_use(make, named, tmp_path):
    with pytest.raises(TypeError, match=rf"cannot hold (the step )?{named}.* skops\.io\.dump"):
        skvardict.save(make(), tmp_path / "pipeline")
    assert list(tmp_path.iterdir()) == []


def test_an_unfitted_step_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        skvardict.save(make_pipeline(GlobalStandardizer(), vdl()), tmp_path / "pipeline")


HOSTILE = {
    "a class of another library": lambda c: c["steps"][0].update({"class": "StandardScaler"}),
    "a module": lambda c: c["steps"][0].update({"class": "os.system"}),
    "no steps": lambda c: c.update(steps=[]),
    "steps that are numbers": lambda c: c.update(steps=[1, 2]),
    "no name": lambda c: c["steps"][0].update(name=None),
    "one name twice": lambda c: c["steps"][0].update(name=c["steps"][1]["name"]),
    "a name of parameters": lambda c: c["steps"][0].update(name="a__b"),
    "a scale that is text": lambda c: c["steps"][0]["fitted"].update(scale_="one"),
    "a scale that is infinite": lambda c: c["steps"][0]["fitted"].update(scale_={"float": "inf"}),
    "a number of features below one": lambda c: c["steps"][0]["fitted"].update(n_features_in_=-1),
    "a method replaced": lambda c: c["steps"][0]["fitted"].update(transform=1.0),
    "a parameter out of range": lambda c: c["steps"][0]["parameters"].update(mean="x"),
    "weights of another size": lambda c: c["steps"][1]["parameters"].update(n_components=6),
    "fitted attributes missing": lambda c: c["steps"][1].pop("fitted"),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_an_altered_file_with_a_right_checksum_is_refused(spoil, tmp_path):
    skvardict.save(make_pipeline(GlobalStandardizer(), vdl()).fit(X), tmp_path / "pipeline")
    arrays, content = read_file(tmp_path / "pipeline")
    content = copy.deepcopy(content)
    spoil(content)
    write_file(tmp_path / "pipeline", dict(arrays), content)
    with pytest.raises(DamagedFileError):
        skvardict.load(tmp_path / "pipeline")


def test_a_warm_start_of_a_loaded_step_goes_on(tmp_path):
    fitted = make_pipeline(GlobalStandardizer(), StandardDictionaryLearning(5, max_iter=2, random_state=0)).fit(X)
    skvardict.save(fitted, tmp_path / "pipeline")
    loaded = skvardict.load(tmp_path / "pipeline")
    np.testing.assert_array_equal(loaded[-1].partial_fit(X).components_, fitted[-1].partial_fit(X).components_)
