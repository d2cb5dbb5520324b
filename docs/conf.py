"""Sphinx configuration."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
URLS = PROJECT.get("urls", {})  # the one place where addresses of the site and the repository stand

project = PROJECT["name"]
author = "The skvardict developers"
copyright = author
version = release = PROJECT["version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "members",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "inventories"]
suppress_warnings = ["myst.header"]  # decision records begin at the level that suits them

# --- API ------------------------------------------------------------------------------------------------------------
autosummary_generate = True
autosummary_context = {"sklearn_methods": ["get_metadata_routing", "get_params", "set_output", "set_params"]}
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # types stand in the docstrings, with their shapes
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
viewcode_line_numbers = True

# Small copies of the inventories of other projects, with the names that are used here: no network is needed.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.inv"),
    "sklearn": ("https://scikit-learn.org/stable/", "inventories/sklearn.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.inv"),
}

# --- Gallery --------------------------------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "../examples",  # with a gallery for each folder below it
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "subsection_order": [*(f"../examples/{name}" for name in ("images", "signals", "variational", "extending")), "*"],
    "within_subsection_order": "gallery_order.TeachingOrder",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skvardict",),
    "reference_url": {"skvardict": None},
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
}

# --- HTML -----------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = f"skvardict {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_baseurl = URLS.get("Documentation", "")
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "install": [], "benchmarks": [], "about": []}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_prev_next": True,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}
if "Repository" in URLS:
    html_theme_options["icon_links"] = [
        {"name": "Repository", "url": URLS["Repository"], "icon": "fa-solid fa-code-branch"}
    ]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
