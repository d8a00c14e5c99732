"""How much memory a training adds, measured in a process of its own. For the records."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def peak_mb():
    """Return the peak of this process's memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux: KiB


def in_a_fresh_process(script, *arguments):
    """Run a script with this interpreter, and return what it prints last, which is JSON."""
    tools = str(Path(__file__).parent)  # where a script of a record finds this module
    paths = [tools, *filter(None, [os.environ.get("PYTHONPATH")])]
    answer = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    return json.loads(answer.stdout.splitlines()[-1])
