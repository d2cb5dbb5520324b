"""What every ingredient of the automatic fit is worth: VDL on MNIST, one left out or changed at a time.

    python -m benchmarks.learning_ablation --epochs 2

Test images, encoder codes; CPU seconds of one thread. "dead" are components that the encoder never uses.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from benchmarks._results import Output
from benchmarks.vdl_mnist import TO_PIXEL_PSNR
from skvardict import VarianceDictionaryLearning
from skvardict.datasets import fetch_mnist
from skvardict.metrics import psnr
from skvardict.solvers import FISTA
from skvardict.training import Adam, CosineRate


class Changed(VarianceDictionaryLearning):
    """The automatic fit with another objective or optimiser; `change` is set by :func:`changed`."""

    change_objective: Callable = staticmethod(lambda objective: objective)
    change_optimizer: Callable = staticmethod(lambda optimizer: optimizer)

    def _build_objective(self, model, batch_rows, plan):
        return type(self).change_objective(super()._build_objective(model, batch_rows, plan))

    def _optimizer(self, plan):
        return type(self).change_optimizer(super()._optimizer(plan))


def changed(*, objective=None, optimizer=None) -> type[Changed]:
    """Return the class with parts of its training changed."""
    attributes = {}
    if objective is not None:
        attributes["change_objective"] = staticmethod(objective)
    if optimizer is not None:
        attributes["change_optimizer"] = staticmethod(optimizer)
    return type("Changed", (Changed,), attributes)


def with_solver(max_iter: int):
    """Return the class with another number of inference iterations a batch."""
    return changed(objective=lambda made: replace(made, solver=FISTA(max_iter=max_iter)))


def variants() -> dict[str, Callable]:
    """Return what is compared, by name."""
    plain = VarianceDictionaryLearning
    return {
        "automatic": plain,
        "encoder does not follow": changed(objective=lambda made: replace(made, tracks=False)),
        "constant rates": changed(optimizer=lambda part: part.set_params(schedule=None)),
        "no rise": changed(optimizer=lambda part: part.set_params(schedule=CosineRate(0.0))),
        "inference: 1 iteration": with_solver(1),
        "inference: 2 iterations": with_solver(2),
        "inference: 8 iterations": with_solver(8),
        "inference: to convergence": with_solver(200),
        "half the rates": changed(
            optimizer=lambda part: part.set_params(learning_rate=0.12, encoder_learning_rate=0.0275)
        ),
        "double the rates": changed(
            optimizer=lambda part: part.set_params(learning_rate=0.48, encoder_learning_rate=0.11)
        ),
        "encoder at half its rate": changed(optimizer=lambda part: part.set_params(encoder_learning_rate=0.0275)),
        "rows as first atoms": partial(plain, init="data"),
        "batches of 125": partial(plain, batch_size=125),
        "batches of 400": partial(plain, batch_size=400),
        "the paper's rates, step to convergence": partial(
            plain, optimizer=Adam(3e-4, encoder_learning_rate=1e-4), init="random", batch_size=250
        ),
    }


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # noqa: TID251
    X, test = (fetch_mnist(split).data for split in ("train", "test"))
    output = Output(
        arguments.results, "learning_ablation", "benchmarks.learning_ablation", sys.argv[1:] if argv is None else argv
    )
    rows = []
    with threadpool_limits(1):
        for name, build in variants().items():
            begin = process_time()
            model = build(n_components=128, alpha=0.02, max_iter=arguments.epochs, random_state=arguments.seed).fit(X)
            seconds = process_time() - begin
            codes = model.transform(test)
            rows.append(
                {
                    "variant": name,
                    "psnr": psnr(test, model.inverse_transform(codes)) + TO_PIXEL_PSNR,
                    "zeros": float((codes == 0).mean()),
                    "dead": int((~np.any(codes != 0, axis=0)).sum()),
                    "seconds": seconds,
                }
            )
            print(rows[-1], flush=True)
    output.table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
