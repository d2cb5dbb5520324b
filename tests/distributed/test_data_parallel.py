"""Fits by two and three processes together: the result of one process, the same end for all."""

import importlib.util
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning
from skvardict.distributed import data_parallel

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="torch without gloo"
)

_SCRIPT = Path(__file__).with_name("work_of_ranks.py")
_SECONDS = 600  # far more than any scenario takes: nothing hangs
_spec = importlib.util.spec_from_file_location("work_of_ranks", _SCRIPT)
work = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(work)


def run_ranks(scenario, size, folder):
    """Run a scenario in `size` processes, found as torchrun lets them; return their codes and what they left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = str(_SCRIPT.parents[2])
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(_SCRIPT), scenario, str(folder)],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": root},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        errors = [process.communicate(timeout=_SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    left = [Path(folder) / f"{scenario}.{rank}" for rank in range(size)]
    made = [torch.load(path, weights_only=False) if path.exists() else None for path in left]
    return [process.returncode for process in processes], made, errors


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Returns what the processes of a scenario left; each is run once."""

    @cache
    def run(scenario, size):
        codes, made, errors = run_ranks(scenario, size, tmp_path_factory.mktemp(scenario))
        assert codes == [0] * size, errors
        return made

    return run


def others(ran, scenario):
    return [made[scenario] for made in ran("others", 2)]


@cache
def of_one_process():
    return work.fit_all(work.make_rows(), work.models())


def assert_equal_states(state, expected, tolerance=1e-10):
    """At float64, sums over processes differ from those of one in the last digits only."""
    assert state["params"].keys() == expected["params"].keys()
    for name, array in expected["params"].items():
        np.testing.assert_allclose(state["params"][name], array, rtol=0, atol=tolerance, err_msg=name)
    assert state["history"].keys() == expected["history"].keys()
    for name, column in expected["history"].items():
        np.testing.assert_allclose(state["history"][name], column, rtol=0, atol=100 * tolerance, err_msg=name)
    assert (state["n_steps"], state["best_epoch"]) == (expected["n_steps"], expected["best_epoch"])


def assert_same_bits(states):
    first, *others = states
    for other in others:
        np.testing.assert_equal(other["history"], first["history"])
        assert all((other["params"][name] == array).all() for name, array in first["params"].items())


_CASES = [(size, rows, name) for size in (2, 3) for rows in ("same", "shard") for name in work.models_for(size, rows)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("size", "rows", "name"), _CASES)
def test_the_fit_is_that_of_one_process(ran, size, rows, name):
    states = [made[rows][name] for made in ran("fits", size)]
    assert states[0]["n_steps"] >= 20
    # ADMM computes in single precision, whose products round by the number of rows.
    assert_equal_states(states[0], of_one_process()[name], 1e-5 if "ADMM" in name else 1e-10)
    assert_same_bits(states)


@pytest.mark.filterwarnings("ignore")
def test_the_cases_replace_atoms_and_lack_entries():
    """Otherwise they would not show what they are there for."""
    states = of_one_process()
    assert sum(states["SDL, idle atoms"]["history"]["n_replaced"]) > 0
    assert sum(states["SDL, statistics, idle atoms"]["history"]["n_replaced"]) > 0
    assert np.isnan(work.with_gaps(work.make_rows())).any(1).sum() > 40


@pytest.mark.filterwarnings("ignore")
def test_a_stream_that_all_read_gives_the_fit_of_one_process(ran):
    X = work.make_rows()
    model = work.VarianceDictionaryLearning(8, max_iter=2, batch_size=40, random_state=0)
    expected = work.state_of(model.fit_stream([X[:90], X[90:]], buffer_rows=100))
    states = [made["same"] for made in others(ran, "streams")]
    assert_equal_states(states[0], expected)
    assert_same_bits(states)


@pytest.mark.filterwarnings("ignore")
def test_updates_are_those_of_one_process(ran):
    X = work.make_rows()
    model = work.VarianceDictionaryLearning(8, max_iter=2, batch_size=40, random_state=0)
    expected = work.state_of(model.partial_fit(X[:90]).partial_fit(X[90:]))
    states = [made["partial"] for made in others(ran, "streams")]
    assert_equal_states(states[0], expected)
    assert_same_bits(states)


def test_streams_of_their_own_are_read_to_the_end_of_the_longest(ran):
    made = others(ran, "streams")
    assert_same_bits([one["shard"] for one in made])
    assert made[0]["shard"]["history"]["n_rows"] == [203, 203]
    parts = [one["batches"] for one in made]
    sizes = [[n_rows for _, n_rows in own] for own in parts]
    assert sizes[0] == sizes[1] == [sum(len(own[index][0]) for own in parts) for index in range(len(sizes[0]))]
    assert max(sizes[0]) <= 40
    assert len(parts[1][-1][0]) == 0  # the shorter one waits
    read = np.concatenate([rows for own in parts for rows, _ in own])
    np.testing.assert_array_equal(np.sort(read, axis=0), np.sort(work.make_rows(), axis=0))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("features", "features of X (12 on rank 0, 11 on rank 1)"),
        ("dtype", "dtype of X (float32 on rank 0, float64 on rank 1)"),
        ("dtype of shards", "dtype of X (float32 on rank 0, float64 on rank 1)"),
        ("rows", "number of rows of X (60 on rank 0, 59 on rank 1)"),
        ("parameters", "alpha (0.1 on rank 0, 0.2 on rank 1)"),
        ("seed", "random_state (0 on rank 0, 1 on rank 1)"),
        ("X_val", "X_val (given on rank 0, not given on rank 1)"),
        ("spread", "rows= (same on rank 0, shard on rank 1)"),
    ],
)
def test_ranks_that_disagree_are_told_so_on_all(ran, what, words):
    for errors in others(ran, "mismatches"):
        kind, text = errors[what]
        assert kind == "ValueError"
        assert words in text
        assert text.startswith("StandardDictionaryLearning is fitted by 2 ranks together")


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("NaN", "ValueError", "NaN"),
        ("stream", "OSError", "the disk is gone"),
    ],
)
def test_what_fails_on_one_rank_fails_on_all(ran, what, kind, words):
    first, second = (errors[what] for errors in others(ran, "mismatches"))
    assert second[0] == kind
    assert words in second[1]
    assert first[0] == "RankError"
    assert first[1].startswith(f"Rank 1 failed, and 1 of 2 did: {kind}")
    assert words in first[1]


def test_all_ranks_diverge_together(ran):
    kinds = [errors["diverges"] for errors in others(ran, "mismatches")]
    assert kinds[0] == kinds[1]
    assert kinds[0][0] == "TrainingDivergedError"


def test_only_the_first_rank_opens_the_checkpoint(ran):
    first, second = (errors["folder"] for errors in others(ran, "mismatches"))
    assert first[0] == "FileNotFoundError"
    assert second[0] == "RankError"


def test_a_fit_outside_the_context_is_that_of_one_process(ran):
    kw = {"n_components": 4, "max_iter": 3, "batch_size": 20, "random_state": 0}
    expected = work.state_of(StandardDictionaryLearning(**kw).fit(work.make_rows(60)))
    assert_same_bits([others(ran, "ways_out")[0]["alone"], expected])


def test_without_a_seed_ranks_take_that_of_the_first(ran):
    made = others(ran, "ways_out")
    assert_same_bits([one["any seed"] for one in made])
    assert made[1]["score"] > 0  # of one rank, while the other goes on


def test_the_first_rank_speaks_for_all(ran):
    first, second = others(ran, "ways_out")
    assert sum("1/3" in line for line in first["said"]) == 1
    assert any("mean square" in text for text in first["warned"])
    assert second["said"] == second["warned"] == []


def test_one_rank_interrupts_or_stops_all(ran):
    first, second = others(ran, "ways_out")
    assert first["interrupted"][0] == "RankError"
    assert second["interrupted"][0] == "KeyboardInterrupt"
    assert first["stopped"]["n_steps"] == second["stopped"]["n_steps"] == 2 * 3
    assert_same_bits([first["kept"], second["kept"]])


@pytest.mark.parametrize("sizes", [(2, 3), (1, 2)], ids=str)
def test_a_checkpoint_is_continued_by_other_numbers_of_ranks(tmp_path, sizes):
    for scenario, size in zip(("half_a_run", "other_half"), sizes):
        if size == 1:
            made = [work.state_of(work.long_run(tmp_path, {"half_a_run": 3, "other_half": 6}[scenario]))]
        else:
            codes, made, errors = run_ranks(scenario, size, tmp_path)
            assert codes == [0] * size, errors
    assert_equal_states(made[0], _whole_run(tmp_path))
    assert_same_bits(made)


def _whole_run(folder):
    (folder / "whole").mkdir()
    return work.state_of(work.long_run(folder / "whole", 6))


def test_a_killed_rank_ends_the_others_and_the_checkpoint_goes_on(tmp_path):
    codes, made, _ = run_ranks("killed", 3, tmp_path)
    assert codes == [0, 0, -9]
    for kind, text in made[:-1]:
        assert kind == "RankError"
        assert "A rank of the process group did not answer" in text
    resumed = work.long_run(tmp_path, 6)
    assert resumed.resumed_epoch_ == 2
    assert_equal_states(work.state_of(resumed), _whole_run(tmp_path))


def test_without_other_processes_nothing_changes():
    X = work.make_rows(60)
    model = StandardDictionaryLearning(4, max_iter=2, random_state=0)
    expected = work.state_of(model.fit(X))
    with data_parallel(rows="shard"):
        assert_same_bits([work.state_of(model.fit(X)), expected])


def test_rows_are_the_same_or_shards():
    with pytest.raises(ValueError, match="rows='both' is neither 'same'"):
        data_parallel(rows="both")
