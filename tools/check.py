"""Check what changed since main, in less than a minute.

    python tools/check.py

It always checks lint, format, links, headings, words, and that each notebook agrees with its
chapter. If only words of a chapter changed, it writes them into the notebook. Then it runs the
tests of what changed, found by name: src/vaebook/losses.py has tests/package/test_losses.py.

It leaves out tests that need TensorFlow, if that is not installed, and always those that take
minutes. The last lines name the tests left out. `make test` runs everything.
"""

import importlib.util
import subprocess
import sys
import time

from address import ROOT

# These tests need no TensorFlow, and notice what a change of words can break.
ALWAYS = (
    "tests/book/test_chapters.py",
    "tests/book/test_reading.py",
    "tests/book/test_words.py",
    "tests/tools/test_project.py",
)
# Files whose tests have another name, or that have more tests than those of their name.
TESTS = {
    "book/appendix/claims.md": "tests/book/test_claims.py",
    "book/appendix/errors.md": "tests/book/test_errors.py",
    "book/appendix/from-keras-2.md": "tests/book/test_porting.py",
    "book/_ext/search_words.py": "tests/book/test_search_words.py",
    "book/appendix/programs.md": "tests/book/test_questions.py",
    "book/appendix/questions.md": "tests/book/test_questions.py",
    "book/appendix/reports.md": "tests/book/test_reports.py",
    "tools/breaks.py": "tests/book/test_porting.py",
    "tools/keras2.py": "tests/book/test_porting.py",
    "tools/part_vi.py": "tests/tools/test_cost_ladder.py",
    "conftest.py": "tests/tools/test_conftest.py",
    "_config.yml": "tests/tools/test_address.py",
}
LIGHT = (
    "tests/book/test_claims.py",
    "tests/tools/test_address.py",
    "tests/tools/test_check.py",
    "tests/tools/test_compare.py",
)
MINUTES = (
    "tests/book/test_porting.py",
    "tests/book/test_reports.py",
    "tests/package/test_behaviours.py",
    "tests/package/test_theorem.py",
)


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed():
    """Return the files that changed since this branch left main, new ones included."""
    heads = [head for head in ("origin/main", "main") if git("rev-parse", "--verify", head)]
    common = git("merge-base", "HEAD", heads[0]) if heads else []  # a shallow clone has none
    base = common[0] if common else "HEAD"
    return git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")


def tests_of(path):
    """Return the tests of one file, as a set that may be empty."""
    folder, _, name = path.rpartition("/")
    if path in TESTS:
        return {TESTS[path]}
    if folder.startswith("tests/") and name.startswith("test_"):
        return {path}
    if folder == "book/appendix/reports":
        return {"tests/book/test_reports.py"}
    if folder == "book/appendix/programs":
        return {"tests/book/test_questions.py"}
    if folder in ("src/vaebook", "tools") and name.endswith(".py"):
        where = "package" if folder == "src/vaebook" else "tools"
        return {f"tests/{where}/test_{name}"}
    if folder in ("src/vaebook/recorded", "tools/records"):
        return {"tests/tools/test_saving.py", "tests/package/test_records.py"}
    return set()


def plan(paths, tensorflow):
    """Return the tests to run now and, by reason, those that are left to `make test`."""
    found = set(ALWAYS).union(*(tests_of(path) for path in paths))
    found = {test for test in found if (ROOT / test).exists()}
    later = {"takes minutes": sorted(found & set(MINUTES))}
    found -= set(MINUTES)
    if not tensorflow:
        heavy = found - set(ALWAYS) - set(LIGHT)
        later["needs TensorFlow"] = sorted(heavy)
        found -= heavy
    return sorted(found), later


def main():
    started = time.monotonic()
    tests, later = plan(changed(), importlib.util.find_spec("tensorflow") is not None)
    python = sys.executable
    steps = (
        [python, "-m", "ruff", "check", "--quiet"],
        [python, "-m", "ruff", "format", "--check", "--quiet"],
        [python, "tools/sync.py", "--words"],
        # Without nbval, which these tests do not need.
        [python, "-m", "pytest", "-q", "-o", "addopts=--strict-markers", *tests],
    )
    failed = [step for step in steps if subprocess.run(step, cwd=ROOT).returncode]
    for reason, names in later.items():
        for name in names:
            print(f"not run, {reason}: {name}")
    for step in failed:
        print("failed:", " ".join(step[1:]).removeprefix("-m "))
    print(f"{'failed' if failed else 'passed'} in {time.monotonic() - started:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
