"""What a record says of the machine that it was made on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def processor():
    """The processor's name, and the instruction set that decides the last digits."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    fields = dict(
        line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line
    )
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    best = next((isa for isa in ("avx512f", "avx2", "sse4_1") if isa in flags), "")
    return f"{fields.get('model name', platform.machine())} {best}".strip()


def environment():
    """The processor, and the versions that the numbers come from."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
    }
