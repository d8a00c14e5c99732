"""The list of chapters and links to them, read from `_toc.yml` and the chapters' pages.

    ```{chapter-list}
    2: Where does the KL term come from?
    ```

lists every chapter with its title, the question that it opens with, how long it takes to
read and to run, and what it needs. A line of the directive's content gives a chapter another
question. The role ``{chapter}`6` `` links to a chapter by its number, and
``{chapter}`your own words <6>` `` does so with other words. ``<first>`` is the first chapter.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2]
WORDS_PER_MINUTE = 220
LINES_PER_MINUTE = 20  # of code, which is read more slowly


@dataclass
class Chapter:
    """A chapter's notebook, and what can be read from it."""

    document: str  # such as book/notebooks/06-a-loss-for-each-output
    root: Path = ROOT

    @property
    def number(self):
        return int(self.document.rpartition("/")[2].partition("-")[0])

    @cached_property
    def notebook(self):
        return json.loads((self.root / f"{self.document}.ipynb").read_text("utf8"))

    def sources(self, kind):
        cells = self.notebook["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]

    @property
    def title(self):
        return re.search(r"^# (.+)$", "\n".join(self.sources("markdown")), re.M)[1].strip()

    @property
    def question(self):
        """The first question of the opening, or its first sentence if it has no question."""
        opening = "\n\n".join(self.sources("markdown")).partition("\n## ")[0]
        opening = re.sub(r"^#.*$|^:::.*$|\[([^\]]*)\]\([^)]*\)", r"\1", opening, flags=re.M)
        paragraphs = [" ".join(part.split()) for part in opening.split("\n\n")]
        sentences = [
            sentence.strip()
            for part in paragraphs
            for sentence in re.findall(r"[^.?!:]+(?:\.(?=\w)[^.?!:]+)*[.?!]", part)
        ]
        asked = [sentence for sentence in sentences if sentence.endswith("?")]
        return re.sub(r"\*\*|`", "", (asked or sentences or [""])[0])

    @property
    def minutes(self):
        words = sum(len(source.split()) for source in self.sources("markdown"))
        lines = sum(source.count("\n") + 1 for source in self.sources("code"))
        return max(1, round(words / WORDS_PER_MINUTE + lines / LINES_PER_MINUTE))

    @property
    def seconds(self):
        """How long its run took, or None if its notebook does not say."""
        return self.notebook["metadata"].get("seconds")

    @property
    def needs(self):
        """What a run needs beyond the package."""
        code = "\n".join(self.sources("code"))
        return [
            word
            for word, mark in (
                ("MNIST", "load_images("),
                ("stored records", "load_record("),
                ("two logical devices", "LogicalDevice"),
            )
            if mark in code
        ]

    @property
    def times(self):
        said = [f"{self.minutes} min to read"]
        if self.seconds:
            said.append(f"{spoken(self.seconds)} to run")
        if self.needs:
            said.append(f"needs {', '.join(self.needs)}")
        return " · ".join(said)


def spoken(seconds):
    """Return a time in words, such as 40 s or 2 min."""
    return (
        f"{round(seconds / 10) * 10 or 10} s" if seconds < 95 else f"{round(seconds / 60)} min"
    )


def parts(root=ROOT):
    """Return each part's caption with its chapters, in the order of the book."""
    contents = yaml.safe_load((root / "_toc.yml").read_text("utf8"))
    found = []
    for part in contents["parts"]:
        files = [entry["file"] for entry in part["chapters"]]
        listed = [Chapter(file, root) for file in files if "/notebooks/" in file]
        if listed:
            found.append((part["caption"], listed))
    return found


def reference(chapter, here, children, builder):
    link = addnodes.pending_xref(
        "",
        *children,
        refdomain="std",
        reftype="doc",
        refdoc=here,
        reftarget=f"/{chapter.document}",
        refexplicit=True,
        refwarn=True,
    )
    return link


class ChapterList(SphinxDirective):
    """The list of all chapters, part by part."""

    has_content = True

    def questions(self):
        """Read the questions that the content asks, by the number of their chapter."""
        asked = {}
        for line in filter(str.strip, self.content):
            number, colon, question = line.partition(":")
            known = [chapter.number for _, chapters in parts() for chapter in chapters]
            if not colon or not number.isdigit() or int(number) not in known:
                raise self.error(f"Expected `number: question` of {known}. Received: {line!r}.")
            asked[int(number)] = question.strip()
        return asked

    def run(self):
        shown, asked = [], self.questions()
        for caption, chapters in parts():
            self.env.note_dependency(str(ROOT / "_toc.yml"))
            heading = nodes.rubric(caption, caption, classes=["part"])
            heading["heading-level"] = 3
            items = nodes.bullet_list(classes=["chapters"])
            for chapter in chapters:
                self.env.note_dependency(str(ROOT / f"{chapter.document}.ipynb"))
                number, title = chapter.title.split(". ", 1)
                words = nodes.inline("", "", nodes.inline("", f"{number}. "), nodes.Text(title))
                words.children[0]["classes"] = ["number"]
                link = reference(chapter, self.env.docname, [words], None)
                items += nodes.list_item(
                    "",
                    nodes.paragraph("", "", link, classes=["name"]),
                    nodes.paragraph(
                        "", asked.get(chapter.number, chapter.question), classes=["question"]
                    ),
                    nodes.paragraph("", chapter.times, classes=["times"]),
                )
            shown += [heading, items]
        return shown


class ChapterRole(SphinxRole):
    """A link to a chapter by its number."""

    def run(self):
        given = re.fullmatch(r"(?:(.*)<)?\s*(\d+|first)\s*>?", self.text, re.S)
        numbers = {str(chapter.number): chapter for _, each in parts() for chapter in each}
        numbers["first"] = next(iter(numbers.values()))
        if not given or given[2] not in numbers:
            message = self.inliner.reporter.error(
                f"Expected a chapter out of {list(numbers)}. Received: {self.text!r}.",
                line=self.lineno,
            )
            return [], [message]
        chapter = numbers[given[2]]
        words = (given[1] or "").strip() or f"chapter {chapter.number}"
        return [reference(chapter, self.env.docname, [nodes.inline("", words)], None)], []


def setup(app):
    app.add_directive("chapter-list", ChapterList)
    app.add_role("chapter", ChapterRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
