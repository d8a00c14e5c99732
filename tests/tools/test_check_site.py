import check_site
import pytest

PAGE = """<!DOCTYPE html><html><head><link rel="stylesheet" href="_static/book.css">
<link rel="canonical" href="https://me.github.io/book/"></head>
<body><h1 id="top">Title</h1><a href="#top">up</a> <a href="other.html#there">on</a>
<a href="https://keras.io">Keras</a> <img alt="A falling line" src="data:image/png;base64,A">
</body></html>"""


@pytest.fixture
def site(tmp_path):
    """A small site that is whole."""
    for name in check_site.NEEDED:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "other.html").write_text('<p id="there">x</p>')
    return tmp_path


def test_a_whole_site_has_no_problems(site):
    assert check_site.problems(site) == []


@pytest.mark.parametrize("name", check_site.NEEDED)
def test_a_lost_file_is_found(site, name):
    (site / name).unlink()
    assert any(name in problem for problem in check_site.problems(site))


def test_a_site_that_grew_too_large_is_found(site):
    with open(site / "large.bin", "wb") as file:
        file.truncate(9_000_001 - check_site.size(site))
    assert check_site.problems(site) == ["the site: has 9000001 bytes, more than 9000000"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html, which is not there"),
        ('<a href="other.html#gone">x</a>', "where that anchor is not there"),
        ('<a href="#gone">x</a>', "where that anchor is not there"),
        ('<a href="../outside.html">x</a>', "outside of the book"),
        ('<img alt="" src="data:image/png;base64,A">', "without an alt text"),
        ('<img src="data:image/png;base64,A">', "without an alt text"),
        ('<img alt="x" src="gone.png">', "loads gone.png, which is not there"),
        ('<img alt="x" src="https://a.org/x.png">', "loads https://a.org/x.png from elsewhere"),
        ('<img alt="x" srcset="//a.org/x.png 2x">', "loads //a.org/x.png from elsewhere"),
        ('<script src="https://a.org/x.js"></script>', "from elsewhere"),
        ('<script src="//a.org/x.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="https://a.org/x.css">', "from elsewhere"),
        ('<link rel="preconnect" href="https://a.org">', "from elsewhere"),
        ('<iframe src="https://a.org"></iframe>', "from elsewhere"),
        ("<style>@import 'https://a.org/x.css';</style>", "from elsewhere"),
        ('<p style="background: url(https://a.org/x.png)">x</p>', "from elsewhere"),
    ],
)
def test_a_problem_of_a_page_is_found(site, body, expected):
    (site / "page.html").write_text(body)
    found = check_site.problems(site)
    assert len(found) == 1
    assert found[0].startswith("page.html: ")
    assert expected in found[0]


def test_a_style_sheet_that_loads_a_font_from_elsewhere_is_found(site):
    (site / "_static/book.css").write_text("@font-face { src: url('https://a.org/x.woff2') }")
    assert check_site.problems(site) == [
        "_static/book.css: loads https://a.org/x.woff2 from elsewhere"
    ]
