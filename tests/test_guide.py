"""The code of the user guide and of the landing page gives what it says."""

import doctest
from pathlib import Path

import pytest
import sklearn
from packaging.version import Version

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted([*DOCS.glob("guide/*.rst"), *DOCS.glob("index.rst")])


@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.9"), reason="the guide is about scikit-learn >= 1.9")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_the_guide_run(page):
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples():
    parser = doctest.DocTestParser()
    assert sum(len(parser.get_examples(page.read_text())) for page in PAGES) >= 5
