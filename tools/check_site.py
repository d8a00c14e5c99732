"""Check the built pages: links, anchors, pictures, size, and that they need no network.

    python tools/check_site.py _build/html

`make book` runs this after the build, and then prints where to open the book.
"""

import re
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

# Each of these is fetched by the browser as soon as it meets the tag.
FETCHED = {
    "audio": ["src"],
    "embed": ["src"],
    "iframe": ["src"],
    "img": ["src", "srcset"],
    "input": ["src"],
    "object": ["data"],
    "script": ["src"],
    "source": ["src", "srcset"],
    "track": ["src"],
    "video": ["src", "poster"],
}
# The other kinds of <link>, such as canonical and next, are not fetched.
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "manifest"}
FETCHED_LINKS |= {"dns-prefetch", "modulepreload", "apple-touch-icon"}
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
MOST_BYTES = 9_000_000
NEEDED = (
    "404.html",
    "_static/og.png",
    "_static/page.js",
    "searchindex.js",
    "search.html",
    "_static/searchtools.js",
    "_static/book.css",
    "_static/mathjax/mathjax.js",
    "_static/mathjax/output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff",
    "_static/mathjax/output/chtml/fonts/woff-v2/MathJax_Math-Italic.woff",
)


@cache
def parse(page):
    return BeautifulSoup(page.read_text("utf8"), "html.parser")


@cache
def anchors(page):
    tags = parse(page).find_all(True)
    named = {tag.get(name) for tag in tags for name in ("id", "name")}
    return named - {None}


def is_elsewhere(address):
    """Tell whether an address leaves the machine: https://…, or //… without a scheme."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp", "ws", "wss")


def fetched(page):
    """Yield the addresses that a browser fetches to show a page."""
    for name, attributes in FETCHED.items():
        for tag in parse(page).find_all(name):
            for attribute in attributes:
                value = tag.get(attribute, "")
                if attribute == "srcset":
                    yield from (part.split()[0] for part in value.split(",") if part.split())
                elif value:
                    yield value
    for tag in parse(page).find_all("link"):
        if FETCHED_LINKS & set(tag.get("rel", [])) and tag.get("href"):
            yield tag["href"]
    for tag in parse(page).find_all("style"):
        yield from IN_STYLE.findall(tag.get_text())
    for tag in parse(page).find_all(style=True):
        yield from IN_STYLE.findall(tag["style"])


def local_target(page, address):
    """Return the file and the anchor that a local address names."""
    parts = urlsplit(address)
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if path.is_dir():
        path = path / "index.html"
    return path, unquote(parts.fragment)


def page_problems(page, site):
    """List what is wrong with one page."""
    found = []
    for address in fetched(page):
        if address.startswith("data:"):
            continue
        if is_elsewhere(address):
            found.append(f"loads {address} from elsewhere")
        elif not local_target(page, address)[0].is_file():
            found.append(f"loads {address}, which is not there")
    for tag in parse(page).find_all("a", href=True):
        address = tag["href"]
        if is_elsewhere(address) or urlsplit(address).scheme:
            continue
        path, anchor = local_target(page, address)
        if not path.is_relative_to(site):
            found.append(f"links to {address}, outside of the book")
        elif not path.is_file():
            found.append(f"links to {address}, which is not there")
        elif anchor and path.suffix == ".html" and anchor not in anchors(path):
            found.append(f"links to {address}, where that anchor is not there")
    for tag in parse(page).find_all("img"):
        beside = tag.find_parent(["a", "button"])  # its words may say what the picture says
        if tag.get("alt") == "" and beside and beside.get_text(strip=True):
            continue
        if not tag.get("alt", "").strip():
            found.append(f"shows {tag.get('src', '')[:60]} without an alt text")
    return found


def style_problems(sheet):
    """List what a style sheet would load from elsewhere."""
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf8"), flags=re.DOTALL)
    return [
        f"loads {address} from elsewhere"
        for address in IN_STYLE.findall(text)
        if is_elsewhere(address)
    ]


def size(site):
    """Return how many bytes the site has."""
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file())


def problems(site):
    """List what is wrong with the built book, each with the file that it is in."""
    site = site.resolve()
    found = [f"{name}: is not there" for name in NEEDED if not (site / name).is_file()]
    for page in sorted(site.rglob("*.html")):
        if "_static" in page.relative_to(site).parts:
            continue
        where = page.relative_to(site)
        found += [f"{where}: {problem}" for problem in page_problems(page, site)]
    for sheet in sorted(site.rglob("*.css")):
        where = sheet.relative_to(site)
        found += [f"{where}: {problem}" for problem in style_problems(sheet)]
    if size(site) > MOST_BYTES:
        found.append(f"the site: has {size(site)} bytes, more than {MOST_BYTES}")
    return found


def main():
    site = Path(sys.argv[1])
    found = problems(site)
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit(f"The built book has {len(found)} problems, listed above.")
    print(f"\nThe book is built and whole ({size(site) / 1e6:.1f} MB). Open it in a browser:")
    print(f"  {(site / 'index.html').resolve().as_uri()}")


if __name__ == "__main__":
    main()
