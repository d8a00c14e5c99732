"""Make the pages work offline: they load nothing from the network."""

import json
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile

from docutils import nodes

STATIC = Path(__file__).resolve().parents[1] / "_static"
MATHJAX = "mathjax/mathjax.js"
# Half the bytes of MathJax's ready-made sets are a menu and rare packages. These parts, one
# after another in one file, are all that the book needs.
PARTS = (
    "startup",
    "core",
    "input/tex",
    "input/tex/extensions/textmacros",  # \_ in \text; _config.yml switches it on
    "output/chtml",
    "output/chtml/fonts/tex",
    "a11y/assistive-mml",
)
FONTS = (
    "AMS-Regular",
    "Calligraphic-Regular",
    "Main-Bold",
    "Main-Italic",
    "Main-Regular",
    "Math-BoldItalic",
    "Math-Italic",
    "Math-Regular",
    "Size1-Regular",
    "Size2-Regular",
    "Size3-Regular",
    "Size4-Regular",
    "Typewriter-Regular",
    "Zero",
)


def copy_mathjax(app, exception):
    """Copy what the book needs of MathJax, with its fonts: 1 MB of the package's 20."""
    if exception is not None or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline")
    source = Path(package.origin).parent / "static" / "mathjax"
    target = Path(app.outdir, "_static", "mathjax")
    fonts = target / "output" / "chtml" / "fonts" / "woff-v2"
    fonts.mkdir(parents=True, exist_ok=True)
    for name in FONTS:
        font = f"MathJax_{name}.woff"
        copyfile(source / fonts.relative_to(target) / font, fonts / font)
    scripts = [(source / f"{part}.js").read_text("utf8") for part in PARTS]
    names = [part.replace("input/tex/extensions", "[tex]") for part in PARTS[1:]]
    loaded = f"MathJax.loader.preLoad(...{json.dumps(names)});"
    Path(app.outdir, "_static", MATHJAX).write_text("\n".join([*scripts, loaded]), "utf8")


def drop_thebe_scripts(app, pagename, templatename, context, doctree):
    """Leave out Thebe, which is fetched from the network and runs cells elsewhere."""
    if "script_files" in context:
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "thebe" not in f"{script} {getattr(script, 'attributes', '')}"
        ]


def drop_thebe_settings(app, doctree, docname):
    """Leave out the settings that only Thebe reads from the page."""
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext() or "kernelName =" in node.astext():
            node.parent.remove(node)


def setup(app):
    app.config.mathjax_path = MATHJAX
    app.config.html_static_path.append(str(STATIC))
    app.add_css_file("book.css")
    app.connect("html-page-context", drop_thebe_scripts, priority=900)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
