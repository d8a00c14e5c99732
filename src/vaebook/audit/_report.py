"""What an audit found, as text and as a table."""

import html
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Code:
    """What one code stands for."""

    wrong: str
    fix: str
    chapter: int


CODES: dict[str, Code] = {
    "does-not-train": Code(
        "the training step raises an error", "read the error; the index lists them", 12
    ),
    "not-finite": Code(
        "a number that is not finite",
        "repair the layer, loss or data named here; clip the argument of log and exp",
        15,
    ),
    "nan-target-with-zero-weight": Code(
        "labels that are NaN where their weight is 0: NaN · 0 is NaN",
        "mask_missing, or any number instead of the NaN, with the weight 0",
        16,
    ),
    "kl-absent": Code(
        "the KL term has no effect on any weight",
        "give mu and log_var a loss, or put the KL layer on the path to z",
        9,
    ),
    "output-without-loss": Code(
        "an output that has a target and no loss",
        "add the output's name to the dict of losses",
        6,
    ),
    "layer-losses-ignored": Code(
        "losses of layers that the step leaves out", "add sum(self.losses) to the total", 11
    ),
    "weights-by-position": Code(
        "a loss weight that acts on another output than it names",
        "a dict whose keys are the names of the outputs",
        6,
    ),
    "losses-by-position": Code(
        "losses in a list, matched to a dict of outputs in alphabetical order",
        "a dict whose keys are the names of the outputs",
        6,
    ),
    "targets-by-position": Code(
        "targets matched in another order than given",
        "a dict whose keys are the names of the outputs",
        6,
    ),
    "target-broadcast": Code(
        "target and prediction differ in shape and are broadcast",
        "give the target the shape of the prediction",
        7,
    ),
    "targets-out-of-range": Code(
        "a cross-entropy with targets that are no probabilities",
        "scale the targets to [0, 1]",
        15,
    ),
    "logits-mismatch": Code(
        "a cross-entropy that expects the other of logits and probabilities",
        "let from_logits agree with the last activation",
        19,
    ),
    "constant-output": Code(
        "an output that is the same whatever the weights and the input",
        "a softmax needs a unit for each class; for one unit take a sigmoid",
        19,
    ),
    "no-gradient": Code(
        "trainable weights that no loss reaches",
        "connect them to a loss, or set trainable = False",
        9,
    ),
    "loss-weight-trained": Code(
        "a weight of the loss that the optimizer trains",
        "keep the variable inside a loss object, or make it non-trainable",
        9,
    ),
    "kl-other-form": Code(
        "the objective is not a · reconstruction + b · KL",
        "compare the loss with chapter 2's formula, mu and log_var in their places",
        2,
    ),
    "sum-over-batch": Code(
        "a loss term that grows with the batch size", "take the mean over the batch", 9
    ),
    "divided-by-batch": Code(
        "a loss term that is divided by the batch size once more",
        "take the sum over the batch there",
        12,
    ),
    "counted-twice": Code(
        "a layer's loss that enters the total more than once",
        "call the layer once; compute_loss has model.losses in it already",
        9,
    ),
    "same-noise": Code(
        "noise that does not change",
        "keras.random with a SeedGenerator of the layer, and one row per sample",
        4,
    ),
    "training-flag-ignored": Code(
        "layers that behave in training as in inference",
        "pass training=True to each network in the step",
        11,
    ),
    "loss-not-scaled": Code(
        "the optimizer divides by a scale that the loss never got",
        "loss = self.optimizer.scale_loss(loss), inside the tape",
        11,
    ),
    "scalar-loss": Code(
        "a loss that returns one number for the whole batch",
        "return one value per sample, shape (batch,)",
        6,
    ),
    "loss-keeps-axes": Code(
        "a loss that returns more than one value per sample",
        "take the mean or the sum over all axes but the first",
        6,
    ),
    "sample-weight-ignored": Code(
        "a term that sample weights do not reach",
        "a loss of compile, or unpack the weights in the step; give fit a target",
        10,
    ),
    "metrics-not-logged": Code(
        "metrics of compile that never reach the log",
        "return self.compute_metrics(...) from the step",
        11,
    ),
    "log-moved-by-predict": Code(
        "a tracker that averages predictions too",
        "let the layer's tracker count only what it sees with training=True",
        9,
    ),
    "parts-do-not-add-up": Code(
        "logged parts that differ from the logged total", "put weights inside the losses", 6
    ),
    "posterior-collapsed": Code(
        "latent variables whose KL is practically 0",
        "a smaller beta, or fewer latent variables",
        15,
    ),
    "does-not-reload": Code(
        "saving and loading in safe mode fails, or changes the model",
        "register classes and functions, and write get_config",
        4,
    ),
    "not-divided-by-replicas": Code(
        "a total that tf.distribute would count once per replica",
        "divide by num_replicas_in_sync, as Keras does",
        10,
    ),
    "target-not-read": Code(
        "the loss never reads its target", "targets of shape (n, 0) take no memory", 7
    ),
}
"""What each code means, how to fix it, and which chapter shows it; the most harmful first."""

ORDER = {code: place for place, code in enumerate(CODES)}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        code: one of `CODES`.
        where: the output, layer, weight or argument.
        message: what was measured.
        fix: what to do about it.
        chapter: the chapter of the book that shows it.
    """

    code: str
    where: str
    message: str
    fix: str
    chapter: int


@dataclass(frozen=True)
class Output:
    """One term of the loss, usually an output of the model.

    Attributes:
        name: the output's name. If the term has no output, the name of what adds the term.
        loss: the loss's name, or None.
        weight: the factor that really acts, as measured; None if there is no loss.
        target: shape and dtype of the target in the batch, or None.
        value: the loss's value on the batch, without its weight.
        adds: what it adds to the total.
        gradient_share: the norm of its gradient, divided by that of the whole gradient.
    """

    name: str
    loss: str | None = None
    weight: float | None = None
    target: str | None = None
    value: float | None = None
    adds: float | None = None
    gradient_share: float | None = None


@dataclass(repr=False)
class Audit:
    """The report of `audit`; print it, or let a notebook show it.

    Attributes:
        outputs: a row for each term of the loss.
        findings: what is wrong, the most harmful first.
        information: what is worth knowing and not wrong.
        not_checked: why a code was not checked, by code.
        beta: a `MeasuredBeta`, if `codes` and `reconstruct` were given.
        seconds: how long the audit took.
    """

    outputs: list[Output] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    information: list[Finding] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    beta: object = None
    seconds: float = 0.0

    def found(self, code: str) -> bool:
        """Tell whether one of the findings has this code."""
        return any(finding.code == code for finding in self.findings)

    def __str__(self):
        lines = [_table(self.outputs), ""]
        if self.beta is not None:
            lines += [f"beta: {self.beta}", ""]
        lines.append(f"{len(self.findings) or 'no'} {_plural('finding', self.findings)}")
        for number, finding in enumerate(self.findings, 1):
            lines += ["", f"{number}. {finding.code} ({finding.where})"]
            lines += _wrapped(finding.message)
            lines += _wrapped(f"fix: {finding.fix} (chapter {finding.chapter})")
        if self.information:
            lines += ["", "for your information"]
            for each in self.information:
                lines += _wrapped(f"- {each.code} ({each.where}): {each.message}", "  ")
        if self.not_checked:
            lines += ["", "not checked"]
            for code, reason in self.not_checked.items():
                lines += _wrapped(f"- {code}: {reason}", "  ")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self):
        parts = [_html_table(["output", *_COLUMNS], [_cells(row) for row in self.outputs])]
        if self.beta is not None:
            parts.append(f"<p>beta: {html.escape(str(self.beta))}</p>")
        if self.findings:
            rows = [
                [each.code, each.where, each.message, each.fix, str(each.chapter)]
                for each in self.findings
            ]
            parts.append(_html_table(["finding", "where", "measured", "fix", "chapter"], rows))
        else:
            parts.append("<p>No findings.</p>")
        if self.information:
            rows = [[each.code, each.where, each.message] for each in self.information]
            parts.append(_html_table(["information", "where", "measured"], rows))
        if self.not_checked:
            rows = [[code, reason] for code, reason in self.not_checked.items()]
            parts.append(_html_table(["not checked", "because"], rows))
        return "\n".join(parts)


_COLUMNS = ("loss", "weight", "target", "value", "adds", "gradient")


def _plural(word, things):
    return word if len(things) == 1 else f"{word}s"


def _cells(row):
    return [
        row.name,
        row.loss or "–",
        _figure(row.weight),
        row.target or "–",
        _figure(row.value),
        _figure(row.adds),
        "–" if row.gradient_share is None else f"{row.gradient_share:.0%}",
    ]


def _figure(value):
    return "–" if value is None or np.isnan(value) else f"{value:.4g}"


def _table(rows):
    cells = [["output", *_COLUMNS], *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _wrapped(text, indent="   "):
    return textwrap.wrap(text, 88, initial_indent=indent, subsequent_indent=indent + "  ")


def _html_table(heads, rows):
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def joined(names: list[str] | Mapping, most: int = 4) -> str:
    """Return names as one text, with the number of those left out."""
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
