import nbformat
import pytest
import sync

CHAPTER = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A small chapter

```{code-cell} ipython3
# from https://github.com/OWNER/small
print("loss", 0.25)
```

```{code-cell} ipython3
:tags: [raises-exception]

raise ValueError("no")
```

```{code-cell} ipython3
:nbval:
:  rtol: 0.2

0.5
```
"""


@pytest.mark.parametrize("chapter", sync.chapters(), ids=lambda chapter: chapter.stem)
def test_notebook_is_in_step_with_its_text(chapter):
    assert sync.problems(chapter) == []


def test_there_are_chapters_and_no_stray_notebooks():
    assert sync.chapters()
    assert sync.strays() == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small chapter's text and its notebook, run once."""
    book = tmp_path_factory.mktemp("book")
    (book / "chapters").mkdir()
    (book / "chapters/01-small.md").write_text(CHAPTER)
    chapter = book / "chapters/01-small.md"
    sync.write(chapter)
    return sync.notebook_path(chapter).read_text("utf8")


@pytest.fixture
def chapter(tmp_path, executed):
    """A copy of the small chapter that a test may spoil."""
    (tmp_path / "chapters").mkdir()
    (tmp_path / "notebooks").mkdir()
    text = tmp_path / "chapters/01-small.md"
    text.write_text(CHAPTER)
    sync.notebook_path(text).write_text(executed)
    return text


def spoil(chapter, change):
    """Change the stored notebook, and return what is then said of it."""
    path = sync.notebook_path(chapter)
    stored = sync.read_notebook(path)
    change(stored)
    nbformat.write(stored, path)
    return "; ".join(sync.problems(chapter))


def edit(chapter, old, new):
    text = chapter.read_text()
    assert old in text
    chapter.write_text(text.replace(old, new))


def test_a_fresh_notebook_is_in_step(chapter):
    assert sync.problems(chapter) == []


def test_a_chapter_without_a_notebook_is_refused(chapter):
    sync.notebook_path(chapter).unlink()
    assert sync.problems(chapter) == ["it has no notebook"]


def test_a_notebook_without_a_chapter_is_refused(chapter):
    stray = chapter.parents[1] / "notebooks/02-stray.ipynb"
    stray.write_text("{}")
    assert sync.strays(chapter.parents[1]) == [stray]


def test_edited_words_are_refused_until_written_and_run_nothing(chapter, monkeypatch):
    edit(chapter, "# A small chapter", "# A small, better chapter")
    assert sync.problems(chapter) == ["text and notebook differ"]
    monkeypatch.setattr(sync, "run", lambda *_: pytest.fail("nothing should run"))
    sync.write(chapter)
    assert sync.problems(chapter) == []


def seconds(chapter):
    return sync.read_notebook(sync.notebook_path(chapter)).metadata.get("seconds")


def test_a_notebook_says_how_long_it_ran_also_after_its_words_changed(chapter):
    ran = seconds(chapter)
    assert isinstance(ran, int)
    edit(chapter, "# A small chapter", "# A small, better chapter")
    sync.write(chapter)
    assert seconds(chapter) == ran


def test_a_notebook_that_does_not_say_how_long_it_ran_is_in_step(chapter):
    def change(stored):
        del stored.metadata["seconds"]

    assert spoil(chapter, change) == ""
    edit(chapter, "# A small chapter", "# A small, better chapter")
    sync.write(chapter)
    assert sync.problems(chapter) == []
    assert seconds(chapter) is None


def test_words_are_written_and_code_is_not_run_if_only_words_may_change(chapter, monkeypatch):
    monkeypatch.setattr(sync, "chapters", lambda: [chapter])
    monkeypatch.setattr(sync, "strays", list)
    monkeypatch.setattr(sync.sys, "argv", ["sync.py", "--words"])
    monkeypatch.setattr(sync, "run", lambda *_: pytest.fail("nothing should run"))
    edit(chapter, "# A small chapter", "# A small, better chapter")
    with pytest.raises(SystemExit, match="0"):
        sync.main()
    edit(chapter, "0.25", "0.26")
    with pytest.raises(SystemExit, match="1"):
        sync.main()


def test_edited_code_is_refused(chapter):
    edit(chapter, "0.25", "0.26")
    assert "code changed since it was run" in sync.problems(chapter)


def test_code_edited_in_both_halves_is_refused(chapter):
    edit(chapter, "0.25", "0.26")

    def change(stored):
        stored.cells[1].source = stored.cells[1].source.replace("0.25", "0.26")

    assert spoil(chapter, change) == "code changed since it was run"


@pytest.mark.parametrize(
    "new", ["nbval: {rtol: 0.1}", "tags: [mnist]"], ids=["tolerance", "tag"]
)
def test_an_edited_tolerance_or_tag_is_refused(chapter, new):
    edit(chapter, ":nbval:\n:  rtol: 0.2", f":{new}")
    assert "text and notebook differ" in sync.problems(chapter)


def test_a_cell_that_was_never_run_is_refused(chapter):
    def change(stored):
        stored.cells[1].execution_count = None

    assert "cell 0 was never run" in spoil(chapter, change)


def test_a_stripped_notebook_is_refused(chapter):
    def change(stored):
        for cell in sync.code_cells(stored):
            cell.outputs, cell.execution_count = [], None

    found = spoil(chapter, change)
    assert "was never run" in found
    assert "outputs changed since it was run" in found


def test_an_emptied_output_is_refused(chapter):
    def change(stored):
        stored.cells[1].outputs = []

    assert spoil(chapter, change) == "outputs changed since it was run"


def test_an_edited_output_is_refused_and_run_again(chapter, monkeypatch):
    def change(stored):
        stored.cells[1].outputs[0].text = "loss 0.2525\n"

    assert spoil(chapter, change) == "outputs changed since it was run"
    ran = []
    monkeypatch.setattr(sync, "run", lambda notebook, chapter: ran.append(chapter))
    sync.write(chapter)
    assert ran == [chapter]


def test_a_stored_error_is_refused_without_its_tag(chapter):
    def change(stored):
        stored.cells[2].metadata.tags = []

    assert "cell 1 failed with ValueError" in spoil(chapter, change)


def test_an_expected_error_that_did_not_come_is_refused(chapter):
    def change(stored):
        stored.cells[2].outputs = []

    assert "cell 1 is tagged raises-exception and raised nothing" in spoil(chapter, change)


def test_stored_stderr_is_refused(chapter):
    def change(stored):
        out = nbformat.v4.new_output("stream", name="stderr", text="oneDNN is on")
        stored.cells[1].outputs.append(out)

    assert "cell 0 wrote to stderr: 'oneDNN is on'" in spoil(chapter, change)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"nbval": {"rtol": 5}}, "has nbval: rtol: 5, expected"),
        ({"nbval": {"rtol": float("nan")}}, "has nbval: rtol: nan, expected"),
        ({"nbval": {"rtol": True}}, "has nbval: rtol: True, expected"),
        ({"nbval": {"tol": 0.1}}, "has nbval: tol: 0.1, expected"),
        ({"tags": ["nbval-skip"]}, "has unknown tags ['nbval-skip']"),
        ({"tags": ["mnsit"]}, "has unknown tags ['mnsit']"),
        ({"tags": ["nbval-ignore-output"]}, "expected a comment that says why"),
    ],
)
def test_metadata_that_would_let_a_wrong_cell_pass_is_refused(metadata, expected):
    cell = nbformat.v4.new_code_cell("1", execution_count=1, metadata=metadata)
    assert expected in "; ".join(sync.cell_problems(cell))


def test_a_comment_that_steers_nbval_is_refused():
    cell = nbformat.v4.new_code_cell("# NBVAL_SKIP\n1", execution_count=1)
    assert sync.cell_problems(cell) == ["steers nbval by a comment, expected a tag"]


def test_the_address_does_not_count_as_code(chapter, monkeypatch):
    digests = []
    for url in ("https://github.com/OWNER/small", "https://github.com/me/fork"):
        chapter.write_text(CHAPTER.replace("https://github.com/OWNER/small", url))
        monkeypatch.setattr(sync, "address", lambda url=url: url)
        digests.append(sync.code_digest(sync.read_chapter(chapter)))
    assert digests[0] == digests[1]
