"""Let search find a page by other names of its subject, and a subject at its section.

A reader who looks for "mixed precision" wants the pages that say bfloat16. Each entry of
`OTHER_NAMES` is a pattern and some words: if the pattern occurs on a page, the search also
finds the page by the words.

`SUBJECTS` names the section that treats a subject. If you search for one of its phrases, that
section comes first, whatever other pages say. The phrases are in the book's index as well.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

OTHER_NAMES = (
    (r"regulari[sz]er", "regularizer regulariser regularization weight decay penalty"),
    (r"EarlyStopping|ModelCheckpoint", "callback monitor early stopping checkpoint"),
    (r"sequences|LSTM", "sequence text time series RNN"),
    (r"generator that yields|PyDataset", "data generator fit_generator Sequence"),
    (r"nested (model|output)|layer's name", "submodel output_names layer names"),
    (r"predict", "inference prediction order"),
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
    (r"transfer learning", "fine-tuning finetune pretrained freeze layers"),
    (r"BackupAndRestore", "resume training continue interrupted checkpoint"),
    (r"anneal|WeightScheduler|warm-up", "KL annealing warmup"),
    (r"missing labels?|mask_missing", "mask masking partial labels semi-supervised"),
    (r"class_weight", "class weights imbalanced unbalanced classes"),
    (r"multi-task|three heads", "multi-task multitask learning multi-output heads"),
)

# The beginning of a page's name, the section's anchor, and what people type.
SUBJECTS = (
    ("02-", "the-same-number-three-ways", "KL divergence formula; KL loss formula"),
    ("02-", "sum-or-mean", "reduce_sum or reduce_mean; sum or mean"),
    ("02-", "a-museum-of-betas", "KL weight of published VAEs"),
    ("02-", "nats-on-mnist", "good VAE loss value"),
    ("03-", "three-kinds-of-tensor", "KerasTensor; symbolic tensor"),
    ("03-", "three-ways-out", "custom loss with extra tensors; vae_loss"),
    ("04-", "no-batch-size-in-the-sampling", "incompatible shapes; last batch smaller"),
    ("04-", "sequences", "sequence VAE; text VAE; LSTM VAE"),
    ("04-", "as-a-lambda-it-trains-and-does-not-load-again", "Lambda layer; save Lambda layer"),
    ("04-", "a-point-drawn-at-random", "reparameterization trick; sampling layer"),
    ("05-", "layer-names-and-output-names", "output_names; layer names"),
    ("05-", "the-standalone-decoder", "submodel; decoder of a trained model"),
    ("06-", "named-outputs-one-set-of-keys", "named outputs; multiple outputs"),
    ("06-", "the-log-shows-the-parts-without-their-loss-weights", "loss_weights; loss weights"),
    ("06-", "three-reasons-why-the-parts-do-not-add-up", "total loss; sum of losses"),
    ("06-", "something-else-is-in-the-total", "regularizer; regularization loss"),
    ("06-", "metrics-for-one-output", "metrics per output; metrics dict"),
    ("06-", "an-output-without-a-loss", "loss None; output without loss"),
    ("06-", "subclassed-models", "subclassed model"),
    ("06-", "a-trap-the-loss-that-returns-one-number", "scalar loss; loss of one number"),
    ("07-", "what-keras-checks", "dummy target; y_true ignored; no labels"),
    ("07-", "targets-made-batch-by-batch", "tf.data; data generator"),
    ("08-", "earlystopping-and-modelcheckpoint-on-one-output", "EarlyStopping monitor"),
    (
        "08-",
        "earlystopping-and-modelcheckpoint-on-one-output",
        "ModelCheckpoint",
    ),
    ("09-", "the-layer", "KL divergence layer; add_loss in a layer"),
    ("10-", "the-line-that-is-gone", "model.add_loss; add_loss"),
    ("10-", "a-loss-that-needs-other-data", "loss with extra input; pack y_true"),
    ("10-", "the-method-that-replaces-it", "compute_loss"),
    ("11-", "what-you-owe", "train_step; custom train_step; test_step"),
    ("12-", "a-trap-right-on-one-device-wrong-on-two", "multi-GPU"),
    ("13-", "a-sum-for-the-integral", "exact log-likelihood; true posterior"),
    ("13-", "the-gap-in-three-parts", "amortization gap; inference gap"),
    ("13-", "what-all-clouds-add-up-to", "ELBO surgery; mutual information"),
    ("13-", "grey-pixels", "continuous Bernoulli; BCE on grey images; binarized MNIST"),
    (
        "13-",
        "a-tighter-bound-and-the-spread-of-its-weights",
        "effective sample size; IWAE; importance sampling",
    ),
    ("14-", "rate-and-distortion", "rate distortion; choose beta; which beta is best"),
    ("14-", "active-units-and-their-threshold", "active units; dead latent variables"),
    ("14-", "where-collapse-starts", "linear VAE; critical beta"),
    ("14-", "learn-the-variance", "learned variance; sigma-VAE; MSE reconstruction loss"),
    ("14-", "warm-up-and-cycles", "KL warm-up; beta schedule"),
    ("15-", "kl-is-zero", "KL is zero; KL loss is zero; KL loss 0"),
    ("15-", "posterior-collapse", "posterior collapse; KL vanishing; KL collapse"),
    ("15-", "exploding-kl", "KL explodes; KL loss huge; exploding loss"),
    ("15-", "nan-loss", "NaN loss; loss is NaN; NaN"),
    ("15-", "negative-kl", "negative loss; negative KL; KL negative"),
    ("15-", "images-all-alike", "blurry images; mean image; same image"),
    ("15-", "gradients-do-not-exist", "gradients do not exist; no gradients provided"),
    ("15-", "no-loss-to-compute", "no loss to compute; no loss to optimize"),
    ("16-", "class-weight-for-several-outputs", "class_weight; class weights; imbalanced"),
    ("16-", "missing-labels-and-why-a-mask-of-zeros-is-not-enough", "missing labels; mask"),
    (
        "16-",
        "maskedloss-ignore-class-and-rows-with-gaps",
        "ignore_class; masked loss",
    ),
    ("16-", "sample-weight-for-each-output", "sample_weight; sample weights per output"),
    ("16-", "train-one-head-at-a-time", "train one head; freeze a head; alternate training"),
    ("16-", "how-to-choose-loss-weights", "choose loss weights; loss scales; multi-task"),
    ("16-", "learned-weights-uncertainty-one-number-for-each-task", "uncertainty weighting"),
    ("17-", "load-a-custom-loss-layer-or-model-in-another-process", "load custom loss"),
    ("17-", "load-a-custom-loss-layer-or-model-in-another-process", "custom_objects"),
    ("17-", "errors-of-loading-and-their-causes", "could not locate; unknown loss function"),
    ("17-", "save-weights-load-weights", "load_weights; save_weights; by_name"),
    (
        "17-",
        "resume-training-after-a-kill",
        "resume training; BackupAndRestore",
    ),
    ("17-", "transfer-learning-the-encoder-in-a-classifier", "transfer learning; fine-tuning"),
    ("17-", "freeze-the-encoder-then-compile", "freeze layers; freeze the encoder"),
    ("17-", "export-what-a-server-calls", "export; SavedModel; serving"),
    ("18-", "the-ladder-step-by-step", "mixed precision; learning-rate schedule; one cycle"),
    ("18-", "the-ladder-step-by-step", "slow training; faster training; speed up"),
    ("18-", "images-from-disk-memory-that-stays-flat", "TFRecord; out of memory; streaming"),
    ("18-", "two-devices-three-faults-and-their-fixes", "MirroredStrategy; data parallel"),
    ("18-", "several-machines-where-fit-stops", "multi-worker; MultiWorkerMirroredStrategy"),
    ("19-", "which-beta-is-it", "which beta; measure beta"),
    ("programs", "two-optimizers-in-one-step", "GAN; several optimizers; multiple optimizers"),
    ("programs", "a-generator-of-dicts", "generator dict; multiple inputs"),
    ("programs", "a-beta-that-goes-up-and-down", "cyclic annealing; KL annealing callback"),
    ("programs", "the-derivative-of-the-output", "gradient penalty; PINN; physics-informed"),
)


def add_words(app, doctree):
    """Add the other names to the search index, as keywords of the page."""
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


def add_subjects(app, doctree):
    """Put the subjects of a page into the index, each at its section."""
    name = app.env.docname.rpartition("/")[2]
    found = doctree.findall(nodes.section)
    sections = {anchor: section for section in found for anchor in section["ids"]}
    for page, anchor, subjects in SUBJECTS:
        if not name.startswith(page):
            continue
        if anchor not in sections:
            logger.warning("Expected a section %s, of SUBJECTS.", anchor, location=doctree)
            continue
        entries = [
            ("single", subject, anchor, "main", None) for subject in subjects.split("; ")
        ]
        sections[anchor].insert(1, addnodes.index(entries=entries))


def setup(app):
    app.connect("doctree-read", add_words)
    app.connect("doctree-read", add_subjects)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
