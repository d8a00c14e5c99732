"""Keep each chapter's executed notebook up to date with its text.

    python tools/sync.py            write the notebooks that are out of date
    python tools/sync.py --all      run every chapter again
    python tools/sync.py --words    write only those whose code did not change; run nothing
    python tools/sync.py --check    only report; exit status 1 if any is out of date

Names of chapters after these restrict the work to those chapters: `sync.py --all 04 06`.
"""

import argparse
import hashlib
import json
import os
import sys
import tomllib

import jupytext
import nbformat
from address import ROOT, address
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = ROOT / "book"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
FILTER = PROJECT["tool"]["jupytext"]["cell_metadata_filter"]
KEPT = [key for key in FILTER.split(",") if key != "-all"]  # what a chapter may set of a cell
TAGS = {
    "check",  # the assertions of the chapter
    "mnist",  # the output depends on the data
    "raises-exception",
    "nbval-ignore-output",  # with a comment in the cell that says why
    "hide-input",
    "hide-output",
    "hide-cell",
    "remove-input",
    "remove-output",
    "remove-cell",
    "scroll-output",
}
LARGEST_TOLERANCE = 0.5
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}


def chapters(book=BOOK):
    return sorted(book.glob("chapters/*.md"))


def notebook_path(chapter):
    return chapter.parents[1] / "notebooks" / f"{chapter.stem}.ipynb"


def read_chapter(chapter):
    return jupytext.reads(chapter.read_text("utf8"), fmt="md:myst")


def read_notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def content(notebook):
    """Return what a chapter and its notebook share: each cell's kind, source and metadata."""
    return [
        (
            cell.cell_type,
            cell.source,
            {key: cell.metadata[key] for key in KEPT if key in cell.metadata},
        )
        for cell in notebook.cells
    ]


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def code_digest(notebook):
    """Return a digest of the code, which does not depend on the repository's address."""
    sources = [cell.source for cell in code_cells(notebook)]
    return digest([source.replace(address(), "ADDRESS") for source in sources])


def output_digest(notebook):
    """Return a digest of the outputs, so that an edit by hand is noticed."""
    return digest([cell.outputs for cell in code_cells(notebook)])


def problems(chapter):
    """List the reasons why the stored notebook is not up to date with its chapter."""
    path = notebook_path(chapter)
    if not path.exists():
        return ["it has no notebook"]
    text, stored = read_chapter(chapter), read_notebook(path)
    found = []
    if content(text) != content(stored):
        found.append("text and notebook differ")
    if stored.metadata.get("executed") != code_digest(text):
        found.append("code changed since it was run")
    if stored.metadata.get("outputs") != output_digest(stored):
        found.append("outputs changed since it was run")
    for number, cell in enumerate(code_cells(stored)):
        found += [f"cell {number} {why}" for why in cell_problems(cell)]
    return found


def cell_problems(cell):
    """List what is wrong with a stored cell."""
    tags = set(cell.metadata.get("tags", []))
    found = []
    if tags - TAGS:
        found.append(f"has unknown tags {sorted(tags - TAGS)}, expected {sorted(TAGS)}")
    if "nbval_" in cell.source.lower():
        found.append("steers nbval by a comment, expected a tag")
    if "nbval-ignore-output" in tags and "#" not in cell.source:
        found.append("hides its output from nbval, expected a comment that says why")
    for name, value in cell.metadata.get("nbval", {}).items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in ("rtol", "atol") or not number or not 0 <= value <= LARGEST_TOLERANCE:
            found.append(
                f"has nbval: {name}: {value}, "
                f"expected rtol or atol from 0 to {LARGEST_TOLERANCE}"
            )
    if cell.execution_count is None:
        found.append("was never run")
    failed = [out.ename for out in cell.outputs if out.output_type == "error"]
    if failed and "raises-exception" not in tags:
        found.append(f"failed with {failed[0]}")
    if "raises-exception" in tags and cell.execution_count and not failed:
        found.append("is tagged raises-exception and raised nothing")
    for out in cell.outputs:
        if out.output_type == "stream" and out.name == "stderr":
            found.append(f"wrote to stderr: {out.text[:120]!r}")
    return found


def strays(book=BOOK):
    """List the notebooks that have no chapter."""
    paired = {notebook_path(chapter) for chapter in chapters(book)}
    return sorted(set(book.glob("notebooks/**/*.ipynb")) - paired)


def write(chapter, rerun=False):
    """Write a chapter's notebook, and run it unless only words changed."""
    path, fresh = notebook_path(chapter), read_chapter(chapter)
    path.parent.mkdir(exist_ok=True)
    if not rerun and outputs_still_hold(path, fresh):
        stored = read_notebook(path)
        for new, old in zip(code_cells(fresh), code_cells(stored), strict=True):
            new.outputs, new.execution_count = old.outputs, old.execution_count
        seconds = stored.metadata.get("seconds")
    else:
        seconds = run(fresh, chapter)
    metadata = {
        "executed": code_digest(fresh),
        "kernelspec": KERNEL,
        "language_info": LANGUAGE,
        "outputs": output_digest(fresh),
        "seconds": seconds,  # processor time, which the landing page shows
    }
    if seconds is None:  # an older notebook does not say
        del metadata["seconds"]
    fresh.metadata = nbformat.from_dict(metadata)
    for number, cell in enumerate(fresh.cells):
        cell.id = f"cell-{number:02d}"  # fixed, so that a diff shows what changed
    nbformat.validate(fresh)
    nbformat.write(fresh, path)


def outputs_still_hold(path, fresh):
    """Tell whether the stored outputs are those of this code."""
    if not path.exists():
        return False
    stored = read_notebook(path)
    return (
        stored.metadata.get("executed") == code_digest(fresh) == code_digest(stored)
        and stored.metadata.get("outputs") == output_digest(stored)
        and all(cell.execution_count for cell in code_cells(stored))
    )


def run(notebook, chapter):
    """Run a notebook in a kernel of its own, and return the seconds of processor time.

    On a busy machine, processor time stays about the same, while the time on the clock grows.
    """
    print(f"  running {chapter.name}", flush=True)
    started = processor_seconds()
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(chapter.parents[1] / "notebooks")}},
    ).execute()
    for cell in code_cells(notebook):
        for out in cell.outputs:
            if out.output_type == "error":  # its traceback names folders of this machine
                out.traceback = out.traceback[-1:]
    seconds = round(processor_seconds() - started)
    print(f"  took {seconds} s of processor time", flush=True)
    return seconds


def processor_seconds():
    """Return the processor time of those programs started here that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="run every chapter again")
    parser.add_argument("--words", action="store_true", help="run nothing")
    parser.add_argument("--check", action="store_true", help="only report")
    parser.add_argument("names", nargs="*", help="heads of chapters' names, such as 04")
    args = parser.parse_args()
    chosen = [
        chapter
        for chapter in chapters()
        if not args.names or chapter.stem.startswith(tuple(args.names))
    ]
    if args.names and not chosen:
        parser.error(f"no chapter's name begins with {' or '.join(args.names)}")

    out_of_step = 0
    for chapter in chosen:
        why = problems(chapter)
        if why:
            print(f"{chapter.name}: {'; '.join(why)}")
        runs = not outputs_still_hold(notebook_path(chapter), read_chapter(chapter))
        if (why or args.all) and not args.check and not (args.words and runs):
            try:
                write(chapter, rerun=args.all)
            except CellExecutionError as error:
                print(error)  # the cell and its traceback; the stored notebook stays
            why = problems(chapter)
            for problem in why:
                print(f"  still: {problem}")
        out_of_step += bool(why)
    for path in strays():
        print(f"{path.name}: it has no chapter")
        out_of_step += 1
    sys.exit(1 if out_of_step else 0)


if __name__ == "__main__":
    main()
