"""Time and memory of one training step of the variational models, on one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.variational_step

256 atoms, 256 features, batches of 100, the encoder of Fallah & Rozell (2022). Times are processor time, the least of
the repetitions; memory is the peak of the process over what it had after importing torch.
"""

import resource
import time

import torch

from skvardict import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC
from skvardict._utils.random import make_generator
from skvardict.networks import MLP
from skvardict.training import TrainingSession
from skvardict.training.loop import _step

ROWS, FEATURES, ATOMS = 100, 256, 256
N_STEPS, N_REPEATS = 20, 8
COMMON = {"expectation": "draws", "encoder": MLP((512, 1024, 512, 256))}
MODELS = {
    "thresholded Laplace": lambda draws: ThresholdedVSC(ATOMS, **COMMON, n_draws=draws, warmup=None),
    "thresholded Laplace, mean": lambda draws: ThresholdedVSC(
        ATOMS, **COMMON, n_draws=draws, draw_reduction="mean", warmup=None
    ),
    "thresholded Laplace, Gamma": lambda draws: ThresholdedVSC(
        ATOMS, **COMMON, n_draws=draws, threshold_prior="gamma", warmup=None
    ),
    "thresholded Gaussian": lambda draws: ThresholdedVSC(ATOMS, **COMMON, n_draws=draws, base="gaussian"),
    "spike and slab": lambda draws: SpikeAndSlabVSC(ATOMS, **COMMON, n_draws=draws, warmup=None),
    "SVAE-Norm": lambda draws: SparseVAE(ATOMS, **COMMON, n_draws=draws),
}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def milliseconds_per_step(model) -> float:
    generator = make_generator(0)
    objective = model._build_objective(model._build_model(FEATURES, generator), ROWS, model._plan(ROWS))
    session = TrainingSession(objective, model._optimizer(model._plan(ROWS)), generator)
    X = torch.randn(ROWS, FEATURES, generator=generator)

    def run() -> float:
        begin = time.process_time()
        for _ in range(N_STEPS):
            session.advance(0.5, 1)
            _step(session, X, {})
        return (time.process_time() - begin) / N_STEPS

    run()
    return min(run() for _ in range(N_REPEATS)) * 1e3


def main() -> None:
    at_import = peak_bytes()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    for name, build in MODELS.items():
        times = "  ".join(f"J={draws}: {milliseconds_per_step(build(draws)):6.1f} ms" for draws in (1, 20))
        print(f"{name:28s} {times}  peak above import {(peak_bytes() - at_import) / 2**30:.3f} GiB", flush=True)


if __name__ == "__main__":
    main()
