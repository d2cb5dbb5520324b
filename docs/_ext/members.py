"""What pages of classes list, and where the source of a member is.

They list what the package and scikit-learn define, not what torch, tuples and exceptions bring along. Inherited methods
link to the source of the class that has them, and the summaries of methods to other methods of the class.
"""

import sys

from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode

DOCUMENTED = ("skvardict", "sklearn")


def is_left_out(app, what, name, obj, skip, options):
    """Return whether a page of a class leaves out the member `obj`; None leaves the decision to Sphinx."""
    if what not in {"class", "method", "property", "attribute"}:
        return None
    function = getattr(obj, "fget", obj)
    home = getattr(function, "__module__", None) or ""
    return None if callable(function) and home.split(".")[0] in DOCUMENTED else True


def find_source(app, module):
    """Return the text of `module` and the lines of its names, those of inherited methods in subclasses among them."""
    if not module.startswith("skvardict") or "._utils" in module:  # whose heirs are in several packages: no way back
        return None
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.find_tags()
    inherited = {}
    for name, lines in analyzer.tags.items():
        owner, _, member = name.partition(".")
        cls = getattr(sys.modules.get(module), owner, None)
        if member and isinstance(cls, type):
            inherited |= {f"{subclass.__name__}.{member}": lines for subclass in all_subclasses(cls)}
    return analyzer.code, inherited | analyzer.tags


def all_subclasses(cls):
    """Yield the classes that inherit from `cls`."""
    for subclass in cls.__subclasses__():
        yield subclass
        yield from all_subclasses(subclass)


def find_on_page(app, env, node, text):
    """Return the link for a short name in a table of methods: one of the class that the page is about."""
    page = node.get("refdoc", "")
    found = env.domains["py"].objects.get(f"{page.removeprefix('generated/')}.{node['reftarget']}")
    return found and make_refnode(app.builder, page, found.docname, found.node_id, text)


def setup(app):
    app.connect("autodoc-skip-member", is_left_out)
    app.connect("viewcode-find-source", find_source)
    app.connect("missing-reference", find_on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
