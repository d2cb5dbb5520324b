"""Fits that share the path of a checkpoint: of different ones the second is told, equal ones do not harm each other."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skvardict import StandardDictionaryLearning
from skvardict.evaluation import fit_or_load
from skvardict.storage import writing
from skvardict.storage.files import DamagedFileError, read_file
from skvardict.storage.points import ObjectStore, fingerprint_fit, point_key
from skvardict.training import CheckpointMismatchError

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning", "ignore:.*under-trained")
X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)


def coder(**parameters):
    return StandardDictionaryLearning(4, encoder=None, **{"max_iter": 4, "random_state": 0, **parameters})


def fit(model, path, before_epoch=None, meddle=None, **options):
    """Fit, and let ``before_epoch(n)`` run before the n-th epoch."""
    with meddle(lambda session: before_epoch(session.n_epochs + 1), before="epoch"):
        return model.fit(X, checkpoint=path, **options)


def once_in_epoch(number, act):
    """Return what acts before one epoch of the outer fit, not of fits that it makes itself."""
    done = []

    def before_epoch(n):
        if n == number and not done:
            done.append(n)
            act()

    return before_epoch


@pytest.mark.parametrize("in_epoch", [1, 3])
def test_of_two_different_fits_the_second_is_told_by_whom(tmp_path, meddle, in_epoch):
    """The other fit writes at the moment at which this one has written nothing yet, or some of its epochs."""
    path = tmp_path / "run"

    def other():
        for file in tmp_path.iterdir():
            file.unlink()
        coder(alpha=0.3).fit(X, checkpoint=path)

    model = coder(alpha=0.1)
    said = (
        rf"belongs to another fit, written by process {os.getpid()} on .* that began .* UTC. What differs: alpha: 0.3"
    )
    with pytest.raises(CheckpointMismatchError, match=said):
        fit(model, path, once_in_epoch(in_epoch, other), meddle)
    assert read_file(path).content["state"]["dict"]["identity"]["dict"]["alpha"] == "0.3"
    assert coder(alpha=0.3).fit(X, checkpoint=path).resumed_epoch_ == 4
    assert model.n_iter_ == in_epoch  # what was learnt is not lost
    model.transform(X)


def test_the_second_is_told_after_one_epoch_however_rarely_it_writes(tmp_path, meddle):
    def other():
        coder(alpha=0.3).fit(X, checkpoint=tmp_path / "run")

    model = coder(alpha=0.1, max_iter=50)
    with pytest.raises(CheckpointMismatchError, match="alpha"):
        fit(model, tmp_path / "run", once_in_epoch(1, other), meddle, checkpoint_every=40)
    assert model.n_iter_ == 1


def test_two_runs_with_seeds_of_their_own_are_different(tmp_path, meddle):
    def other():
        coder(random_state=None).fit(X, checkpoint=tmp_path / "run")

    with pytest.raises(CheckpointMismatchError, match="What differs: seed: "):
        fit(coder(random_state=None), tmp_path / "run", once_in_epoch(1, other), meddle)


def test_two_equal_fits_go_on_and_the_slower_one_takes_nothing_back(tmp_path, meddle):
    expected = coder().fit(X)

    def other():
        coder().fit(X, checkpoint=tmp_path / "run")

    with pytest.warns(UserWarning, match=r"written by another process, too, .* one of them is enough") as said:
        model = fit(coder(), tmp_path / "run", once_in_epoch(2, other), meddle)
    assert sum("another process" in str(warning.message) for warning in said) == 1
    np.testing.assert_array_equal(model.components_, expected.components_)
    assert read_file(tmp_path / "run").content["state"]["dict"]["n_epochs"] == 4
    assert coder().fit(X, checkpoint=tmp_path / "run").resumed_epoch_ == 4


def test_another_file_that_appears_is_not_overwritten(tmp_path, meddle):
    path = tmp_path / "run"
    with pytest.raises(CheckpointMismatchError, match="is not a checkpoint"):
        fit(coder(), path, once_in_epoch(3, lambda: coder(max_iter=1).fit(X).save(path)), meddle)
    assert read_file(path).content["kind"] == "estimator"
    path.unlink()
    with pytest.raises(DamagedFileError, match="not a file of skvardict"):
        fit(coder(), path, once_in_epoch(3, lambda: path.write_text("notes " * 100)), meddle)
    assert path.read_text().startswith("notes")


def test_a_checkpoint_that_was_deleted_is_written_again(tmp_path, meddle):
    fit(coder(), tmp_path / "run", once_in_epoch(3, (tmp_path / "run").unlink), meddle)
    assert coder().fit(X, checkpoint=tmp_path / "run").resumed_epoch_ == 4


def test_what_a_killed_process_has_left_goes_when_a_finished_run_is_read(tmp_path):
    """It was killed between its first file and the removal of the name under which that was written."""
    coder().fit(X, checkpoint=tmp_path / "run")
    os.link(tmp_path / "run", tmp_path / f".skvardict-{writing._machine()}-{'1' * 32}.tmp")
    writing._looked_through.clear()
    assert coder().fit(X, checkpoint=tmp_path / "run").resumed_epoch_ == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.previous"]


@pytest.mark.parametrize("kind", ["text", "other fit", "folder"])
def test_what_stands_where_the_previous_one_is_kept_stays(tmp_path, kind):
    previous = tmp_path / "run.previous"
    coder(max_iter=1).fit(X, checkpoint=tmp_path / "run")
    if kind == "folder":
        previous.mkdir()
    elif kind == "text":
        previous.write_text("mine")
    else:
        coder(alpha=0.3).fit(X, checkpoint=tmp_path / "other")
        (tmp_path / "other").rename(previous)
    before = None if previous.is_dir() else previous.read_bytes()
    with pytest.warns(UserWarning, match="It stays, and no previous checkpoint is kept"):
        coder(max_iter=3).fit(X, checkpoint=tmp_path / "run")
    assert previous.is_dir() if before is None else previous.read_bytes() == before
    assert read_file(tmp_path / "run").content["state"]["dict"]["n_epochs"] == 3


def test_a_good_previous_one_is_not_replaced_by_a_damaged_one(tmp_path, meddle):
    path, previous = tmp_path / "run", tmp_path / "run.previous"
    coder(max_iter=2).fit(X, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1])
    good = previous.read_bytes()

    class Killed(BaseException):
        pass

    def kill(session):
        if session.n_epochs == 2:
            raise Killed

    with (
        pytest.warns(UserWarning, match="previous checkpoint is used, of epoch 1"),
        meddle(kill, before="epoch"),
        pytest.raises(Killed),
    ):
        coder().fit(X, checkpoint=path)
    assert previous.read_bytes() == good
    assert coder().fit(X, checkpoint=path).resumed_epoch_ == 2


def test_permissions_are_kept_and_names_of_the_user_stay(tmp_path):
    (tmp_path / "run.tmp").write_text("mine")
    coder(max_iter=1).fit(X, checkpoint=tmp_path / "run")
    (tmp_path / "run").chmod(0o600)
    coder(max_iter=3).fit(X, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run.tmp").read_text() == "mine"


def test_pipes_and_folders_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("pipe", "folder", "link", ""):
        with pytest.raises(DamagedFileError, match="a path of its own"):
            coder().fit(X, checkpoint=tmp_path / name)


def fit_and_say(model, path):
    try:
        model.fit(X, checkpoint=path)
    except CheckpointMismatchError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore")  # by the test and not by its threads, which share the filters
@pytest.mark.parametrize("alphas", [(0.1, 0.1), (0.1, 0.2)], ids=["the same fit", "different fits"])
def test_two_at_the_same_time(tmp_path, alphas):
    """The quick version of benchmarks/two_writers.py, which has processes and 200 rounds."""
    for number in range(10):
        path = tmp_path / f"run{number}"
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(fit_and_say, [coder(alpha=alpha, max_iter=3) for alpha in alphas], [path] * 2))
        if alphas[0] == alphas[1]:
            assert said == ["", ""]
        else:
            assert sorted(map(bool, said)) == [False, True]
            assert re.search("belongs to another fit, written by process", max(said))
        winner = coder(alpha=alphas[said.index("")], max_iter=3)
        assert winner.fit(X, checkpoint=path).resumed_epoch_ == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_fits_without_a_seed_may_share_a_folder_of_models(tmp_path, meddle):
    """The second of them goes on without a checkpoint."""
    model = coder(random_state=None, max_iter=2)
    path = ObjectStore(tmp_path).path(point_key(fingerprint_fit(model, X, {}))).with_suffix(".checkpoint")
    act = once_in_epoch(1, lambda: coder(random_state=None, max_iter=2).fit(X, checkpoint=path))
    with meddle(lambda session: act(session.n_epochs + 1), before="epoch"):
        fitted = fit_or_load(model, X, folder=tmp_path)
    assert fitted.n_iter_ == 2
