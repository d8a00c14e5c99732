"""Ask Keras 2 about the code of 2022, and record what it answers.

    python tools/records/porting.py                     installs tf_keras aside
    python tools/records/porting.py --python OTHER      an interpreter that has it

The appendix "From Keras 2 to Keras 3" shows the answers beside those of today's Keras, which
the tests measure. The questions are the functions of `breaks.py`. Takes a few minutes.
"""

import argparse
import datetime

from keras2 import ask_porting, interpreter
from vaebook.records import save_record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="an interpreter that has tf_keras")
    with interpreter(parser.parse_args().python) as python:
        answers = ask_porting(python, "tf_keras")
    for name, answer in answers["breaks"].items():
        print(f"{name:32} {answer[:64]}")
    record = {
        "date": datetime.date.today().isoformat(),
        "versions": answers["versions"],
        "breaks": answers["breaks"],
        "kept": answers["kept"],
    }
    print(f"saved in {save_record('porting', record).name}")


if __name__ == "__main__":
    main()
