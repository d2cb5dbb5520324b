"""Sphinx configuration."""

project = "skvardict"
author = "The skvardict developers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_gallery.gen_gallery"]
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
exclude_patterns = ["_build", "decisions"]
autosummary_generate = True
numpydoc_show_class_members = False
sphinx_gallery_conf = {
    "examples_dirs": "../examples",  # with extending/ as a gallery below it
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
}


def setup(app):
    # The docstring of a method inherited from scikit-learn refers to a page of scikit-learn's guide.
    app.connect(
        "missing-reference", lambda app, env, node, text: text if node["reftarget"] == "accuracy_score" else None
    )
