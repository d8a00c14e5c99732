"""Print the whole built book as one PDF, with bookmarks and links that work.

    python tools/pdf.py _build/html _build/where-the-kl-loss-goes.pdf

The pages become one long page, so that every link leads within it, and the machine's own
Chromium or Chrome prints that once. `make pdf` runs this after `make book`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # it opens our own page only
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    "--export-tagged-pdf",
    "--virtual-time-budget=120000",  # mathematics is set before the page is printed
)
STYLE = """
@page { size: A4; @bottom-center { content: counter(page); font: 9pt serif; } }
h1, h2, h3 { white-space: break-spaces; } /* or a bookmark runs the words at a break together */
article.bd-article { break-before: page; max-width: none; }
html[data-theme="light"] { --pst-color-background: white; }
.cover { padding-top: 28vh; text-align: center; }
.cover img { width: 6rem; }
.cover p { margin-top: 1.5rem; font: 650 2.6rem/1.15 var(--serif); }
nav.contents { break-before: page; border: 0; background: none; box-shadow: none; }
.contents .rubric { margin: 0.8rem 0 0.15rem; border: 0; }
.contents ul { margin: 0; }
.contents li { margin: 0.1rem 0; }
"""


def contents(root=ROOT):
    """Return the first page, and each part's caption and pages, as `_toc.yml` has them."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf8"))
    parts = [
        (part["caption"], [it["file"] for it in part["chapters"]]) for part in toc["parts"]
    ]
    return toc["root"], parts


def label(name):
    """Return the prefix that a page's anchors have in the one long page."""
    return name.rpartition("/")[2]


def article(site, name):
    """Return a page's article. The rest, half of the page, is cut off before it is parsed."""
    text = (site / f"{name}.html").read_text("utf8")
    found = re.search(r'<article class="bd-article.*?</article>', text, re.S)
    return BeautifulSoup(found[0], "html.parser").article


def adapted(found, site, name, names):
    """Return an article as text, with anchors and links as the one long page needs them."""
    page = site / f"{name}.html"
    for tag in found.select("details"):
        tag["open"] = ""
    for tag in found.select("a[aria-describedby]"):
        del tag["aria-describedby"]
    for tag in found.select("img[loading]"):
        del tag["loading"]
    for tag in found.select("[id]"):
        tag["id"] = f"{label(name)}--{tag['id']}"
    for tag in found.find_all(href=True):
        tag["href"] = leads_to(tag["href"], page, name, site, names)
    for tag in found.find_all(attrs={"xlink:href": True}):  # marks and ticks of a drawing
        tag["xlink:href"] = leads_to(tag["xlink:href"], page, name, site, names)
    for tag in found.find_all(src=True):
        if not tag["src"].startswith("data:"):
            tag["src"] = (page.parent / tag["src"]).resolve().as_uri()
    found["id"] = label(name)
    return re.sub(r"url\(#", f"url(#{label(name)}--", str(found))


def leads_to(address, page, name, site, names):
    """Turn an address on one page into an address within the one long page."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return address
    path = (page.parent / parts.path).resolve() if parts.path else page
    other = path.relative_to(site).with_suffix("").as_posix()
    if other not in names:
        return path.as_uri()
    return f"#{label(other)}--{parts.fragment}" if parts.fragment else f"#{label(other)}"


def one_page(site, first, parts):
    """Return the book as one page of HTML."""
    site = site.resolve()
    names = [first, *(name for _, files in parts for name in files)]
    head = (site / f"{names[1]}.html").read_text("utf8").partition("</head>")[0]
    soup = BeautifulSoup(head, "html.parser")
    title = soup.select_one('meta[property="og:site_name"]')["content"]
    folder = (site / names[1]).parent
    paths = [tag["href"].partition("?")[0] for tag in soup.select("link[rel=stylesheet]")]
    sheets = "".join(
        f'<link rel="stylesheet" href="{(folder / path).resolve().as_uri()}">' for path in paths
    )
    found = {name: article(site, name) for name in names}
    heads = {name: it.h1.get_text().removesuffix("#") for name, it in found.items()}
    listed = []
    for caption, files in parts:
        items = "".join(
            f'<li><a href="#{label(name)}">{heads[name]}</a></li>' for name in files
        )
        listed.append(f"<p class='rubric'>{caption}</p><ul>{items}</ul>")
    articles = "".join(adapted(it, site, name, names) for name, it in found.items())
    mathjax = (site / "_static" / "mathjax" / "mathjax.js").as_uri()
    logo = (site / "_static" / "logo.svg").as_uri()
    settings = mathjax_settings(site, names)
    return f"""<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<title>{title}</title>{sheets}<style>{STYLE}</style>
{settings}<script defer src="{mathjax}"></script></head><body>
<div class="cover"><img src="{logo}" alt=""><p>{title}</p></div>
<nav class="bd-article contents"><p class="rubric">Contents</p>{"".join(listed)}</nav>
{articles}</body></html>"""


def mathjax_settings(site, names):
    """Return the script with MathJax's settings, from any page that has mathematics."""
    for name in names:
        text = (site / f"{name}.html").read_text("utf8")
        found = re.search(r"<script>window\.MathJax = .*?</script>", text, re.S)
        if found:
            return found[0]
    return ""


def print_pdf(html, target):
    """Let the machine's browser print a page of HTML."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"Expected a browser out of {', '.join(BROWSERS)}. Found none.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "book.html")
        page.write_text(html, "utf8")
        subprocess.run(
            [
                browser,
                *ARGUMENTS,
                f"--user-data-dir={folder}/profile",
                f"--print-to-pdf={target.resolve()}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


def main():
    site, target = map(Path, sys.argv[1:])
    print_pdf(one_page(site, *contents()), target)
    print(f"The book is printed ({target.stat().st_size / 1e6:.1f} MB): {target}")


if __name__ == "__main__":
    main()
