"""The built book that the tests of pages open: built once, if it is older than its sources."""

import fcntl
import functools
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
SOURCES = ("book", "src", "_config.yml", "_toc.yml", "requirements.txt")
BUILD = "from jupyter_book.cli.main import main; main()"


def chapters_and_appendices():
    """Return the name of every page of the book, as `_toc.yml` lists them."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    return [contents["root"], *files]


# With the lists that Sphinx writes beside them.
PAGES = [*chapters_and_appendices(), "search", "genindex", "py-modindex"]


def newest(names):
    """Return when the newest of some files and folders of the repository was written."""
    tops = [ROOT / name for name in names]
    files = [path for top in tops for path in [top, *top.rglob("*")]]
    kept = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
    return max(path.stat().st_mtime for path in kept)


@functools.cache
def site():
    """Return the folder of the built book; build it first if a source is newer."""
    SITE.parent.mkdir(exist_ok=True)
    with open(SITE.parent / "lock", "w") as lock:  # two processes may run tests
        fcntl.flock(lock, fcntl.LOCK_EX)
        last = SITE / "404.html"  # the finishing step writes it last
        if not last.exists() or last.stat().st_mtime < newest(SOURCES):
            built = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    BUILD,
                    "build",
                    ".",
                    "--all",
                    "-W",
                    "-n",
                    "--keep-going",
                ],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            if built.returncode:  # nobody takes a half-built book for a whole one
                last.unlink(missing_ok=True)
            assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return SITE
