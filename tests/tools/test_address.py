"""The repository's address stands in _config.yml; every copy agrees with it."""

import re
import shutil

import address
import pytest

# Whose addresses on GitHub the book may name beside its own. me/fork is the example that
# the pages give.
OTHERS = {
    "davidADSP",
    "fchollet",
    "keras-team",
    "tensorflow",
    "executablebooks",
    "jupyter-book",
    "me",
}
# A thread that the book cites is no copy of an address.
FOUND = re.compile(
    r"(?:colab\.research\.google\.com/github|(?<![\w.])github\.com)/([\w.-]+)/([\w.-]*\w)"
    r"(?![\w.-]*/(?:issues|pull)/\d)"
)
PAGES = re.compile(r"([\w-]+)\.github\.io/([\w.-]*\w)")


def disagreeing(text, url):
    """List the addresses in a text that are neither the book's own nor a known other's."""
    own = address.SHAPE.fullmatch(url).groups()
    found = [
        (owner, name.removesuffix(".git"))
        for owner, name in FOUND.findall(text)
        if owner not in OTHERS
    ]
    return sorted(set(found + PAGES.findall(text)) - {own})


@pytest.mark.parametrize("path", address.copies(), ids=lambda path: path.name)
def test_every_copy_of_the_address_agrees(path):
    assert disagreeing(path.read_text("utf8"), address.address()) == [], (
        "Expected the address of _config.yml. `make address URL=…` writes it everywhere."
    )


def test_the_readme_and_the_package_name_the_address():
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        assert address.address() in (address.ROOT / name).read_text("utf8")


@pytest.fixture
def project(tmp_path):
    """A copy of what holds the address."""
    for path in [address.ROOT / "_config.yml", *address.copies()]:
        target = tmp_path / path.relative_to(address.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/somebody/fork",
        "https://github.com/somebody/fork.git",
        "https://github.com/somebody/fork/",
    ],
)
def test_one_command_writes_every_copy_and_back(project, url):
    before = {path: path.read_text("utf8") for path in address.copies(project)}
    old = address.address(project)
    address.write(url, project)
    assert address.address(project) == "https://github.com/somebody/fork"
    for path in address.copies(project):
        assert disagreeing(path.read_text("utf8"), "https://github.com/somebody/fork") == []
    address.write(old, project)
    assert {path: path.read_text("utf8") for path in address.copies(project)} == before


@pytest.mark.parametrize(
    "url", ["", "me/fork", "https://example.org/me/fork", "https://github.com/me"]
)
def test_something_else_than_an_address_is_refused(project, url):
    with pytest.raises(ValueError, match="Expected an address such as"):
        address.write(url, project)


@pytest.mark.parametrize(
    "text",
    [
        "git clone https://github.com/you/where.git",
        '%pip install "git+https://github.com/you/where#subdirectory=src"',
        "https://colab.research.google.com/github/you/where/blob/main/x.ipynb",
        "See https://you.github.io/where/.",
    ],
)
def test_a_copy_that_disagrees_is_found_and_mended(text):
    old, new = "https://github.com/you/where", "https://github.com/somebody/fork"
    assert disagreeing(text, old) == []
    assert disagreeing(text, new) == [("you", "where")]
    assert disagreeing(address.replace(text, old, new), new) == []


def test_a_longer_name_is_left_alone():
    text = "https://github.com/you/where-else and https://github.com/you/where."
    replaced = address.replace(
        text, "https://github.com/you/where", "https://github.com/somebody/x"
    )
    assert replaced == "https://github.com/you/where-else and https://github.com/somebody/x."


def test_a_cited_thread_is_no_copy():
    own = "https://github.com/somebody/fork"
    assert disagreeing("https://github.com/you/where/issues/12", own) == []
    assert disagreeing("https://github.com/you/where/blob/main/x.py", own) == [("you", "where")]


def test_the_install_cell_names_the_address():
    url = address.address()
    assert f'url = "{url}"' in address.install_cell(url)
