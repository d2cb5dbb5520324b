import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import ParameterGrid

from benchmarks import grid_search


def test_searches_that_are_compared_have_as_many_candidates():
    compared = grid_search.searches(64, max_iter=1)
    sizes = {name: len(ParameterGrid(search().param_grid)) for name, search in compared.items()}
    dictionaries = ("BatchedGridSearchCV", "GridSearchCV", "GridSearchCV, n_jobs=2", "MiniBatchDictionaryLearning")
    assert {sizes[name] for name in dictionaries} == {10}


def test_a_row_says_what_was_reached_in_what_time(tmp_path, monkeypatch):
    monkeypatch.setattr(
        grid_search, "load", lambda name, n_rows: tuple(part[:200] for part in load_digits(return_X_y=True))
    )
    monkeypatch.setattr(grid_search.torch, "set_num_threads", lambda n: None)
    grid_search.main(["--results", str(tmp_path), "--searches", "PCA", "raw"])
    table = pd.read_csv(tmp_path / "grid_search.csv")
    assert table["search"].tolist() == ["PCA", "raw"]
    assert table["n_fits"].tolist() == [4, 4]
    assert table["best_accuracy"].gt(0.7).all()
    assert table["times_batched"].iloc[0] == 1
