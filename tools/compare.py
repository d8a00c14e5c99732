"""Compare the texts of two runs: words and integers exactly, decimals within a tolerance.

A decimal is a number with a point or an exponent. Everything else, integers and shapes
included, is a word.
"""

import difflib
import math
import re

# Processors and TensorFlow versions add up floats in different orders. After a training, a
# printed loss then differs by up to about 1e-4 of its size. The tolerance 1e-3 allows that,
# and still rejects a number that is wrong by 1 %.
RTOL = 1e-3
# The difference of two numbers that ought to be equal is rounding error. Below one
# millionth it counts as zero.
ATOL = 1e-6

NUMBER = re.compile(
    r"""
    (?<![\w.])                       # not inside a word or a version such as 3.13.2
    [-+]?
    (?: \d{1,3}(?:,\d{3})+\.\d+      # 1,234.5
      | \d+\.\d*                     # 0.25 and NumPy's 1.
      | \.\d+                        # .25
      | \d+(?=[eE][-+]?\d)           # 1e-05
    )
    (?: [eE][-+]?\d+ )?
    (?! [\w.]*\w )                   # nor at the head of a version or of 0.1ms
    """,
    re.VERBOSE,
)
ADDRESS_IN_MEMORY = re.compile(r"\b0x[0-9a-f]{6,16}\b")
# The picture inside an <img>; its alt text and caption stay, and are compared.
PICTURE = re.compile(r"""data:image/[^"'\s>]*""")
# The program, the data and the style of a live figure; its texts stand outside, and are
# compared.
PROGRAM = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)


def without_noise(text):
    """Return the text without the parts that differ in every run."""
    text = PROGRAM.sub(r"<\1>", ADDRESS_IN_MEMORY.sub("0x", text))
    return PICTURE.sub("data:image", text)


def words(text):
    """Return the text with each decimal as ``#`` and all white space as one space.

    The size of a picture is part of the picture.
    """
    text = re.sub(r'(?<=data:image") width="\d+" height="\d+"', "", text)
    return " ".join(NUMBER.sub(" # ", text).split())


def close(stored, new, rtol, atol):
    """Tell whether two decimals, given as text, agree."""
    if stored.endswith(".") and new.endswith("."):
        return stored == new  # this may be an integer that ends a sentence
    old, fresh = (float(number.replace(",", "")) for number in (stored, new))
    return math.isclose(old, fresh, rel_tol=rtol, abs_tol=atol)


def difference(stored, new, rtol=RTOL, atol=ATOL):
    """Describe how two texts differ. If they agree, return an empty text."""
    stored, new = without_noise(stored), without_noise(new)
    if words(stored) != words(new):
        lines = difflib.unified_diff(
            stored.splitlines(), new.splitlines(), "stored", "new", lineterm=""
        )
        return "the words differ:\n" + "\n".join(lines)
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(new), strict=True)
    wrong = [(old, fresh) for old, fresh in pairs if not close(old, fresh, rtol, atol)]
    if not wrong:
        return ""
    found = "\n".join(f"  stored {old}   new {fresh}" for old, fresh in wrong[:20])
    more = f"\n  and {len(wrong) - 20} more" if len(wrong) > 20 else ""
    return (
        f"these numbers differ by more than rtol {rtol:g}, atol {atol:g}:\n{found}{more}"
        f"\nstored text:\n{stored}\nnew text:\n{new}"
    )


def pieces(outputs):
    """List the contents of some outputs as pairs of kind and text, in a fixed order.

    Streams come first, each joined to one text, because their place among the other outputs
    depends on timing. stderr is left out: what libraries write there depends on the machine.
    """
    printed = "".join(
        out.text for out in outputs if out.output_type == "stream" and out.name == "stdout"
    )
    found = [("stdout", printed)] if printed else []
    for out in outputs:
        if out.output_type == "error":
            found.append(("error", f"{out.ename}: {out.evalue}"))
        for kind, content in sorted(out.get("data", {}).items()):
            # Pictures are not compared, but their presence is.
            text = content if isinstance(content, str) else repr(content)
            found.append((kind, "" if kind.startswith("image/") else text))
    return found


def outputs_differ(stored, new, rtol=RTOL, atol=ATOL):
    """Describe how the outputs of a cell differ. If they agree, return an empty text."""
    old, fresh = pieces(stored), pieces(new)
    old_kinds, new_kinds = [kind for kind, _ in old], [kind for kind, _ in fresh]
    if old_kinds != new_kinds:
        return (
            f"the kinds of output differ:\n  stored {old_kinds}\n  new    {new_kinds}\n"
            f"stored:\n{show(old)}\nnew:\n{show(fresh)}"
        )
    for (kind, before), (_, after) in zip(old, fresh, strict=True):
        found = difference(before, after, rtol, atol)
        if found:
            return f"in {kind}, {found}"
    return ""


def show(found):
    """Return the pieces as text for a message."""
    return "\n".join(f"  {kind}: {without_noise(text)[:2000]}" for kind, text in found)
