"""What each process of a group does in the tests of fits in several processes; run with the name of a scenario.

``python work_of_ranks.py SCENARIO FOLDER`` finds its group as torchrun would have prepared it, in the environment, and
leaves what the scenario returns in FOLDER.
"""

import logging
import os
import signal
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from sklearn.base import clone

from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.distributed import data_parallel
from skvardict.networks import ResNet
from skvardict.rows import ChunkSource, Rows, Stream, spread
from skvardict.solvers import FISTA
from skvardict.training import SGD, Adam, OnlineUpdate, TargetSparsity, loop

_TWENTY_STEPS = {"max_iter": 5, "batch_size": 50, "random_state": 0}
_DRAWN = {"expectation": "draws", **_TWENTY_STEPS}


def make_rows(n_rows=203, n_features=12):
    generator = np.random.default_rng(0)
    X = generator.laplace(size=(n_rows, 8)) @ generator.standard_normal((8, n_features))
    return X / X.std()


def with_gaps(X):
    """Missing entries in the first third of the rows alone."""
    holes = np.random.default_rng(1).random(X.shape) < 0.2
    holes[len(X) // 3 :] = False
    return np.where(holes, np.nan, X)


def models():
    """Every way of learning, by name, and of coupling the rows of a batch."""
    some = 8
    return {
        "VDL": VarianceDictionaryLearning(some, **_TWENTY_STEPS),
        "VDL-NL": VarianceDictionaryLearning(some, decoder="mlp", **_TWENTY_STEPS),
        "VDL, solved": VarianceDictionaryLearning(some, solver=FISTA(max_iter=12), **_TWENTY_STEPS),
        "VDL, restarts": VarianceDictionaryLearning(some, solver=FISTA(8, restart=True), **_TWENTY_STEPS),
        "VDL, backtracking": VarianceDictionaryLearning(
            some, solver=FISTA(8, step_size="backtracking"), **_TWENTY_STEPS
        ),
        "VDL, target": VarianceDictionaryLearning(
            some, alpha=TargetSparsity(0.7), early_stopping=True, **_TWENTY_STEPS
        ),
        "VDL, missing": VarianceDictionaryLearning(some, missing="mask", **_TWENTY_STEPS),
        "SDL": StandardDictionaryLearning(some, **_TWENTY_STEPS),
        "SDL, idle atoms": StandardDictionaryLearning(24, alpha=0.5, **_TWENTY_STEPS | {"max_iter": 20}),
        "SDL-NL, no encoder": StandardDictionaryLearning(some, decoder="mlp", encoder=None, **_TWENTY_STEPS),
        "SDL, statistics": StandardDictionaryLearning(some, encoder=None, solver=FISTA(20), **_TWENTY_STEPS),
        "SDL, statistics, ADMM": StandardDictionaryLearning(some, encoder=None, **_TWENTY_STEPS),
        "SDL, statistics, idle atoms": StandardDictionaryLearning(
            48, alpha=0.5, optimizer=OnlineUpdate(), **_TWENTY_STEPS | {"max_iter": 8}
        ),
        "SDL, statistics, missing": StandardDictionaryLearning(
            some, encoder=None, missing="mask", solver=FISTA(20), **_TWENTY_STEPS
        ),
        "WDL, statistics": WeightDecayDictionaryLearning(some, encoder=None, solver=FISTA(20), **_TWENTY_STEPS),
        "SVAE": SparseVAE(some, **_DRAWN),
        "SVAE, closed form": SparseVAE(some, **_TWENTY_STEPS),
        "VSC": ThresholdedVSC(some, **_DRAWN),
        "VSC, aggregate": ThresholdedVSC(some, divergence="aggregate", **_TWENTY_STEPS),
        "VSC, learnt noise": ThresholdedVSC(some, kl_weight="auto", **_DRAWN),
        "VSC, statistics": ThresholdedVSC(some, optimizer=OnlineUpdate(), **_TWENTY_STEPS),
        "VSC, random threshold": ThresholdedVSC(some, threshold_prior="gamma", **_DRAWN),
        "VSC, iwae": ThresholdedVSC(some, n_draws=3, draw_reduction="iwae", **_TWENTY_STEPS),
        "VSC, missing": ThresholdedVSC(some, missing="mask", **_TWENTY_STEPS),
        "VSC, draws, missing": ThresholdedVSC(some, missing="mask", **_DRAWN),
        "VSC, limited steps": ThresholdedVSC(
            some,
            n_draws=3,
            draw_reduction="mean",
            optimizer=SGD(1e-2, dictionary_learning_rate=1.0),
            **_DRAWN,
        ),
        "VSC, batch norms": ThresholdedVSC(some, encoder=ResNet((16, 16)), **_DRAWN),
        "spike and slab": SpikeAndSlabVSC(some, **_DRAWN),
        "spike and slab, limited steps": SpikeAndSlabVSC(
            some, optimizer=SGD(1e-2, dictionary_learning_rate=1.0), **_TWENTY_STEPS
        ),
        "spike and slab, learnt noise": SpikeAndSlabVSC(some, kl_weight="auto", **_TWENTY_STEPS),
    }


# What three processes fit: every kind of sum, and batches of which one has no rows.
EVERYWHERE = ("VDL", "VDL-NL", "SDL, statistics", "SVAE", "VSC, aggregate", "VSC, batch norms")


def models_for(size, rows="same"):
    """Return the models that are compared: all of them on the same rows of two processes, else a part."""
    has_all = size < 3 and rows == "same"
    return {name: model for name, model in models().items() if has_all or name in EVERYWHERE}


def state_of(model):
    history = {name: column for name, column in model.history_.items() if name != "seconds"}
    return {"params": model.params_, "history": history, "n_steps": model.n_steps_, "best_epoch": model.best_epoch_}


def fit_all(X, compared, part=lambda rows: rows):
    """Return the fitted state of the models by name; `part` are the rows of a process."""
    return {
        name: state_of(model.fit(part(rows_for(name, X)), **validation_for(name, X, part)))
        for name, model in compared.items()
    }


def rows_for(name, X):
    return with_gaps(X) if "missing" in name else X


def validation_for(name, X, part):
    """Rows for validation for some of the models."""
    return {"X_val": part(X[::3])} if name in ("VDL-NL", "VSC") else {}


def part_of(X):
    """The shard of a process; that of the first of three is too small for many batches."""
    rank, size = dist.get_rank(), dist.get_world_size()
    bounds = [0, len(X) // 3, len(X)] if size == 2 else [0, 3, len(X) // 2, len(X)]
    return X[bounds[rank] : bounds[rank + 1]]


# --- scenarios --------------------------------------------------------------------------------------------------------


def fits():
    """The models on the same rows and on shards."""
    X, size, made = make_rows(), dist.get_world_size(), {}
    with data_parallel(rows="same"):
        made["same"] = fit_all(X, models_for(size))
    with data_parallel(rows="shard"):
        made["shard"] = fit_all(X, models_for(size, "shard"), part_of)
    return made


def others():
    """What takes two processes and little time."""
    return {"streams": streams(), "mismatches": mismatches(), "ways_out": ways_out()}


def streams():
    """Streams that all read, and streams of unequal length of their own."""
    X, rank = make_rows(), dist.get_rank()
    model = VarianceDictionaryLearning(8, max_iter=2, batch_size=40, random_state=0)
    made = {}
    with data_parallel(rows="same"):
        made["same"] = state_of(model.fit_stream([X[:90], X[90:]], buffer_rows=100))
        made["partial"] = state_of(clone(model).partial_fit(X[:90]).partial_fit(X[90:]))
    chunks = [X[:150]] if rank == 0 else [X[150:190], X[190:]]
    with data_parallel(rows="shard"):
        made["shard"] = state_of(model.fit_stream(chunks, buffer_rows=60))
        made["batches"] = batches_of(chunks)
    return made


def batches_of(chunks):
    """Return the part of this process of every batch of a pass over a stream of its own, and the batches' sizes."""
    from skvardict._utils import ranks

    source = ChunkSource(chunks)
    stream = Stream(source, Rows(source.first()), Rows, 60)
    with ranks.together():
        passed = spread(stream, ranks.current()).shuffled(40, torch.Generator().manual_seed(0))
        return [(part.numpy(), ranks.n_rows(len(part))) for part in passed]


def outcome_of(act):
    try:
        act()
    except (Exception, KeyboardInterrupt) as error:
        return type(error).__name__, str(error)
    return "nothing", ""


def mismatches():
    """What processes may not agree about, and what fails in one of them: the errors of this process by name."""
    X, rank = make_rows(60), dist.get_rank()
    make = StandardDictionaryLearning
    kw = {"n_components": 4, "max_iter": 3, "batch_size": 20, "random_state": 0}
    spoilt = X.copy()
    spoilt[3, 2] = np.nan if rank else X[3, 2]

    def broken_stream():
        yield X[:30]
        if rank:
            raise OSError("the disk is gone")
        yield X[30:]

    errors = {}
    with data_parallel(rows="same"):
        errors |= {
            "features": outcome_of(lambda: make(**kw).fit(X[:, : 12 - rank])),
            "dtype": outcome_of(lambda: make(**kw).fit(X.astype([np.float32, np.float64][rank]))),
            "rows": outcome_of(lambda: make(**kw).fit(X[rank:])),
            "parameters": outcome_of(lambda: make(**kw, alpha=[0.1, 0.2][rank]).fit(X)),
            "seed": outcome_of(lambda: make(**kw | {"random_state": rank}).fit(X)),
            "X_val": outcome_of(lambda: make(**kw).fit(X, X_val=[X, None][rank])),
            "NaN": outcome_of(lambda: make(**kw).fit(spoilt)),
            "stream": outcome_of(lambda: make(**kw | {"max_iter": 1}).fit_stream(broken_stream)),
            "folder": outcome_of(lambda: make(**kw).fit(X, checkpoint="/nowhere/run")),
            "diverges": outcome_of(lambda: make(**kw | {"optimizer": SGD(1e20, max_grad_norm=None)}).fit(X)),
        }
    with data_parallel(rows=["same", "shard"][rank]):
        errors["spread"] = outcome_of(lambda: make(**kw).fit(X))
    with data_parallel(rows="shard"):
        errors["dtype of shards"] = outcome_of(lambda: make(**kw).fit(X.astype([np.float32, np.float64][rank])))
    return errors


def ways_out():
    """What one process does alone, and what all do after one of them wants it."""
    X, rank = make_rows(60), dist.get_rank()
    kw = {"n_components": 4, "max_iter": 3, "batch_size": 20}
    made, lines = {}, []
    logging.getLogger("skvardict").handlers = [handler := logging.Handler()]
    handler.emit = lambda record: lines.append(record.getMessage())
    if rank == 0:  # a group, but no context: a fit of one process
        made["alone"] = state_of(StandardDictionaryLearning(**kw, random_state=0).fit(X))
    with data_parallel():
        made["any seed"] = state_of(model := StandardDictionaryLearning(**kw).fit(X))
        if rank == 1:
            made["score"] = model.score(X)

        def stop_on_second(session):
            if rank == 1 and session.n_epochs == 2:
                raise KeyboardInterrupt

        original = loop._ask
        loop._ask = lambda on_epoch, session: stop_on_second(session) or original(on_epoch, session)
        model = StandardDictionaryLearning(**kw, random_state=0)
        made["interrupted"] = outcome_of(lambda: model.fit(X))
        made["kept"] = state_of(model)
        loop._ask = lambda on_epoch, session: rank == 1 and session.n_epochs == 2
        made["stopped"] = state_of(StandardDictionaryLearning(**kw, random_state=0).fit(X))
        loop._ask = original
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            StandardDictionaryLearning(**kw, random_state=0, verbose=1).fit(100 * X)
        made["said"], made["warned"] = lines, [str(warning.message) for warning in caught]
    return made


def long_run(folder, max_iter):
    model = VarianceDictionaryLearning(
        8, optimizer=Adam(1e-2), max_iter=max_iter, batch_size=50, early_stopping=True, random_state=0
    )
    return model.fit(make_rows(), checkpoint=Path(folder) / "run")


def half_a_run(folder):
    """Three of six epochs, with a checkpoint."""
    with data_parallel():
        return state_of(long_run(folder, 3))


def other_half(folder):
    """The epochs that are left."""
    with data_parallel():
        return state_of(long_run(folder, 6))


def killed(folder):
    """The last process is killed in the middle of the third epoch."""
    rank, original = dist.get_rank(), loop._step

    def step(session, *args):
        if rank == dist.get_world_size() - 1 and session.n_epochs == 2 and session.n_steps % 4 == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(session, *args)

    loop._step = step
    with data_parallel():
        return outcome_of(lambda: long_run(folder, 6))


def main(scenario, folder):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # noqa: TID251  a process of its own
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    needs_folder = scenario in ("half_a_run", "other_half", "killed")
    made = globals()[scenario](*([folder] if needs_folder else []))
    torch.save(made, Path(folder) / f"{scenario}.{dist.get_rank()}")
    if scenario != "killed":
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
