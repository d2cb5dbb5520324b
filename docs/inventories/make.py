"""Write the inventories in this folder: where the sites of other projects have the names that the docs refer to.

    python docs/inventories/make.py

They are in the repository so that a build needs no network. A name that a build misses is added here; addresses follow
the pattern of each site.
"""

import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
GENERATED = {
    "sklearn": (
        "modules/generated/{name}.html#{name}",
        """
        class sklearn.base.BaseEstimator sklearn.base.TransformerMixin sklearn.callback.ProgressBar
        sklearn.callback.ScoringMonitor sklearn.decomposition.DictionaryLearning sklearn.decomposition.PCA
        sklearn.decomposition.MiniBatchDictionaryLearning sklearn.decomposition.NMF sklearn.decomposition.SparseCoder
        sklearn.exceptions.ConvergenceWarning sklearn.exceptions.NotFittedError sklearn.linear_model.LogisticRegression
        sklearn.linear_model.LogisticRegressionCV sklearn.model_selection.GridSearchCV sklearn.pipeline.Pipeline
        sklearn.preprocessing.FunctionTransformer sklearn.preprocessing.StandardScaler
        sklearn.feature_extraction.image.PatchExtractor sklearn.utils.metadata_routing.MetadataRequest
        sklearn.utils.metadata_routing.MetadataRouter sklearn.model_selection.RandomizedSearchCV
        function sklearn.set_config sklearn.base.clone sklearn.datasets.load_digits sklearn.datasets.load_sample_image
        sklearn.datasets.fetch_olivetti_faces sklearn.model_selection.cross_val_score
        sklearn.model_selection.train_test_split sklearn.pipeline.make_pipeline sklearn.decomposition.sparse_encode
        """,
    ),
    "torch": (
        "generated/{name}.html#{name}",
        """
        class torch.nn.Module torch.nn.Linear torch.nn.Parameter torch.nn.Sequential torch.Generator torch.optim.Adam
        torch.optim.SGD
        function torch.from_numpy torch.manual_seed torch.no_grad torch.use_deterministic_algorithms torch.export.export
        """,
    ),
    "numpy": (
        "reference/generated/{name}.html#{name}",
        """
        class numpy.ndarray numpy.memmap
        function numpy.load numpy.save numpy.mean numpy.random.default_rng numpy.lib.format.open_memmap
        """,
    ),
    "python": ("library/pathlib.html#{name}", "class pathlib.Path"),
}
OTHER = {
    "python": {"py:module": {"logging": "library/logging.html#module-logging"}},
    "sklearn": {
        "std:label": {
            "accuracy_score": "modules/model_evaluation.html#accuracy-score",
            "df_output_transform": "modules/df_output_transform.html#df-output-transform",
            "metadata_routing": "metadata_routing.html#metadata-routing",
            "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
                "auto_examples/miscellaneous/plot_set_output.html"
                "#sphx-glr-auto-examples-miscellaneous-plot-set-output-py"
            ),
        },
        "std:term": {name: f"glossary.html#term-{name}" for name in ("meta-estimator", "fit", "classes_")},
    },
    "torch": {"py:class": {"torch.Tensor": "tensors.html#torch.Tensor"}},
}


def lines_of(project):
    """Yield an entry of the inventory for each name."""
    pattern, names = GENERATED[project]
    kind = ""
    for word in names.split():
        if word in {"class", "function"}:
            kind = f"py:{word}"
        else:
            yield f"{word} {kind} 1 {pattern.format(name=word)} -"
    for kind, addresses in OTHER.get(project, {}).items():
        for name, address in addresses.items():
            yield f"{name} {kind} {-1 if kind.startswith('std') else 1} {address} -"


def write(project):
    """Write ``<project>.inv``, in version 2 of Sphinx's format."""
    header = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    header += "# The remainder of this file is compressed using zlib.\n"
    body = "".join(f"{line}\n" for line in sorted(lines_of(project)))
    (HERE / f"{project}.inv").write_bytes(header.encode() + zlib.compress(body.encode(), 9))


if __name__ == "__main__":
    for name in GENERATED:
        write(name)
