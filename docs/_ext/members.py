"""Pages of classes list what the package and scikit-learn define, not what torch, tuples and exceptions bring along."""

DOCUMENTED = ("skvardict", "sklearn")


def is_left_out(app, what, name, obj, skip, options):
    """Return whether a page of a class leaves out the member `obj`; None leaves the decision to Sphinx."""
    if what not in {"class", "method", "property", "attribute"}:
        return None
    function = getattr(obj, "fget", obj)
    home = getattr(function, "__module__", None) or ""
    return None if callable(function) and home.split(".")[0] in DOCUMENTED else True


def setup(app):
    app.connect("autodoc-skip-member", is_left_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
