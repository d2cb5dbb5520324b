"""Seconds on a GPU: epochs of every family, a long fit, a grid of models, and the plain loop beside them.

    python -m benchmarks.gpu --results benchmarks/results
    python -m benchmarks.gpu --device cpu --rows 1000 --long-epochs 3 --families VDL SparseVAE --results /tmp/results

"epoch" is the median epoch of a fit but the first, in which graphs are made; "fit" a VDL of `--long-epochs` epochs;
"grid" 30 models (6 alphas, 5 betas) as one program. "plain loop" is 24 batches of the equations by autograd, one
`backward` for each iteration, as papers release them: beside the epochs "VDL, paper's" and "VDL-NL, paper's". The goal
for MNIST is 200 epochs of VDL in 60 seconds. Without a GPU the command says so and ends; ``--device cpu`` measures the
same on the processor.
"""

import argparse
import sys
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits

from benchmarks._autograd_fista import autograd_fista
from benchmarks._results import Output
from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.datasets import fetch_mnist
from skvardict.model_selection import BatchedGridSearchCV
from skvardict.networks import LinearDecoder, LISTAEncoder, MLPDecoder
from skvardict.preprocessing import GlobalStandardizer
from skvardict.recipes import table3

BATCH_SIZE, PLAIN_BATCHES = 250, 24
FAMILIES = {
    "VDL": VarianceDictionaryLearning,
    "VDL, paper's": lambda atoms, **kw: table3("VDL", "mnist", alpha=0.02, n_components=atoms, **kw),
    "VDL-NL, paper's": lambda atoms, **kw: table3("VDL-NL", "mnist", alpha=0.02, n_components=atoms, **kw),
    "SDL": StandardDictionaryLearning,
    "SDL, online": lambda atoms, **kw: StandardDictionaryLearning(atoms, encoder=None, **kw),
    "WDL": WeightDecayDictionaryLearning,
    "SparseVAE": SparseVAE,
    "ThresholdedVSC": ThresholdedVSC,
    "SpikeAndSlabVSC": SpikeAndSlabVSC,
}


def fitted(family, X, atoms, device, n_epochs):
    """Return a model of a family after so many epochs."""
    model = FAMILIES[family](atoms, device=device, max_iter=n_epochs, batch_size=BATCH_SIZE, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.set_params(early_stopping=False).fit(X)


def epoch_seconds(family, X, atoms, device):
    """Return the median time of epochs but the first."""
    return float(np.median(fitted(family, X, atoms, device, 4).history_["seconds"][1:]))


def grid_seconds(X, atoms, device):
    """Return the time of a search over 30 models, an epoch each."""
    half = len(X) // 2
    model = VarianceDictionaryLearning(atoms, device=device, max_iter=1, batch_size=BATCH_SIZE, random_state=0)
    grid = {"alpha": np.geomspace(1e-3, 0.03, 6).tolist(), "beta": [1.0, 3.0, 10.0, 30.0, 100.0]}
    split = [(np.arange(half), np.arange(half, len(X)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin = perf_counter()
        BatchedGridSearchCV(model, grid, cv=split, refit=False).fit(X)
    return perf_counter() - begin


def plain_seconds(X, atoms, device, *, hidden):
    """Return the time of a few batches by autograd, with the settings of "VDL, paper's" or "VDL-NL, paper's"."""
    generator = torch.Generator().manual_seed(0)
    d = X.shape[1]
    decoder = MLPDecoder(atoms, d, (hidden,), generator) if hidden else LinearDecoder(atoms, d, generator)
    encoder = LISTAEncoder(d, atoms, generator=generator).to(device)
    decoder = decoder.to(device)
    optimizer = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=3e-4)
    settings = {"alpha": 0.02, "beta": 10.0, "gamma": 1.0, "step_size": 0.05 if hidden else 0.5}
    rows = torch.from_numpy(X[: PLAIN_BATCHES * BATCH_SIZE])
    begin = perf_counter()
    for batch in rows[torch.randperm(len(rows), generator=generator)].split(BATCH_SIZE):
        batch = batch.to(device)
        prediction = encoder(batch)
        codes, _ = autograd_fista(batch, decoder, prediction.detach(), prediction.detach(), **settings)
        loss = (decoder(codes) - batch).square().mean() + (codes - prediction).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())  # which such loops print
    return perf_counter() - begin


def load(name, n_rows):
    """Return standardised rows."""
    X = fetch_mnist("train").data if name == "mnist" else load_digits().data
    return GlobalStandardizer().fit_transform(X[:n_rows].astype(np.float32))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", choices=["mnist", "digits"], default="mnist")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--components", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--long-epochs", type=int, default=200)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args(arguments)
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(
            f"benchmarks.gpu needs a CUDA device, but torch {torch.__version__} sees none here. Pass --device cpu to "
            "measure the same on the processor."
        )
    output = Output(arguments.results, "gpu", "benchmarks.gpu", sys.argv[1:])
    X, atoms, device = load(arguments.data, arguments.rows), arguments.components, arguments.device
    measured = {
        ("epoch", family): lambda family=family: epoch_seconds(family, X, atoms, device)
        for family in arguments.families
    }
    measured |= {
        ("fit", f"VDL, {arguments.long_epochs} epochs"): lambda: sum(
            fitted("VDL", X, atoms, device, arguments.long_epochs).history_["seconds"]
        ),
        ("grid", "VDL, 30 models"): lambda: grid_seconds(X, atoms, device),
        ("plain loop", "VDL, paper's"): lambda: plain_seconds(X, atoms, device, hidden=0),
        ("plain loop", "VDL-NL, paper's"): lambda: plain_seconds(X, atoms, device, hidden=arguments.hidden),
    }
    rows = []
    for (what, model), measure in measured.items():
        n_rows = min(len(X), PLAIN_BATCHES * BATCH_SIZE) if what == "plain loop" else len(X)
        rows.append({"what": what, "model": model, "rows": n_rows, "device": device, "seconds": measure()})
        print(rows[-1], flush=True)
        output.table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
