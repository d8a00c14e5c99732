"""The directive `where-used`: each module of the package with its tests and its chapters.

The table is made from the files each time that the book is built, so it is never out of date.
Below it the package's reference leaves out what only Python itself has written.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]


def modules(root=ROOT):
    """Return the public modules of the package."""
    paths = sorted(root.glob("src/vaebook/*.py"))
    return [path.stem for path in paths if not path.stem.startswith("_")]


def imports(source):
    """Return the modules of the package that a text of Python imports."""
    found = set(re.findall(r"^(?:from|import) vaebook\.(\w+)", source, re.M))
    for names in re.findall(r"^from vaebook import (.+)$", source, re.M):
        found |= set(re.findall(r"\w+", names))
    return found


def find_chapters(module, root=ROOT):
    """Return the chapters that import a module."""
    paths = sorted(root.glob("book/chapters/*.md"))
    return [path for path in paths if module in imports(path.read_text("utf8"))]


def find_tests(module, root=ROOT):
    """Return the test with the module's name, or else those that import it."""
    own = root / "tests" / "package" / f"test_{module}.py"
    if own.exists():
        return [own]
    paths = sorted(root.glob("tests/package/test_*.py"))
    return [path for path in paths if module in imports(path.read_text("utf8"))]


def table(root=ROOT):
    """Return the table as lines of Markdown."""
    lines = ["| module | tests | chapters |", "|---|---|---|"]
    for module in modules(root):
        named = ", ".join(f"`{path.name}`" for path in find_tests(module, root))
        linked = ", ".join(
            f"[{int(path.stem[:2])}](../notebooks/{path.stem}.ipynb)"
            for path in find_chapters(module, root)
        )
        lines.append(f"| [{module}](#{module}) | {named} | {linked} |")
    return lines


class WhereUsed(SphinxDirective):
    """Replace the directive by the table."""

    def run(self):
        self.env.note_reread()  # the table depends on files that Sphinx does not know of
        node = nodes.Element()
        self.state.nested_parse(StringList(table(), source="where-used"), 0, node)
        return node.children


def skips(app, what, name, obj, skip, options):
    """Leave out a field of a named tuple, unless somebody described it: its class lists it."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number") or None


def setup(app):
    app.add_directive("where-used", WhereUsed)
    app.connect("autodoc-skip-member", skips)
    return {"parallel_read_safe": True}
