"""Run nbval on small notebooks: each way in which a notebook can be wrong is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]


def printed(text):
    return [new_output("stream", name="stdout", text=text)]


def cell(source, outputs=(), count=1, **metadata):
    return new_code_cell(
        source, outputs=list(outputs), execution_count=count, metadata=metadata
    )


def run_nbval(folder, cells, mnist):
    """Return the outcome of each cell, and all that pytest wrote."""
    for name in ("conftest.py", "tools/compare.py"):
        shutil.copy(ROOT / name, folder)
    package = folder / "vaebook"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text(
        "class DatasetUnavailable(OSError): pass\n"
        "def load_images(name, n_train, n_test):\n"
        f"    if not {mnist}: raise DatasetUnavailable\n"
    )
    nbformat.write(new_notebook(cells=cells), folder / "small.ipynb")
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--junit-xml=out.xml", "small.ipynb"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "VAEBOOK_MNIST": "some/file.npz"},
        capture_output=True,
        text=True,
    )
    cases = ElementTree.parse(folder / "out.xml").getroot().iter("testcase")
    return [case.find("failure") is None for case in cases], done.stdout


FIGURE = '<figure class="vaebook"><img alt="{}" src="data:image/png;base64,{}"/></figure>'
SHOW = f"""from IPython.display import display
display({{"text/html": {FIGURE.format("a line", "NEW")!r}}}, raw=True)"""


def figure(alt):
    return [new_output("display_data", {"text/html": FIGURE.format(alt, "OLD")})]


ERROR = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
CELLS = {  # name: the cell, and whether it passes with and without MNIST
    "equal": (cell("print(0.25)", printed("0.25\n")), True, True),
    "within tolerance": (cell("print(0.25)", printed("0.25001\n")), True, True),
    "one per cent off": (cell("print(0.25)", printed("0.2525\n")), False, False),
    "an integer off": (cell("print(117764)", printed("117765\n")), False, False),
    "emptied": (cell("print(0.25)"), False, False),
    "no longer printed": (cell("0.25;", printed("0.25\n")), False, False),
    "own tolerance": (
        cell("print(0.25)", printed("0.27\n"), nbval={"rtol": 0.2}),
        True,
        True,
    ),
    "unknown tolerance": (
        cell("print(0.25)", printed("0.25\n"), nbval={"tolerance": 9}),
        False,
        False,
    ),
    "picture changed": (cell(SHOW, figure("a line")), True, True),
    "alt text lost": (cell(SHOW, figure("")), False, False),
    "expected error": (
        cell("raise ValueError('no')", ERROR, tags=["raises-exception"]),
        True,
        True,
    ),
    "expected error is gone": (cell("1;", ERROR, tags=["raises-exception"]), False, False),
    "unexpected error": (cell("raise ValueError('no')", ERROR), False, False),
    "digits instead": (
        cell("print(0.25)", printed("0.5\n"), tags=["mnist"]),
        False,
        True,
    ),
    "fails on the digits": (
        cell("raise ValueError('no')", printed("0.5\n"), tags=["mnist"]),
        False,
        False,
    ),
    "absolute path": (
        cell("import os; print(os.path.isabs(os.environ['VAEBOOK_MNIST']))", printed("True\n")),
        True,
        True,
    ),
}


@pytest.mark.parametrize("mnist", [True, False])
def test_nbval_refuses_each_kind_of_wrong_cell(tmp_path, mnist):
    cells = [row[0] for row in CELLS.values()]
    passed, report = run_nbval(tmp_path, cells, mnist)
    expected = {
        name: with_ if mnist else without for name, (_, with_, without) in CELLS.items()
    }
    assert dict(zip(CELLS, passed, strict=True)) == expected
    assert ("MNIST is here" if mnist else "no MNIST, the chapters run on the digits") in report
    assert "stored 0.2525   new 0.25" in report  # the message leads to the number
    assert "Cell 2" in report
