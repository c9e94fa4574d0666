"""Which formats are tried for a file."""

from __future__ import annotations

import pytest

from modular_pluralism.prepared.formats import FORMATS, SourceFile, name_of_file_type, sensible_formats

GB = 10**9
SEVEN_BILLION = SourceFile("Q4_1", bytes=45 * GB // 10, weights=7 * GB, weight_bytes=44 * GB // 10)


def tried(source: SourceFile, disk: float, memory: float | None) -> tuple[list[str], dict[str, str]]:
    taken, skipped = sensible_formats(
        source, list(FORMATS.values()), free_disk=round(disk), free_memory=None if memory is None else round(memory)
    )
    return [each.name for each in taken], {each.format: each.reason for each in skipped}


def test_all_formats_but_the_files_own_are_tried_where_they_fit() -> None:
    assert tried(SEVEN_BILLION, 500 * GB, 500 * GB) == (["Q4_0", "Q8_0", "BF16", "F16"], {})
    assert tried(SourceFile("BF16", 14 * GB, 7 * GB, 14 * GB), 500 * GB, None)[0] == ["Q4_0", "Q8_0", "F16"]


def test_what_takes_more_than_half_of_the_free_memory_is_not_tried() -> None:
    names, reasons = tried(SEVEN_BILLION, 500 * GB, 16 * GB)
    assert names == ["Q4_0", "Q8_0"]
    assert reasons["BF16"] == "needs 14,100 MB of memory, and half of what is free is 8,000 MB"


def test_what_does_not_fit_on_the_disk_beside_the_others_is_not_tried() -> None:
    names, reasons = tried(SEVEN_BILLION, 26 * GB, None)
    assert names == ["Q4_0", "Q8_0", "BF16"]
    assert reasons["F16"].startswith("needs 14,100 MB of disk, and ")


def test_sizes_are_the_weights_in_the_new_format_and_the_rest_as_it_was() -> None:
    assert SEVEN_BILLION.bytes_as(FORMATS["BF16"]) == 14 * GB + GB // 10


@pytest.mark.parametrize(
    ("number", "name"),
    [("3", "Q4_1"), ("0", "F32"), ("15", "Q4_K"), ("32", "BF16"), (None, "unknown"), ("x", "unknown")],
)
def test_a_file_type_has_llama_cpps_name(number: str | None, name: str) -> None:
    assert name_of_file_type(number) == name
