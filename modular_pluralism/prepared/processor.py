"""Which processor, and which of its instructions llama.cpp uses: what the speed of a format depends on."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from functools import cache
from pathlib import Path

from llama_cpp import llama_cpp as native


@cache
def describe_processor() -> str:
    """The processor's name and the instructions that llama.cpp uses on it, in one line; without the number of cores,
    which a container may change from run to run."""
    return f"{_name()}: {' '.join(sorted(instructions()))}"


@cache
def instructions() -> frozenset[str]:
    """The names of the instruction sets and kernels that llama.cpp reports as in use, such as "AVX512_BF16"."""
    report: bytes = native.llama_print_system_info()
    return frozenset(re.findall(r"(\w+) = [1-9]", report.decode("utf-8", "replace")))


def llama_cpp_version() -> str:
    """The version of llama-cpp-python, which brings the kernels."""
    return importlib.metadata.version("llama-cpp-python")


def _name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
