"""Write the repository's address into _config.yml and into every file that repeats it.

    python tools/address.py https://github.com/me/fork

A test fails if one of these files has another address.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
# The files whose address a browser, git or Colab follows. The package holds no address.
COPIES = (
    "README.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "pyproject.toml",
    "book/**/*.md",
    "book/notebooks/*.ipynb",
)
SHAPE = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")


def address(root=ROOT):
    """Return the repository's address."""
    config = yaml.safe_load((root / "_config.yml").read_text("utf8"))
    return config["repository"]["url"]


def copies(root=ROOT):
    """Return the files that may hold a copy of the address."""
    return sorted({path for pattern in COPIES for path in root.glob(pattern)})


def install_cell(url):
    """Return the first code cell of every chapter."""
    return f'''import os

url = "{url}"
if "COLAB_RELEASE_TAG" in os.environ:  # Colab lacks the package that this chapter imports
    if "/OWNER/" in url:
        print("This copy of the book has no address yet. Set one: make address URL=…")
    else:
        %pip install -q "git+{{url}}"'''


def forms(url):
    """Return the forms of an address: on GitHub, in Colab, and on GitHub Pages."""
    owner, name = SHAPE.fullmatch(url).groups()
    return (
        f"github.com/{owner}/{name}",
        f"colab.research.google.com/github/{owner}/{name}",
        f"{owner}.github.io/{name}",
    )


def replace(text, old, new):
    """Return the text with each form of one address replaced by that of the other."""
    for before, after in zip(forms(old), forms(new), strict=True):
        # Not inside a longer name: a full stop or .git may follow, a letter may not.
        whole = rf"(?<![\w.]){re.escape(before)}(?![\w-]|\.(?!git\b)\w)"
        text = re.sub(whole, after, text)
    return text


def write(url, root=ROOT):
    """Set the address in _config.yml and in every copy; return the files changed."""
    found = SHAPE.fullmatch(url)
    if not found:
        raise ValueError(
            f"Expected an address such as https://github.com/me/fork. Received: {url!r}"
        )
    old, new = address(root), "https://github.com/{}/{}".format(*found.groups())
    changed = []
    for path in [root / "_config.yml", *copies(root)]:
        before = path.read_text("utf8")
        after = replace(before, old, new)
        if after != before:
            path.write_text(after, "utf8")
            changed.append(path)
    return changed


def main():
    if len(sys.argv) != 2:
        sys.exit("Usage: make address URL=https://github.com/me/fork")
    try:
        changed = write(sys.argv[1])
    except ValueError as error:
        sys.exit(str(error))
    for path in changed:
        print(f"  {path.relative_to(ROOT)}")
    print(f"The address is {address()}")


if __name__ == "__main__":
    main()
