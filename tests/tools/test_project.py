"""The files around the book say what is true: commands, table of contents, workflow."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import sync
import yaml
from address import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

README = ROOT / "README.md"
WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"
OURS = ("python3 -m venv", ".venv/bin/")  # how a line of set-up begins in the README
MACHINE = re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/")


def load(path):
    return yaml.safe_load((ROOT / path).read_text("utf8"))


def blocks(path):
    """Return the lines of a page's blocks of shell commands."""
    found = re.findall(r"^```(?:bash|sh)\n(.*?)^```", path.read_text("utf8"), re.M | re.S)
    return [line for block in found for line in block.splitlines()]


def dry_run(*targets):
    """Return the lines that make would run on a clean clone."""
    # Without what `make test PYTHON=…` hands on: the README says what plain make runs.
    ours = {name for name in os.environ if "MAKE" in name} | {"PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", *targets],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.replace("\\\n", " ").splitlines()


def test_every_chapter_is_in_the_table_of_contents_and_the_reverse():
    files = [entry["file"] for part in load("_toc.yml")["parts"] for entry in part["chapters"]]
    listed = [file for file in files if file.startswith("book/notebooks/")]
    chapters = sync.chapters()
    assert listed == [f"book/notebooks/{chapter.stem}" for chapter in chapters]


def test_every_page_is_in_the_table_of_contents():
    toc = load("_toc.yml")
    files = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    pages = {f"book/appendix/{path.stem}" for path in ROOT.glob("book/appendix/*.md")}
    assert pages <= files
    assert toc["root"] == "book/index"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_is_a_target(name):
    targets = re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / name).read_text("utf8"), re.M)
    assert targets
    for target in sorted(set(targets)):
        assert dry_run(target, "URL=https://github.com/me/fork")


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_plain_lines_of_the_readme_are_those_of_the_makefile():
    plain = [line for line in blocks(README) if line.startswith(OURS)]
    made = [" ".join(line.split()) for line in dry_run("book", "test")]
    assert len(plain) >= 6
    assert [line for line in plain if line not in made] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_local_link_leads_somewhere(name):
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text("utf8"))
    assert [link for link in links if ":" not in link and not (ROOT / link).exists()] == []


def test_the_checks_of_a_change_are_the_two_commands_of_the_readme():
    lines = (ROOT / ".ci" / "run").read_text("utf8").splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make test", "make book"]
    assert {"make test", "make book"} <= set(blocks(README))


def test_every_action_is_pinned_by_its_commit():
    uses = re.findall(r"uses: (\S+)(.*)", WORKFLOW.read_text("utf8"))
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", comment), action


def test_only_publishing_may_write():
    workflow = load(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    allowed = {name: job.get("permissions") for name, job in workflow["jobs"].items()}
    publish = allowed.pop("publish")
    assert publish == {"pages": "write", "id-token": "write"}
    assert set(allowed.values()) == {None}


def test_nothing_names_a_folder_of_the_authors_machine():
    files = [path for path in ROOT.glob("*") if path.is_file()]
    for folder in ("book", "src", "tools", "tests", ".github", ".ci"):
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = [
        path for path in files if path.suffix in (".md", ".ipynb", ".json", ".txt", ".yml")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts
        for match in MACHINE.finditer(path.read_text("utf8"))
    ]
    assert found == []


def requirements(lines):
    """Return the requirements of some lines by name."""
    kept = (line.split("#")[0].strip() for line in lines)
    found = [Requirement(line) for line in kept if line and not line.startswith("-")]
    return {one.name.lower(): one.specifier for one in found}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
ACCEPTED = requirements(PROJECT["dependencies"])
ASKED = requirements((ROOT / "requirements.in").read_text("utf8").splitlines())
LOCKED = dict(
    re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf8"), re.M)
)
COLAB = requirements((ROOT / ".github" / "colab.txt").read_text("utf8").splitlines())


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_book_asks_for_no_version_that_the_package_refuses(name):
    lowest = min(Version(one.version) for one in ASKED[name] if one.operator == ">=")
    assert lowest in ACCEPTED[name]


@pytest.mark.parametrize("name", ASKED)
def test_the_lock_holds_what_the_book_asks_for(name):
    assert Version(LOCKED[name]) in ASKED[name], "make lock"


def test_the_quick_check_needs_only_what_is_locked():
    light = requirements((ROOT / "requirements-check.in").read_text("utf8").splitlines())
    assert set(light) <= set(LOCKED)
    assert not set(light) & set(ASKED), "requirements.in includes requirements-check.in"


@pytest.mark.parametrize("name", sorted(set(ACCEPTED) & set(COLAB)))
def test_the_package_accepts_the_version_of_colab(name):
    (version,) = (one.version for one in COLAB[name])
    assert Version(version) in ACCEPTED[name]


def test_the_tests_that_colab_runs_import_only_what_colab_has():
    folder = ROOT / "tests" / "package"
    own = {"vaebook", *(path.stem for path in folder.glob("*.py"))}
    there = own | {*COLAB, "PIL"} | sys.stdlib_module_names  # matplotlib needs PIL
    lines = re.compile(r"^\s*(?:import|from) (\w+)", re.M)
    found = {
        f"{path.name}: {name}"
        for path in folder.glob("*.py")
        for name in lines.findall(path.read_text("utf8"))
        if name not in there
    }
    assert not found


def test_the_oldest_python_is_named_alike_everywhere():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["ruff"]
    assert ruff["target-version"] == f"py{oldest.replace('.', '')}"
    makefile = (ROOT / "Makefile").read_text("utf8")
    assert f"--python-version {oldest} " in makefile
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile
    assert f"Python {oldest} or newer" in makefile
    assert f"Python {oldest} or newer" in README.read_text("utf8")
    assert oldest in load(WORKFLOW)["jobs"]["book"]["strategy"]["matrix"]["python"]


def test_the_readme_s_uv_is_that_of_the_makefile():
    (uv,) = re.findall(r"^UV := (\S+)$", (ROOT / "Makefile").read_text("utf8"), re.M)
    assert set(re.findall(r"uv==(\S+)", README.read_text("utf8"))) == {uv}


def test_the_package_s_version_stands_in_the_package_only():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in load("CITATION.cff")


def test_each_module_has_its_section_on_the_page_of_the_package():
    page = (ROOT / "book" / "appendix" / "api.md").read_text("utf8")
    sections = re.findall(r"^\.\. automodule:: vaebook\.(\w+)$", page, re.M)
    files = [*ROOT.glob("src/vaebook/*.py"), *ROOT.glob("src/vaebook/*/__init__.py")]
    names = [path.parent.name if path.stem == "__init__" else path.stem for path in files]
    modules = [name for name in names if name != "vaebook" and name[0] != "_"]
    assert sorted(sections) == sorted(modules)
