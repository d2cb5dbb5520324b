"""A command of a reproduction: models and measured rows that are found again, tables and figures as they grow."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

import pandas as pd
from numpy.typing import NDArray

from benchmarks._results import Output
from skvardict.evaluation import fit_or_load
from skvardict.storage.points import PointStore, all_versions, point_key
from skvardict.training import TrainingDivergedError


class Experiment:
    """One command: its rows so far, and where models, rows, tables and figures are kept.

    Parameters
    ----------
    arguments : Namespace
        With `runs`, `results`, `name` and `verbose`.
    module, name : str
        What wrote the results, and what they are called.
    argv : sequence of str
    budget : sequence of str
        Arguments that change a measured row beside its key.
    """

    def __init__(
        self, arguments: argparse.Namespace, module: str, name: str, argv: Sequence[str], budget: Sequence[str] = ()
    ):
        self.arguments = arguments
        self.name = arguments.name or name
        self.output = Output(arguments.results, self.name, module, argv)
        self.budget = {entry: str(getattr(arguments, entry)) for entry in budget if hasattr(arguments, entry)}
        self.rows: list[dict] = []
        self.points = PointStore(arguments.runs / "points")

    def fit(self, model, X: NDArray):
        """Return the fitted model, from `--runs` where it is there; None if training diverged."""
        if "verbose" in model.get_params(deep=False):
            model.set_params(verbose=self.arguments.verbose)
        try:
            return fit_or_load(model, X, folder=self.arguments.runs / "models")
        except TrainingDivergedError as error:
            print(f"    diverged: {error}", flush=True)
            return None

    def add(self, key: dict, measure: Callable[[], dict]) -> dict:
        """Append the row `key` with what `measure()` returns, unless it was measured before; write the table."""
        origin = {"experiment": self.name, **key, **self.budget, "versions": all_versions()}
        point = point_key(origin)
        row = self.points.load(point)
        if row is None:
            begin = process_time()
            row = {**key, **measure()}
            row["measure_seconds"] = round(process_time() - begin, 1)
            self.points.save(point, row, origin)
        self.rows.append(row)
        self.write()
        return row

    def write(self, suffix: str = "", table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Write the rows so far, or another table under a name with `suffix`."""
        table = pd.DataFrame(self.rows) if table is None else table
        self.output.table(table, suffix)
        return table

    def draw(self, suffix: str, figure) -> None:
        """Write a figure beside the table."""
        import matplotlib.pyplot as plt  # noqa: TID251

        self.output.figure(figure, suffix)
        plt.close(figure)


def add_common_arguments(command: argparse.ArgumentParser, *, n_train: int, n_test: int) -> None:
    """Add the options that all commands share."""
    command.add_argument("--n-train", type=int, default=n_train)
    command.add_argument("--n-test", type=int, default=n_test)
    command.add_argument("--seeds", type=int, nargs="+", default=[0])
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--runs", type=Path, default=Path("benchmarks/runs"), help="finished models and rows")
    command.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    command.add_argument("--name", help="file name of the results, without ending")
    command.add_argument("--verbose", type=int, default=0, help="1: a line per epoch")
