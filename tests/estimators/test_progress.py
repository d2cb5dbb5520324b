"""What a verbose fit says: a table that fits a terminal, through logging."""

import logging

import numpy as np
import pytest

from skvardict import SparseVAE, VarianceDictionaryLearning
from skvardict._utils.messages import duration
from skvardict.estimators._messages import ProgressTable
from skvardict.networks import MLP

X = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(
        **{"n_components": 5, "max_iter": 3, "random_state": 0, "verbose": 1, **parameters}
    )


def printed(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"X_val": X[:20]}], ids=str)
def test_a_line_per_epoch_below_a_head(settings, capsys):
    X_val = settings.pop("X_val", None)
    model = small(**settings).fit(X, X_val=X_val)
    name, head, *lines = printed(capsys)
    assert name == "VarianceDictionaryLearning"
    assert [line.split()[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert {len(line) for line in (head, *lines)} == {len(head)}  # columns stand below their titles
    assert float(lines[-1].split()[1]) == pytest.approx(model.history_["energy"][-1], rel=1e-4)
    assert ("val" in head) == ("validation_energy" in model.history_)


def test_nothing_is_said_without_it(capsys):
    small(verbose=0).fit(X)
    assert printed(capsys) == []


@pytest.mark.parametrize(
    "history",
    [
        {"energy": 1.2345678e-12, "validation_energy": -9.87654e20, "validation_r2": -123.45, "n_dead": 99_999},
        {"energy": 0.5, "sparsity": 1.0},
    ],
)
def test_a_table_fits_eighty_columns(history):
    table = ProgressTable("SparseVAE", 12_345, 0)
    columns = {name: [value] for name, value in {"sparsity": 0.5, **history, "epoch": 1234}.items()}
    assert max(map(len, table.lines(columns))) <= 80


def test_what_is_left_is_the_pace_so_far(monkeypatch):
    clock = iter([0.0, 10.0, 30.0])
    monkeypatch.setattr("skvardict.estimators._messages.perf_counter", lambda: next(clock))
    table = ProgressTable("VDL", 8, 5)
    assert table.lines({"epoch": [6], "energy": [1.0]})[-1].split()[-2:] == ["10.0s", "70.0s"]
    assert table.lines({"epoch": [6, 7], "energy": [1.0, 1.0]})[-1].split() == ["2/8", "1", "30.0s", "90.0s"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0s"), (99.94, "99.9s"), (99.96, "1m40s"), (3725, "62m05s"), (7800, "2h10m")]
)
def test_durations_are_short(seconds, shown):
    assert duration(seconds) == shown


def test_continued_runs_count_anew_and_updates_have_the_number_of_the_history(capsys):
    model = small(warm_start=True).fit(X).fit(X)
    assert [line.split()[0] for line in printed(capsys)[-3:]] == ["1/3", "2/3", "3/3"]
    model.partial_fit(X).partial_fit(X)
    assert [line.split()[0] for line in printed(capsys)] == ["7", "8"]


def test_a_resumed_run_goes_on_counting(tmp_path, capsys, meddle):
    def kill(session):
        if session.n_epochs == 2:
            raise OSError("killed")

    with meddle(kill, before="epoch"), pytest.raises(OSError, match="killed"):
        small().fit(X, checkpoint=tmp_path / "run")
    printed(capsys)
    small().fit(X, checkpoint=tmp_path / "run")
    assert printed(capsys)[-1].split()[0] == "3/3"


def test_lines_can_be_caught_and_kept_off_the_screen(caplog, capsys, monkeypatch):
    logger = logging.getLogger("skvardict")
    with caplog.at_level(logging.INFO, logger="skvardict"):
        SparseVAE(4, encoder=MLP((6,)), max_iter=2, random_state=0, verbose=1).fit(X)
    assert caplog.messages == printed(capsys)
    assert all(record.levelno == logging.INFO for record in caplog.records)
    monkeypatch.setattr(logger, "handlers", [])
    small().fit(X)
    assert printed(capsys) == []
