"""A model in several files, as llama.cpp's own tool and converter write it."""

from __future__ import annotations

from pathlib import Path

import gguf


def write_split(whole: Path, target: Path, *, tensors: int = 9) -> list[Path]:
    """The model of `whole` in parts of so many tensors: TARGET-00001-of-0000N.gguf and so on, in order."""
    reader = gguf.GGUFReader(whole)
    fields = reader.fields
    writer = gguf.GGUFWriter(target, fields["general.architecture"].contents(), split_max_tensors=tensors)
    for name, field in fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(target.parent.glob(f"{target.stem}-*-of-*.gguf"))
