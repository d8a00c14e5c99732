"""Leave out of the theme's style sheets the rules that no page of the book can use.

The theme brings all of Bootstrap. A rule is kept if each of its classes occurs as a word in
some page or script. This keeps every rule that is needed, and some that are not.
"""

import re

WORD = re.compile(r"[A-Za-z_][\w-]*")
CLASS = re.compile(r"\.((?:[A-Za-z_]|-[A-Za-z_-])[\w-]*)")
NOT = re.compile(r":not\([^()]*(?:\([^()]*\)[^()]*)*\)")


def words(texts):
    """Return every word of some texts, which may name a class."""
    return {word for text in texts for word in WORD.findall(text)}


def rules(sheet):
    """Yield a style sheet's parts: (head, body), or (statement, None)."""
    at = 0
    while at < len(sheet):
        found = re.compile(r"[{;]").search(sheet, skip_strings(sheet, at))
        if not found:
            return
        if found[0] == ";":
            yield sheet[at : found.end()].strip(), None
            at = found.end()
            continue
        depth, end = 1, found.end()
        while depth:
            brace = re.compile(r"[{}]|\"[^\"]*\"|'[^']*'").search(sheet, end)
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            end = brace.end()
        yield sheet[at : found.start()].strip(), sheet[found.end() : end - 1]
        at = end


def skip_strings(sheet, at):
    """Return the place after the strings of @import and @charset."""
    statement = r"\s*@(?:import|charset)\s(?:\"[^\"]*\"|'[^']*'|[^;\"'])*"
    found = re.compile(statement).match(sheet, at)
    return found.end() if found else at


def selectors(head):
    """Split a list of selectors at its commas, but not at those inside brackets."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(head):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append(head[start:at])
            start = at + 1
    return [*parts, head[start:]]


def is_used(selector, used):
    """Tell whether every class that a selector asks for is among the words in use."""
    return all(name in used for name in CLASS.findall(NOT.sub("", selector)))


def smaller(sheet, used):
    """Return a style sheet without comments, and without rules that match nothing."""
    kept = []
    for head, body in rules(re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)):
        if body is None:
            kept.append(head)
        elif head.startswith(("@media", "@supports")):
            inside = smaller(body, used)
            if inside:
                kept.append(f"{head}{{{inside}}}")
        elif head.startswith("@"):
            kept.append(f"{head}{{{' '.join(body.split())}}}")
        else:
            wanted = [part.strip() for part in selectors(head) if is_used(part, used)]
            if wanted:
                kept.append(f"{','.join(wanted)}{{{' '.join(body.split())}}}")
    return "\n".join(kept)


def shrink(static, pages):
    """Shrink the theme's style sheets in a folder to what the texts of the pages need."""
    scripts = [path for path in static.rglob("*.js") if "mathjax" not in path.parts]
    used = words([*pages, *(path.read_text("utf8") for path in scripts)])
    for path in sorted(static.rglob("*.css")):
        if path.name != "book.css":
            path.write_text(smaller(path.read_text("utf8"), used), "utf8")
