"""Every public name has a page on the site, every method says what it takes, and representations link to the pages."""

import importlib
import inspect
import pkgutil
import re
from email.message import Message
from pathlib import Path

import pytest
from numpydoc.docscrape import FunctionDoc

import skvardict
from skvardict import _sklearn, _version
from skvardict._sklearn import BaseEstimator, public_name

API = Path(__file__).resolve().parents[1] / "docs" / "api.rst"
# Estimators are public by the names of the package; the others are what it is made of, without promises to users.
UNDERNEATH = {"estimators", "functional", "objectives", "rows", "storage"}
SUBPACKAGES = {module.name for module in pkgutil.iter_modules(skvardict.__path__) if not module.name.startswith("_")}
PACKAGES = [skvardict, *(importlib.import_module(f"skvardict.{name}") for name in sorted(SUBPACKAGES - UNDERNEATH))]


def listed_names():
    """Return the names that the API reference lists, in full."""
    package, names = "skvardict", set()
    for line in API.read_text().splitlines():
        if found := re.match(r"\.\. (?:current)?module:: (\S+)", line):
            package = found[1]
        elif found := re.fullmatch(r"   ([A-Za-z_]\w*)", line):
            names.add(f"{package}.{found[1]}")
    return names


def public_objects():
    """Yield the full name and the object of everything public but tables of names, type aliases and the version."""
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{package.__name__}.{name}", value


OBJECTS = dict(public_objects())
CLASSES = {name: value for name, value in OBJECTS.items() if inspect.isclass(value)}
ESTIMATORS = {name: value for name, value in CLASSES.items() if issubclass(value, BaseEstimator)}


def own_methods(cls):
    """Yield the public methods of `cls` that this package defines."""
    for name, member in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_") and member.__module__.startswith("skvardict"):
            yield name, member


METHODS = {
    f"{cls}.{name}": method
    for cls, value in ESTIMATORS.items()
    if hasattr(value, "fit")
    for name, method in own_methods(value)
}


@pytest.mark.skipif(not API.is_file(), reason="these tests were copied out of the repository")
@pytest.mark.parametrize("name", OBJECTS)
def test_every_public_name_is_in_the_api_reference(name):
    assert name in listed_names()


@pytest.mark.skipif(not API.is_file(), reason="these tests were copied out of the repository")
def test_the_api_reference_lists_nothing_that_is_not_there():
    for name in listed_names():
        package, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(package), attribute), name


@pytest.mark.skipif(not API.is_file(), reason="these tests were copied out of the repository")
def test_titles_of_pages_stand_alone():
    glued = r"^(?!\.\. )\S.*\n(\S.*)\n([-=~])\2{3,}$"  # a title right below a line is part of its paragraph
    for page in sorted([*API.parent.glob("*.rst"), *API.parent.glob("guide/*.rst")]):
        titles = [found[1] for found in re.finditer(glued, page.read_text(), re.MULTILINE)]
        assert not [title for title in titles if not re.match("[-=]{3}", title)], page.name


@pytest.mark.parametrize("name", OBJECTS)
def test_every_public_name_has_a_summary(name):
    assert inspect.getdoc(OBJECTS[name])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_an_estimator_documents_its_parameters(name):
    method = METHODS[name]
    documented = FunctionDoc(method)
    named = {part.strip("* ") for entry in documented["Parameters"] for part in entry.name.split(",")}
    taken = set(inspect.signature(method).parameters) - {"self"}
    assert documented["Summary"]
    assert taken <= named, f"{name} does not say what {sorted(taken - named)} are"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_html_representation_links_to_the_page_of_the_class(name, monkeypatch):
    monkeypatch.setattr(_sklearn, "documentation_address", lambda: "https://docs.example/")
    cls = ESTIMATORS[name]
    assert public_name(cls) == name
    assert cls._get_doc_link(cls.__new__(cls)) == f"https://docs.example/generated/{name}.html"


def test_links_are_part_of_the_html_representation(monkeypatch):
    estimator = skvardict.SparseVAE()
    monkeypatch.setattr(_sklearn, "documentation_address", lambda: "")
    assert "href" not in estimator._repr_html_()
    monkeypatch.setattr(_sklearn, "documentation_address", lambda: "https://docs.example")
    assert 'href="https://docs.example/generated/skvardict.SparseVAE.html"' in estimator._repr_html_()


@pytest.mark.parametrize(
    ("entries", "address"),
    [
        ([], ""),
        (["Repository, https://code.example"], ""),
        (["Repository, https://code.example", "Documentation, https://docs.example"], "https://docs.example"),
    ],
)
def test_the_address_of_the_site_stands_in_the_metadata(entries, address, monkeypatch):
    message = Message()
    for entry in entries:
        message["Project-URL"] = entry
    monkeypatch.setattr(_version, "metadata", lambda name: message)
    assert _version.documentation_address.__wrapped__() == address
