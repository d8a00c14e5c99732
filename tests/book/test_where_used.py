"""The page of the package says which tests and chapters belong to a module."""

import pytest
import where_used


@pytest.mark.parametrize("module", where_used.modules())
def test_a_module_has_tests(module):
    assert where_used.find_tests(module)


def test_a_module_s_own_tests_are_those_of_its_name():
    assert [path.name for path in where_used.find_tests("losses")] == ["test_losses.py"]


def test_a_chapter_is_listed_with_what_it_imports():
    names = [path.stem[:2] for path in where_used.find_chapters("losses")]
    assert "06" in names
    assert not where_used.find_chapters("nosuch")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from vaebook.data import load_images\n", {"data"}),
        ("import vaebook.plots\n", {"plots"}),
        ("from vaebook import plots, wiring\n", {"plots", "wiring"}),
        ("# vaebook.data\nfrom os import path\n", set()),
    ],
)
def test_an_import_is_read(source, found):
    assert where_used.imports(source) == found
