"""The formats that a model may be rewritten in, and which of them make sense for a given file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_cpp import llama_cpp as native


@dataclass(frozen=True)
class WeightFormat:
    """A way to store weights. `file_type` is llama.cpp's number for it, `bits` what a weight takes on average.

    `exact`: a token's logits are the same to the last bit whatever is decoded with it, which a model with `repeatable`
    needs. Of six texts of 60 tokens that were decoded together, four became others than alone with BF16 weights, and
    none with Q4_0 or Q8_0 ones. F16 passed as well, but no 16-bit kernel is relied on for this.
    """

    name: str
    file_type: int
    bits: float
    exact: bool


FORMATS: dict[str, WeightFormat] = {
    each.name: each
    for each in (
        WeightFormat("Q4_0", native.LLAMA_FTYPE_MOSTLY_Q4_0, 4.5, exact=True),
        WeightFormat("Q8_0", native.LLAMA_FTYPE_MOSTLY_Q8_0, 8.5, exact=True),
        WeightFormat("BF16", native.LLAMA_FTYPE_MOSTLY_BF16, 16, exact=False),
        WeightFormat("F16", native.LLAMA_FTYPE_MOSTLY_F16, 16, exact=False),
    )
}
"""Those for which llama.cpp has fast kernels on some processor, from small to large. F32 is not among them: nothing
that comes out of a smaller format is lost in 16 bits, and it is read at half their speed."""


@dataclass(frozen=True)
class SourceFile:
    """What has to be known of a model file before it is rewritten: its format, bytes, number of weights, and how many
    of its bytes those take."""

    format: str
    bytes: int
    weights: int
    weight_bytes: int

    def bytes_as(self, target: WeightFormat) -> int:
        """About how large the file will be; the vocabulary and the other metadata keep their size."""
        return round(self.bytes - self.weight_bytes + self.weights * target.bits / 8)


@dataclass(frozen=True)
class Skipped:
    """A format that is not tried, and why."""

    format: str
    reason: str


def sensible_formats(
    source: SourceFile, wanted: Sequence[WeightFormat], *, free_disk: int, free_memory: int | None
) -> tuple[list[WeightFormat], list[Skipped]]:
    """Which of the wanted formats are worth measuring for a file, and which are not.

    All of them lie on the disk together while they are measured, and a model shall take at most half of the free
    memory, so what does not fit (`free_disk` and `free_memory` in bytes; None where it is not known) is skipped.
    """
    taken: list[WeightFormat] = []
    skipped: list[Skipped] = []
    room = free_disk
    for target in wanted:
        size = source.bytes_as(target)
        if target.name == source.format:
            continue  # the original is measured anyway
        if size > room:
            skipped.append(Skipped(target.name, f"needs {megabytes(size)} of disk, and {megabytes(room)} are free"))
        elif free_memory is not None and size > free_memory // 2:
            half = megabytes(free_memory // 2)
            skipped.append(
                Skipped(target.name, f"needs {megabytes(size)} of memory, and half of what is free is {half}")
            )
        else:
            taken.append(target)
            room -= size
    return taken, skipped


def name_of_file_type(number: str | None) -> str:
    """llama.cpp's name for the `general.file_type` of a GGUF, such as "Q4_1"; "unknown" where there is none."""
    if number is None or not number.isdigit():
        return "unknown"
    name: bytes = native.llama_ftype_name(int(number))
    return name.decode("utf-8", "replace").split(" - ")[0].removeprefix("all ")


def megabytes(size: int) -> str:
    """Bytes for people, in millions."""
    return f"{size / 1e6:,.0f} MB"
