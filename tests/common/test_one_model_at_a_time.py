"""A refit, an interrupt and a reader in another thread see one model or the other, never halves of two."""

import copy
import io
import pickle
import sys
from threading import Event, Thread

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import skvardict
from skvardict import SparseCoder, SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict._utils import state
from skvardict.estimators import _files
from skvardict.models import VariationalModel
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning", "ignore:.*under-trained")
X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
OTHER = np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32)

CODERS = {
    "VDL": VarianceDictionaryLearning(4, max_iter=2, random_state=0),
    "SDL": StandardDictionaryLearning(4, encoder=None, max_iter=2, random_state=0),
    "SparseVAE": SparseVAE(4, encoder=MLP((6,)), max_iter=2, random_state=0),
}
ALL = {**CODERS, "standardizer": GlobalStandardizer(), "SparseCoder": SparseCoder(np.eye(8)[:4])}


def snapshot(model):
    """Return the attributes themselves: those of one moment."""
    return dict(vars(model))


def is_same(one, other):
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


@pytest.mark.parametrize("name", ALL)
def test_an_interrupt_anywhere_in_storing_leaves_one_model(name):
    """Raised before every line, in every call, of what stores; the last time nothing is left to interrupt."""
    model = clone(ALL[name]).fit(X)
    width = X.shape[1] if name == "SparseCoder" else OTHER.shape[1]
    rows = np.random.default_rng(2).standard_normal((40, width)).astype(np.float32)
    interrupted, n_lines = True, 0
    while interrupted:
        old, left = snapshot(model), [n_lines]

        def trace(frame, event, argument, left=left):
            own = frame.f_code.co_filename == state.__file__ or frame.f_code.co_name in ("_store", "end_training")
            if not own:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            model.fit(rows)
            interrupted = False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if interrupted:
            new = snapshot(model)
            assert is_same(new, old) or not any(
                new[key] is old[key] for key in old if key in ("params_", "_train_state")
            )
            check_whole(model)
        n_lines += 1
    assert n_lines > 5


def check_whole(model):
    """Raise where attributes are not those of one fit."""
    if not hasattr(model, "params_"):
        return
    assert model.n_features_in_ == model.params_["decoder.components"].shape[1]
    np.testing.assert_array_equal(model._train_state["counters"], [len(model.history_["epoch"]), model.n_steps_])
    for key, array in model.params_.items():
        assert model._train_state[f"params.{key}"].shape == array.shape
    rows = X if model.n_features_in_ == X.shape[1] else OTHER
    assert np.isfinite(model.transform(rows)).all()


class Slow(io.BytesIO):
    """A file whose first write waits until another thread has done its work."""

    def __init__(self, meanwhile):
        super().__init__()
        self.meanwhile, self.n_writes = meanwhile, 0

    def write(self, data):
        self.n_writes += 1
        if self.n_writes == 2:
            thread = Thread(target=self.meanwhile)
            thread.start()
            thread.join()
        return super().write(data)


@pytest.mark.parametrize("name", CODERS)
def test_a_pickle_that_a_refit_comes_between_is_the_old_model(name):
    model = clone(CODERS[name]).fit(X)
    codes = model.transform(X)
    file = Slow(lambda: model.fit(OTHER))
    joblib.dump(model, file)
    assert file.n_writes > 2
    assert model.n_features_in_ == OTHER.shape[1]
    file.seek(0)
    loaded = joblib.load(file)
    check_whole(loaded)
    np.testing.assert_array_equal(loaded.transform(X), codes)


def test_an_attribute_that_comes_while_a_file_is_written_does_no_harm(tmp_path, monkeypatch):
    """As scikit-learn's context of callbacks does when a fit begins in another thread."""
    model = clone(CODERS["SDL"]).fit(X)

    class Meddling:
        def fullmatch(self, name):
            setattr(model, f"_callback_{name}", None)
            return name.endswith("_")

    monkeypatch.setattr(_files, "_FITTED_NAME", Meddling())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(skvardict.load(tmp_path / "model").transform(X), model.transform(X))


@pytest.mark.parametrize("name", CODERS)
def test_readers_beside_refits_see_whole_models(name, tmp_path):
    """Copies, pickles, hashes, files and codes while another thread fits the same estimator again and again."""
    model = clone(CODERS[name]).set_params(max_iter=1).fit(X)
    # Both of one width, so that codes of the one may be asked of the other.
    others = [X, X[::-1].copy(), 2 * X]
    allowed = [clone(model).fit(rows) for rows in others]
    expected = [other.reconstruct(X) for other in allowed]
    stop, errors = Event(), []

    def refit():
        number = 0
        while not stop.is_set():
            number += 1
            try:
                model.fit(others[number % 3])
            except Exception as error:
                errors.append(error)

    thread, interval = Thread(target=refit), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for number in range(30):
            readers = [
                lambda: pickle.loads(pickle.dumps(model)),
                lambda: copy.deepcopy(model),
                lambda: copy.copy(model),
                lambda: model,
            ]
            read = readers[number % 4]()
            if number % 5 == 0:
                model.save(tmp_path / "model")
                read = skvardict.load(tmp_path / "model")
            codes = read.reconstruct(X)
            assert min(np.abs(codes - one).max() for one in expected) < 1e-5
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert errors == []


@pytest.mark.parametrize("method", ["posterior_params", "sample_codes", "elbo", "iwae", "energy"])
def test_methods_of_variational_models_begin_again_after_a_refit(method, monkeypatch):
    options = {} if method in ("posterior_params", "energy") else {"random_state": 0}
    model, refitted = clone(CODERS["SparseVAE"]).fit(X), clone(CODERS["SparseVAE"]).fit(2 * X)
    posterior, refits = VariationalModel.posterior, [lambda: model.fit(2 * X)]

    def interrupted(self, rows):
        if refits:
            refits.pop()()
        return posterior(self, rows)

    monkeypatch.setattr(VariationalModel, "posterior", interrupted)
    np.testing.assert_equal(getattr(model, method)(X, **options), getattr(refitted, method)(X, **options))


def test_a_fit_that_fails_changes_nothing():
    for model in (clone(CODERS["VDL"]), clone(CODERS["VDL"]).fit(X)):
        before = snapshot(model)
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.full((10, 6), np.nan))
        with pytest.raises(ValueError, match="X_val has 5"):
            model.fit(OTHER, X_val=OTHER[:, :5])
        assert is_same(snapshot(model), before)


def test_load_modules_is_one_step():
    model = clone(CODERS["VDL"]).fit(X)
    encoder = model.encoder_
    old = snapshot(model)

    def trace(frame, event, argument):
        if frame.f_code.co_name == "set_at_once":
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.load_modules(encoder=encoder)
    finally:
        sys.settrace(before)
    assert is_same(snapshot(model), old)


# ------------------------------------------------------------------------------------------- what equal fits have alike


@pytest.mark.parametrize("name", CODERS)
def test_equal_fits_have_one_hash_and_other_ones_another(name):
    one, two = (clone(CODERS[name]).fit(X) for _ in range(2))
    two.history_["seconds"] = [1e9 + second for second in two.history_["seconds"]]  # whatever the clock says
    assert joblib.hash(one) == joblib.hash(two) == joblib.hash(pickle.loads(pickle.dumps(one)))
    assert joblib.hash(one) != joblib.hash(clone(one).set_params(random_state=1).fit(X))
    two.history_["energy"][0] += 1e-3
    assert joblib.hash(one) != joblib.hash(two)
    assert joblib.hash(make_pipeline(GlobalStandardizer(), one)) == joblib.hash(
        make_pipeline(GlobalStandardizer(), clone(one).fit(X))
    )


def test_seconds_are_in_the_history_and_in_pickles():
    model = clone(CODERS["VDL"]).fit(X)
    assert all(second > 0 for second in model.history_["seconds"])
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert again.history_ == model.history_
    old = pickle.loads(pickle.dumps(model, protocol=2))  # of that age nobody writes them; all else is there
    assert np.isnan(old.history_["seconds"]).all()
    np.testing.assert_array_equal(old.transform(X), model.transform(X))


def test_what_comes_after_a_cached_fit_is_found_in_the_cache(tmp_path):
    """In a Pipeline with memory, and in a function of the fitted model: a second run with the same data and seeds."""
    memory, computed = joblib.Memory(tmp_path, verbose=0), []

    def measure(model, rows):
        computed.append(model)
        return float(model.score(rows))

    cached = memory.cache(measure)
    for _ in range(2):
        steps = GlobalStandardizer(), VarianceDictionaryLearning(4, max_iter=2, random_state=0), Counting()
        pipeline = make_pipeline(*steps, StandardDictionaryLearning(3, max_iter=2, random_state=0), memory=memory)
        pipeline.fit(X)
        fresh = VarianceDictionaryLearning(4, max_iter=2, random_state=0, optimizer=Adam(1e-3)).fit(X)
        cached(fresh, X)
    assert len(computed) == 1
    assert Counting.n_fits == 1


class Counting(GlobalStandardizer):
    """A step behind the coder that knows how often it was fitted."""

    n_fits = 0

    def fit(self, X, y=None):
        """Count."""
        type(self).n_fits += 1
        return super().fit(X, y)
