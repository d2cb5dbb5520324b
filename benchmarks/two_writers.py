"""Two processes write to one path at the same time, round after round: nothing is lost, and every loser is told.

Of two equal fits with one checkpoint both end with the parameters of a fit alone, and the file is that of the last
epoch; of two different fits one is told the path and the process that holds it, and the file is that of the other,
which goes on from it; of two saves the file is one of the two models, whole. Nothing else is left in the folder.

    OMP_NUM_THREADS=1 python -m benchmarks.two_writers --rounds 200 --results benchmarks/results
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import skvardict
from benchmarks._results import Output
from skvardict.storage.files import read_file
from skvardict.training import CheckpointMismatchError

ROWS = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)


def coder(alpha: float, n_epochs: int = 5) -> Any:
    """Return a small model, which writes a checkpoint after each of its epochs."""
    return skvardict.StandardDictionaryLearning(4, alpha=alpha, encoder=None, max_iter=n_epochs, random_state=0)


def together(first: Callable[[], str], second: Callable[[], str]) -> list[tuple[int, str]]:
    """Run two functions in processes of their own, at the same time; return process ids and what they have said."""
    go, begin = os.pipe()
    readers = []
    for act in (first, second):
        receive, send = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(receive)
            os.close(begin)
            os.read(go, 1)  # until the other is ready, too
            try:
                said = act()
            except BaseException:
                said = f"FAILED {traceback.format_exc()}"
            os.write(send, said.encode())
            os._exit(0)
        os.close(send)
        readers.append((pid, receive))
    os.close(go)
    os.close(begin)
    results = []
    for pid, receive in readers:
        with os.fdopen(receive, "rb") as said:
            results.append((pid, said.read().decode()))
        os.waitpid(pid, 0)
    return results


def fit(alpha: float, path: Path) -> str:
    """Fit with a checkpoint; return a digest of the parameters, or how the fit was told that it lost."""
    model = coder(alpha)
    try:
        model.fit(ROWS, checkpoint=path)
    except CheckpointMismatchError as error:
        return f"told {error}"
    return model.components_.tobytes().hex()


def state_of(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, after a reader has found it whole."""
    return read_file(path).content["state"]["dict"]


def same_fit(path: Path) -> str:
    """Return what went wrong in a round of two equal fits, or an empty text."""
    expected = coder(0.1).fit(ROWS).components_.tobytes().hex()
    said = together(lambda: fit(0.1, path), lambda: fit(0.1, path))
    wrong = [text for _, text in said if text != expected]
    if wrong:
        return f"a fit ended otherwise: {wrong[0][:500]}"
    return "" if state_of(path)["n_epochs"] == 5 else "the file is not that of the last epoch"


def different_fits(path: Path) -> str:
    """Return what went wrong in a round of two different fits, or an empty text."""
    alphas = (0.1, 0.2)
    said = together(lambda: fit(alphas[0], path), lambda: fit(alphas[1], path))
    told = [text.startswith("told") for _, text in said]
    if sorted(told) != [False, True] or any(text.startswith("FAILED") for _, text in said):
        return f"not one of two was told: {[text[:300] for _, text in said]}"
    winner, loser = told.index(False), told.index(True)
    text = said[loser][1]
    if str(path) not in text or f"written by process {said[winner][0]} on " not in text:
        return f"the message does not name path and holder: {text[:300]}"
    alone = coder(alphas[winner]).fit(ROWS).components_.tobytes().hex()
    if said[winner][1] != alone or fit(alphas[winner], path) != alone or state_of(path)["n_epochs"] != 5:
        return "the winner's fit is not what it is alone"
    return ""


def save_against_save(path: Path) -> str:
    """Return what went wrong in a round of two saves, of which an older file is there, or an empty text."""
    models = [coder(alpha, 1).fit(ROWS) for alpha in (0.1, 0.2, 0.3)]
    models[2].save(path)

    def save(model: Any) -> Callable[[], str]:
        return lambda: str(model.save(path))

    said = together(save(models[0]), save(models[1]))
    if [text for _, text in said] != ["None", "None"]:
        return f"a save failed: {said}"
    return "" if skvardict.load(path).alpha in (0.1, 0.2) else "the file is neither of the two"


def save_against_fit(path: Path) -> str:
    """Return what went wrong in a round of a fit and the save of another model, or an empty text."""
    model = coder(0.3, 1).fit(ROWS)
    said = together(lambda: fit(0.1, path), lambda: str(model.save(path)))
    if said[1][1] != "None":
        return f"the save failed: {said[1][1][:300]}"
    # A save replaces what is there, whatever it is; a fit does not replace what is not its own.
    kind = read_file(path).content["kind"]
    if kind != "estimator":
        return f"a {kind} is there: the save is lost"
    is_told = said[0][1].startswith("told")
    return (
        "" if is_told or said[0][1] == coder(0.1).fit(ROWS).components_.tobytes().hex() else "the fit ended otherwise"
    )


KINDS = {
    "same fit": same_fit,
    "different fits": different_fits,
    "save against save": save_against_save,
    "save against fit": save_against_fit,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--results", type=Path, help="folder for a table")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    logging.getLogger("skvardict").setLevel(logging.ERROR)
    rows = []
    for name, play in KINDS.items():
        wrong, begin = [], time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for number in range(arguments.rounds):
                place = Path(folder) / str(number)
                place.mkdir()
                problem = play(place / "file")
                left = {path.name for path in place.iterdir()} - {"file", "file.previous"}
                problem = problem or (f"left over: {left}" if left else "")
                if problem:
                    wrong.append(problem)
        seconds = time.perf_counter() - begin
        rows.append({"kind": name, "rounds": arguments.rounds, "wrong": len(wrong), "seconds": seconds})
        print(f"{name}: {len(wrong)} of {arguments.rounds} rounds went wrong ({seconds:.0f} s)", flush=True)
        print(json.dumps(wrong[:3], indent=1) if wrong else "", end="")
    if arguments.results:
        Output(arguments.results, "two_writers", "benchmarks.two_writers", argv).table(pd.DataFrame(rows))
    sys.exit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
