"""The finishing step: change in each built page what the theme cannot be told to do.

Sphinx calls `finish_site` at the end of a build. Every step looks for what
sphinx-book-theme 1.1 writes. If a step does not find this, the build stops and says what was
looked for, so that a newer theme never leaves a site that is half finished.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from bs4 import BeautifulSoup
from preview import draw_preview
from small_sheets import shrink
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "book" / "_static"
THEME = "sphinx-book-theme 1.1"
MARK = "data-finished"  # on <html>: a second build does not finish the same pages again

# Files that pages fetch and do not need: icons drawn twice, widgets that no page has.
NEEDLESS = re.compile("fontawesome|thebe|togglebutton|sphinx-design|design-tabs")
NEEDLESS_FILES = (
    "**/*.map",
    "vendor/fontawesome",
    "sphinx-thebe*",
    "togglebutton*",
    "sphinx-design*",
    "design-tabs*",
    "locales",
    "images/logo_[!c]*",
    "*webpack-macros.html",
    "first-digits.*",  # the page has it from _images
)
# Names, points and spaces of code, which pygments.css gives the colour that all code has.
COLOURLESS = ("n", "p", "w")
# These define what inline scripts further down use, so they cannot wait for the page.
EAGER = re.compile("documentation_options|doctools|sphinx_highlight")
SEARCH_SCOPE = '[role="main"]'  # in searchtools.js: what excerpts of results are cut from
SEARCH_REMOVES = '[".headerlink", "script", "style"]'


@dataclass
class Site:
    """What the steps know beyond one page."""

    title: str
    repository: str  # its address
    terms: dict  # each term of the glossary, lower case: (anchor, definition)
    versions: str
    lost: list = field(default_factory=list)  # links to the glossary that name no term
    pictures: dict = field(default_factory=dict)  # that pages held as text: name to bytes

    @property
    def address(self):
        """Where GitHub Pages shows the book; empty while the address is the placeholder."""
        owner, _, name = self.repository.removeprefix("https://github.com/").partition("/")
        return "" if owner == "OWNER" else f"https://{owner.lower()}.github.io/{name}/"


@dataclass
class Page:
    """One built page."""

    name: str  # such as book/notebooks/06-a-loss-for-each-output
    soup: BeautifulSoup
    site: Site

    @property
    def root(self):
        return "../" * self.name.count("/")

    @property
    def article(self):
        return self.soup.select_one("article.bd-article")

    def want(self, selector):
        """Return what a selector finds; stop the build if that is nothing."""
        found = self.soup.select(selector)
        if not found:
            raise unknown_theme(selector, f"{self.name}.html")
        return found

    def tag(self, kind, text=None, **attributes):
        new = self.soup.new_tag(kind, attrs={k.strip("_"): v for k, v in attributes.items()})
        if text is not None:
            new.string = text
        return new


def unknown_theme(wanted, where):
    return ExtensionError(
        f"Expected {wanted!r} in {where}, as {THEME} writes it. Found none. "
        "The finishing step (book/_ext/finished_page.py) does not know this theme."
    )


# --- the steps, each of one page -------------------------------------------------------


def drop_needless_files(page):
    """Drop scripts and styles that have no effect, and load the others after the page."""
    page.want('script[src*="fontawesome"]')
    for tag in page.soup.select("script[src], link[href]"):
        if NEEDLESS.search(tag.get("src") or tag["href"]):
            tag.decompose()
    for script in page.soup.select("script:not([src])"):
        if "toggle" in script.text and "let toggleHint" in script.text:
            script.decompose()
        elif "let toggleOpenOnPrint" in script.text or "togglebuttonSelector" in script.text:
            script.decompose()
    for script in page.want("head script[src]"):
        if not EAGER.search(script["src"]):
            script["defer"] = ""
            script["fetchpriority"] = "low"  # the style sheets go first
    if not page.soup.select(".bd-article .math"):
        for script in page.soup.select('script[src*="mathjax"]'):
            script.decompose()


def describe(page):
    """Tell search engines and chats what the page is: description, picture, address."""
    head = page.want("head")[0]
    for extra in page.soup.select("meta[name=viewport]")[1:]:
        extra.decompose()
    title = page.want("title")[0].get_text().split(" — ")[0].strip()
    words = first_words(page.article) if page.article else ""
    facts = {
        "og:title": title,
        "og:type": "article",
        "og:site_name": page.site.title,
        "og:image": f"{page.site.address or page.root}_static/og.png",
        "og:image:alt": "Digits that a variational autoencoder drew, and the book's title",
        "twitter:card": "summary_large_image",
    }
    if words:
        facts["og:description"] = words
        head.append(page.tag("meta", name="description", content=words))
    if page.site.address:
        address = f"{page.site.address}{page.name}.html"
        facts["og:url"] = address
        head.append(page.tag("link", rel="canonical", href=address))
    for name, content in facts.items():
        kind = "name" if name.startswith("twitter") else "property"
        head.append(page.tag("meta", **{kind: name, "content": content}))
    head.append(page.tag("meta", name="color-scheme", content="light dark"))
    script = page.tag("script", src=f"{page.root}_static/page.js")
    script["defer"] = ""
    head.append(script)


def first_words(article, length=180):
    """Return the first sentences below the title, cut between two words."""
    for paragraph in article.select("section p"):
        text = " ".join(paragraph.get_text().split())
        if len(text) >= 40 and not paragraph.find_parent(["table", "figure", "details"]):
            cut = text[:length].rsplit(" ", 1)[0]
            return text if len(text) <= length else f"{cut} …"
    return ""


def landmarks(page):
    """Drop parts that are empty or said twice, and name what is left to screen readers."""
    header = page.want("header.bd-header")[0]
    if not header.get_text(strip=True):  # the theme's script asks where it ends
        header.name, header["hidden"] = "div", ""
    for extra in page.soup.select(
        "#jb-print-docs-body, .pst-async-banner-revealer, footer.bd-footer"
    ):
        extra.decompose()
    page.want(".sidebar-primary-item .navbar-brand")[0].parent["role"] = "banner"
    for logo in page.want("img.logo__image"):
        logo["alt"] = ""  # the title stands beside it
    for tag in page.soup.select("[role=doc-biblioentry], [role=list].citation-list"):
        del tag["role"]
    for summary in page.soup.select("summary[aria-label]"):
        del summary["aria-label"]  # it hid the words that are to be seen
    main = page.want("main#main-content")[0]
    del main["role"]  # <main> says so by itself, and search looks for the role


THEME_SCRIPT = """
    const mode = localStorage.getItem("mode") || "auto";
    const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.documentElement.dataset.mode = mode;
    document.documentElement.dataset.theme = mode === "auto" ? dark : mode;
"""


def first_colours(page):
    """Start in the colours of the reader's system; the theme starts in none, and warns."""
    scripts = [it for it in page.want("head script") if "dataset.mode" in it.text]
    if not scripts:
        raise unknown_theme("dataset.mode", f"{page.name}.html")
    scripts[0].string = THEME_SCRIPT


def header_buttons(page):
    """Label the buttons of the header by words that say what they do."""
    words = {
        ".primary-toggle": "Chapters",
        ".secondary-toggle": "Contents of this page",
        ".btn-fullscreen-button": "Full screen",
    }
    page.want(".primary-toggle")
    for selector, label in words.items():
        for button in page.soup.select(selector):
            button["aria-label"] = button["title"] = label
    for script in page.soup.select("script:not([src])"):
        if "search-button-field" in script.text:  # its own text, "Search Ctrl+K", is its name
            script.string = script.text.replace(' aria-label="Search"', "")


def fold_labels(page):
    """Name what a fold holds."""
    for cell in page.soup.select("div.cell"):
        folds = cell.find_all("details", recursive=False)
        for fold in folds:
            what = "output" if "above-output" in fold["class"] else "code"
            for word, text in zip(fold.select("summary > p"), ("Show", "Hide"), strict=True):
                word.name = "span"
                word.string = f"{text} the {what}"


def joined_folds(page):
    """Make one fold of neighbouring cells that show nothing but their folded code."""

    def is_bare(node):
        return (
            getattr(node, "name", None) == "div"
            and "tag_hide-input" in node.get("class", ())
            and not node.select_one(".cell_output")
        )

    for cell in page.soup.select("div.cell.tag_hide-input"):
        while is_bare(cell) and is_bare(follows := cell.find_next_sibling()):
            for code in follows.select(".cell_input"):
                cell.details.append(code.extract())
            follows.decompose()


def solutions(page):
    """Put each solution into one fold: its text, its code and its output."""
    section = page.soup.find("section", id="solutions")
    if section is None:
        return
    groups, heading = [], section.find(["h2", "h3", "h4"])
    for node in list(heading.find_next_siblings()):
        number = re.match(r"(?:Exercise|Solution)\s+(\d+)", node.get_text().lstrip())
        if number and node.name == "p":
            groups.append((f" of exercise {number[1]}", []))
        elif not groups:
            groups.append(("", []))
        groups[-1][1].append(node)
    for what, nodes in groups:
        fold = folded(page, nodes, f"the solution{what}")
        for inner in fold.select("div.cell > details"):
            inner.summary.decompose()
            inner.unwrap()


def answers(page):
    """Fold a paragraph that begins with **Answer.**, so that a reader can predict first."""
    for word in page.soup.select(".bd-article p > strong:first-child"):
        paragraph = word.parent
        if word.get_text() == "Answer." and paragraph.get_text().startswith("Answer."):
            word.decompose()
            folded(page, [paragraph], "the answer")


def folded(page, nodes, what):
    """Put neighbouring elements into a fold, and return it."""
    fold, summary = page.tag("details", _class="solution"), page.tag("summary")
    for state, name in (("Show", "collapsed"), ("Hide", "expanded")):
        summary.append(page.tag("span", f"{state} {what}", _class=name))
    nodes[0].insert_before(fold)
    fold.append(summary)
    for node in nodes:
        fold.append(node.extract())
    return fold


def outputs(page):
    """Let an output wrap, unless wrapping would break its aligned columns."""
    for output in page.soup.select(".bd-article .cell_output .output pre"):
        lines = output.get_text().rstrip("\n").split("\n")
        if len(lines) == 1 or not any(re.search(r"\S {2,}\S", line) for line in lines):
            output["class"] = [*output.get("class", []), "wraps"]


def tables(page):
    """Give tables what a narrow screen needs: each cell carries its column's head."""
    for text in page.soup.select(".bd-article table.vaebook :is(td, th)"):
        if text.string and "`" in text.string:  # a program wrote it, who knows no other mark
            parts = text.string.split("`")
            text.clear()
            for number, part in enumerate(parts):
                text.append(page.tag("code", part) if number % 2 else part)
    for table in page.soup.select(".bd-article table:not(.entry)"):
        heads = [" ".join(head.get_text().split()) for head in table.select("thead tr th")]
        rows = [
            row.find_all(["th", "td"], recursive=False) for row in table.select("tbody > tr")
        ]
        if not heads or table.select("thead tr ~ tr, [colspan], [rowspan]"):
            continue
        if any(len(row) != len(heads) for row in rows) or not is_wide([heads, *rows]):
            continue
        table["class"] = [*table.get("class", []), "stacks"]
        # If rows are shown as blocks, only roles tell a screen reader that it is a table.
        table["role"] = "table"
        for group in table.select("thead, tbody"):
            group["role"] = "rowgroup"
        for row in table.select("tr"):
            row["role"] = "row"
        for head in table.select("thead th"):
            head["role"] = "columnheader"
        for row in rows:
            for head, cell in zip(heads, row, strict=True):
                cell["role"] = "rowheader" if cell.name == "th" else "cell"
                if head and cell.get_text(strip=True):  # an empty cell needs no head
                    cell["data-label"] = head


def is_wide(rows, room=40, column=24):
    """Tell whether a table is too wide for a phone, by its longest texts."""
    texts = [
        [cell if isinstance(cell, str) else cell.get_text() for cell in row] for row in rows
    ]
    return sum(min(max(map(len, each)), column) for each in zip(*texts, strict=True)) > room


def breaks(page):
    """Let a long name in a table break after a dot or an underscore, so that columns fit."""
    for text in page.soup.select(".bd-article td code .pre"):
        if len(text.get_text()) < 20:
            continue
        first, *pieces = re.split(r"(?<=[^\W_][._])(?=[^\W_])", text.get_text())
        text.string = first
        for piece in pieces:
            text.append(page.tag("wbr"))
            text.append(piece)


def values(page):
    """Drop the value of a name of the package if it is longer than a line.

    The texts of functions and of long tables say less than the description below the name.
    """
    for value in page.soup.select("dl.py.data > dt > em.property"):
        text = value.get_text().strip()
        if text.startswith("=") and len(text) > 60:
            value.decompose()


def row_anchors(page):
    """Give each row of an appendix's tables an address of its own."""
    if not page.name.startswith("book/appendix/"):
        return
    taken = {tag["id"] for tag in page.soup.find_all(id=True)}
    for row in page.soup.select(".bd-article table.table tbody tr"):
        cell = row.find(["td", "th"])
        words = " ".join(cell.get_text().split())
        slug = re.sub(r"[^a-z0-9]+", "-", words.lower())[:60].strip("-")
        if not slug:
            continue
        name = next(
            name
            for name in (slug, *(f"{slug}-{number}" for number in range(2, 99)))
            if name not in taken
        )
        taken.add(name)
        row["id"] = name
        link = page.tag(
            "a", "#", _class="headerlink", href=f"#{name}", title="Link to this row"
        )
        (cell.find("p") or cell).append(link)


def glossary_links(page):
    """Point each link to the glossary at its term, and put the definition on the page."""
    if not page.name.startswith("book/") or page.name.endswith("appendix/glossary"):
        return
    tips = {}
    for link in page.article.select('a[href*="appendix/glossary.html"]'):
        anchor = link["href"].partition("#")[2]
        words = " ".join(link.get_text().split())
        named = {where: key for key, (where, _) in page.site.terms.items()}
        term = named.get(anchor) if anchor else find_term(words, page.site.terms)
        if term is None:
            if anchor or words.lower() != "glossary":
                page.site.lost.append(f"{page.name}: {words!r}")
            continue
        where, definition = page.site.terms[term]
        link["href"] = link["href"].partition("#")[0] + f"#{where}"
        link["class"] = [*link.get("class", []), "term"]
        link["aria-describedby"] = f"tip-{where}"
        tips[where] = definition
    for where, definition in tips.items():
        tip = page.tag("span", definition, id=f"tip-{where}", _class="tip", role="tooltip")
        tip["hidden"] = ""
        page.article.insert_after(tip)


def find_term(words, terms):
    """Find the term that a link's words name, in the singular or the plural."""
    words = words.lower()
    for form in (words, words.removesuffix("s"), words.removesuffix("es"), f"{words}s"):
        if form in terms:
            return form
    return None


def drawings(page):
    """Put drawings into the page as SVG: their text is text, and follows light and dark."""
    for number, picture in enumerate(
        page.soup.select('img[src^="data:image/svg+xml;base64,"]')
    ):
        text = base64.b64decode(picture["src"].partition(",")[2]).decode()
        svg = BeautifulSoup(inline_svg(text, f"d{number}"), "html.parser").svg
        svg["role"] = "img"
        svg["aria-label"] = picture["alt"]
        picture.replace_with(svg)


# Greys of a drawing as colours of the page. Other colours stay.
SHADES = {
    "text": "var(--drawing-ink)",
    "grey": "var(--drawing-grey)",
    "paper": "var(--drawing-paper)",
}
SOLID = "var(--drawing-solid)"


def inline_svg(text, prefix):
    """Return a drawing as an <svg>, whose ids do not clash with those of others."""
    text = re.sub(
        r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S
    )
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    # The figure's own background goes, so that the page's shows.
    text = re.sub(
        r'<g id="[^"]*patch_1">\s*<path[^>]*style="fill: #ffffff"\s*/>\s*</g>',
        "",
        text,
        count=1,
    )
    head = re.search(r"<svg[^>]*>", text)[0]
    width, height = (
        float(re.search(rf'\b{side}="([\d.]+)pt"', head)[1]) for side in ("width", "height")
    )
    # Points to CSS pixels: the drawing keeps the size that matplotlib gave it. It writes no
    # colour for what is black, so the whole drawing inherits the page's ink.
    ink = f'style="fill: {SHADES["text"]}"'
    size = f'width="{width * 4 / 3:.0f}" height="{height * 4 / 3:.0f}"'
    box = re.search(r'viewBox="[^"]*"', head)[0]
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = text.replace(head, f'<svg class="drawing" {ink} {size} {box} {xlink}>')
    return re.sub(
        r'(<(\w+)\b[^>]*?\bstyle=")([^"]*)', lambda it: it[1] + recolour(it[3], it[2]), text
    )


def recolour(style, tag):
    """Turn greys into colours of the page. White text stays white."""
    # A box, a line or a ground, and not writing, of which formulas are in a g.
    drawn = tag not in ("svg", "g", "text", "tspan")
    style = re.sub(r"#[0-9a-f]{6}\b", lambda colour: shade(colour[0], drawn), style)
    # White words stand on a dark box: it stays darker than they are.
    return style.replace(f"fill: {SHADES['text']}", f"fill: {SOLID}") if drawn else style


def shade(colour, drawn):
    """Return the colour that a drawing's colour becomes on the page."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    if max(red, green, blue) - min(red, green, blue) > 12:
        return colour
    if red > 240:
        return SHADES["paper"] if drawn else colour
    return SHADES["text"] if red < 60 else SHADES["grey"]


def pictures(page):
    """Move the pictures of cells into files, and load those far down only when they are near.

    Inside the page, a picture delays the words and takes a third more bytes.
    """
    for picture in page.soup.select('.cell_output img[src^="data:image/"]'):
        kind, data = re.fullmatch(
            r"data:image/(\w+);base64,(.*)", picture["src"], re.S
        ).groups()
        if len(data) < 2000 or picture.find_parent(class_="vaebook-explorer"):
            continue
        data = base64.b64decode(data)
        name = f"{sha256(data).hexdigest()[:16]}.{kind}"
        page.site.pictures[name] = data
        picture["src"] = f"{page.root}_images/{name}"
    for picture in page.soup.select(".bd-article img")[1:]:
        picture["loading"] = "lazy"
        picture["decoding"] = "async"


def foot(page):
    """Write the foot: licence, versions, citation, feedback."""
    place = page.want("footer.bd-footer-content .bd-footer-content__inner")[0]
    place.clear()
    site = page.site
    issue = f"{site.repository}/issues/new?title=Page%20{page.name.rpartition('/')[2]}"
    text = page.tag("p", f"{site.title} · MIT licence · {site.versions}")
    links = page.tag("p", _class="links")
    for words, address in (
        ("Licence", f"{site.repository}/blob/main/LICENSE"),
        ("Cite this book", f"{site.repository}/blob/main/CITATION.cff"),
        ("Report a mistake", issue),
        ("Source", site.repository),
    ):
        links.append(page.tag("a", words, href=address))
        links.append(" ")
    place.extend([text, links])


def plain_code(page):
    """Drop the marks of code without a colour: they are a megabyte of the site."""
    kinds = ", ".join(f".highlight pre > span.{kind}" for kind in COLOURLESS)
    for mark in page.soup.select(kinds):
        mark.unwrap()


STEPS = (
    drop_needless_files,
    describe,
    landmarks,
    first_colours,
    header_buttons,
    fold_labels,
    joined_folds,
    solutions,
    answers,
    outputs,
    tables,
    breaks,
    values,
    row_anchors,
    glossary_links,
    drawings,
    pictures,
    plain_code,
    foot,
)


def finish_page(text, name, site):
    """Return one page, finished."""
    page = Page(name, BeautifulSoup(text, "html.parser"), site)
    html = page.want("html")[0]
    if html.has_attr(MARK):
        return text
    for step in STEPS:
        step(page)
    html[MARK] = ""
    return str(page.soup)


# --- the site ----------------------------------------------------------------------------


def read_terms(glossary):
    """Read the terms of the built glossary: name in lower case to anchor and definition."""
    soup = BeautifulSoup(glossary, "html.parser")
    terms = {}
    for name in soup.select('dl.glossary > dt[id^="term-"]'):
        for link in name.select(".headerlink"):
            link.decompose()
        definition = name.find_next_sibling("dd")
        words = " ".join(definition.get_text().split())
        words = re.sub(r"\s*Chapters? \d+( (and|to) \d+)?\.$", "", words)
        terms[" ".join(name.get_text().split()).lower()] = (name["id"], words)
    if not terms:
        raise unknown_theme('dl.glossary > dt[id^="term-"]', "book/appendix/glossary.html")
    return terms


@cache
def locked_versions():
    """Name the versions that the stored numbers come from, which requirements.txt locks."""
    lock = (ROOT / "requirements.txt").read_text("utf8")
    found = dict(re.findall(r"^(tensorflow|keras)==([\w.]+)", lock, re.M))
    return (
        f"Computed and tested with TensorFlow {found['tensorflow']} and Keras {found['keras']}"
    )


def replace_in(path, *pairs):
    """Replace texts in a file of the theme; stop the build if one of them is missing."""
    text = path.read_text("utf8")
    for old, new in pairs:
        if new in text:
            continue
        if old not in text:
            raise unknown_theme(old, path.name)
        text = text.replace(old, new)
    path.write_text(text, "utf8")


def check_colours(sheet):
    """Stop the build if code whose marks are dropped has a colour of its own."""
    rules = re.findall(r"^(.*)\.highlight( \.\w+)?\s*{([^}]*)}", sheet.read_text("utf8"), re.M)
    colours = {
        (theme, kind.strip(" .")): found[1].lower()
        for theme, kind, rule in rules
        if (found := re.search(r"(?<![-\w])color: *([^;]*?) *(?:;|$)", rule.strip()))
    }
    for (theme, kind), colour in colours.items():
        if kind in COLOURLESS and colour != colours.get((theme, "")):
            raise ExtensionError(
                f"Expected {sheet.name} to give code marked {kind} the colour of all code, "
                f"{colours.get((theme, ''))}. Received: {colour}. Take {kind} out of "
                "COLOURLESS in book/_ext/finished_page.py."
            )


def drop_files(static):
    """Delete what no page fetches."""
    for pattern in NEEDLESS_FILES:
        for path in sorted(static.glob(pattern), reverse=True):
            for file in sorted(path.rglob("*"), reverse=True) if path.is_dir() else [path]:
                file.rmdir() if file.is_dir() else file.unlink()
            if path.is_dir():
                path.rmdir()


def empty_notebooks(sources):
    """Remove the outputs from the notebooks to download, since a reader runs them."""
    for path in sorted(sources.rglob("*.ipynb")):
        notebook = json.loads(path.read_text("utf8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf8")


NOT_FOUND = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Not here · {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">
<style>body {{ font: 1.1rem/1.5 Charter, Georgia, serif; max-width: 34rem; margin: 15vh auto;
padding: 0 1.5rem; }} h1 {{ font-size: 2rem; }}</style></head>
<body><main><h1>Nothing was drawn here</h1>
<p>This address belongs to no page of <em>{title}</em>. A chapter may have moved.</p>
<p><a href="{address}">The first page and its list of chapters</a></p></main></body></html>
"""


FRONT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="refresh" content="0; url={first}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta property="og:title" content="{title}">
<meta property="og:image" content="{address}_static/og.png"></head>
<body><main><h1>{title}</h1><p><a href="{first}">The first page</a></p></main></body></html>
"""


def finish_site(app, exception):
    """Finish every page of a build that succeeded."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    glossary = out / "book" / "appendix" / "glossary.html"
    repository = app.config.html_theme_options["repository_url"].rstrip("/")
    site = Site(
        title=app.config.html_title or app.config.project,
        repository=repository,
        terms=read_terms(glossary.read_text("utf8")),
        versions=locked_versions(),
    )
    for path in sorted(out.rglob("*.html")):
        name = path.relative_to(out).with_suffix("").as_posix()
        text = path.read_text("utf8")
        if name.startswith("_") or name in ("index", "404"):  # the theme did not write these
            continue
        path.write_text(finish_page(text, name, site), "utf8")
    check_colours(out / "_static" / "pygments.css")
    if site.lost:
        raise ExtensionError(
            "Expected each link to the glossary to read as one of its terms. Received: "
            + "; ".join(site.lost)
        )
    replace_in(
        out / "_static" / "searchtools.js",
        (SEARCH_SCOPE, "article.bd-article"),
        (SEARCH_REMOVES, '[".headerlink", "script", "style", "summary", "svg"]'),
        (
            "return anchorContent.textContent;",
            'return anchorContent.textContent.replace(/\\s+/g, " ");',
        ),
        (
            "return docContent.textContent;",
            'return docContent.textContent.replace(/\\s+/g, " ");',
        ),
    )
    (out / "_images").mkdir(exist_ok=True)
    for name, data in site.pictures.items():
        (out / "_images" / name).write_bytes(data)
    empty_notebooks(out / "_sources")
    draw_preview(site.title, STATIC / "first-digits.webp", out / "_static" / "og.png")
    drop_files(out / "_static")
    shrink(out / "_static", [path.read_text("utf8") for path in out.rglob("*.html")])
    first = f"{app.config.root_doc}.html"
    front = FRONT.format(title=site.title, first=first, address=site.address)
    (out / "index.html").write_text(front, "utf8")
    home = site.address or repository
    (out / "404.html").write_text(NOT_FOUND.format(title=site.title, address=home), "utf8")


def setup(app):
    app.connect("build-finished", finish_site, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
