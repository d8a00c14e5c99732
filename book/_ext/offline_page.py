"""Make the pages whole in themselves: they load nothing from the network."""

from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile, copytree

from docutils import nodes

STATIC = Path(__file__).resolve().parents[1] / "_static"


def copy_mathjax(app, exception):
    """Copy MathJax and its fonts into the built book: 3 MB of the package's 20."""
    if exception is not None or app.builder.format != "html":
        return
    package = find_spec("sphinx-mathjax-offline")
    source = Path(package.origin).parent / "static" / "mathjax"
    target = Path(app.outdir, "_static", "mathjax")
    fonts = "output/chtml/fonts/woff-v2"
    copytree(source / fonts, target / fonts, dirs_exist_ok=True)
    copyfile(source / "tex-chtml-full.js", target / "tex-chtml-full.js")


def drop_thebe_scripts(app, pagename, templatename, context, doctree):
    """Leave out Thebe, which would fetch itself and run cells on another machine."""
    if "script_files" in context:
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "thebe" not in f"{script} {getattr(script, 'attributes', '')}"
        ]


def drop_thebe_settings(app, doctree, docname):
    """Leave out what Thebe would read from the page."""
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext() or "kernelName =" in node.astext():
            node.parent.remove(node)


def setup(app):
    app.config.mathjax_path = "mathjax/tex-chtml-full.js"
    app.config.html_static_path.append(str(STATIC))
    app.add_css_file("book.css")
    app.connect("html-page-context", drop_thebe_scripts, priority=900)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
