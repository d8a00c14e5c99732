"""Let search find a page by the other names of what it treats.

A reader who looks for "mixed precision" wants the pages that say bfloat16. Each pair of
`OTHER_NAMES` says: a page on which the first stands is also found by the second.
"""

import re

from docutils import nodes

OTHER_NAMES = (
    (r"bfloat16|mixed_float16", "mixed precision bf16 fp16 half precision"),
    (r"reparameteri[sz]ation", "reparameterization reparameterisation trick"),
    (r"active units?|carry nothing|collapse", "posterior collapse"),
    (r"posterior collapse", "KL vanishing KL is zero collapsed"),
    (r"Exploding KL", "KL explodes huge KL infinite inf overflow"),
    (r"Negative KL", "negative loss KL below zero kld"),
    (r"\breplicas?\b|MirroredStrategy", "MirroredStrategy tf.distribute multi GPU"),
    (r"\bKL term\b", "KL divergence Kullback Leibler"),
    (r"\bELBO\b|bound", "evidence lower bound variational"),
    (r"\bbeta\b", "beta-VAE"),
    (r"jit_compile|\bXLA\b", "XLA jit_compile"),
    (r"\.keras\b|load_model", "save load model serialization"),
    (
        r"(target|targets) that (nobody|no loss) reads?|prior_targets",
        "dummy target dummy targets",
    ),
    (r"\bnan\b", "NaN not a number"),
    (r"binary cross-entropy|binary_crossentropy", "BCE reconstruction loss"),
    (r"GradientTape", "custom training loop gradient tape"),
    (r"anneal|WeightScheduler|warm-up", "KL annealing warmup"),
)


def add_words(app, doctree):
    """Give the search index the other names, as keywords of the page."""
    text = doctree.astext()
    words = {
        word
        for mark, names in OTHER_NAMES
        if re.search(mark, text, re.I)
        for word in names.split()
    }
    if words:
        keywords = nodes.meta(name="keywords", content=", ".join(sorted(words)))
        doctree.insert(0, keywords)


def setup(app):
    app.connect("doctree-read", add_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
