"""Ask Keras 2 about the code of 2022.

The appendix "From Keras 2 to Keras 3" shows the answers beside those of today's Keras, which
the tests measure. The questions are the functions of `tools/breaks.py`. This takes a few
minutes.
"""

from breaks import SEED
from keras2 import ask_porting, interpreter

SETTINGS = {"seed": SEED}


def measure():
    with interpreter() as python:
        answers = ask_porting(python, "tf_keras")
    for name, answer in answers["breaks"].items():
        print(f"{name:32} {answer[:64]}")
    return {part: answers[part] for part in ("versions", "breaks", "kept")}
