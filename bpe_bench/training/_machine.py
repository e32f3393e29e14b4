"""What is said of the machine beside a result."""

from __future__ import annotations

import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path


def processor() -> str:
    """Return the processor's name, as Linux knows it, or its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of bpe-bench."""
    return {"python": platform.python_version(), "bpe-bench": version("bpe-bench")}


def peak_memory() -> int:
    """Return the bytes that this process has had in use at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
