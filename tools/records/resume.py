"""Kill each case of `tools/killed.py`, resume it, and compare. Chapter 17 shows the record."""

import killed

SETTINGS = {
    "cases": killed.NAMES,
    "steps_per_execution": list(killed.STEPS),
    "batches_in_an_epoch": -(-killed.IMAGES // killed.BATCH),
    "epochs": killed.EPOCHS,
    "batches_between_backups": killed.EVERY,
    "kills": killed.KILLS,
    "seed": killed.SEED,
}


def measure(stored):
    runs = stored.get("runs", [])
    done = {(row["case"], row["steps_per_execution"]) for row in runs}
    for case in killed.NAMES:
        for steps in killed.STEPS:
            if (case, steps) not in done:
                runs.append(killed.compare(case, steps))
                print(runs[-1], flush=True)
                yield {"runs": runs}
