"""Damage the headers of tiny models in many ways, and open and use each file as an application does.

All is done in a process that is watched from here: it must not end before the last file, and what it refuses it must
refuse in one sentence. `python -m tests.fuzz_gguf --files 352 --seed 7` looks for longer than the test does.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from modular_pluralism.errors import PluralismError
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest
from modular_pluralism.llama.reading import next_tokens
from tests.architectures import ARCHITECTURES, write_architecture

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of GGUF's types of numbers."""
_FLOAT, _TEXT, _ARRAY = 6, 8, 9
_NUMBERS = (0, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_MODELS = ("llama", "gemma3", "qwen3moe", "mamba2")
"""One after the other."""
_FLOATS = (0.0, -1.0, -1e-30, 1e38, float("inf"), float("nan"))


class _Value(NamedTuple):
    """A key's value: its type, where key, type and value begin, and where the value ends."""

    kind: int
    key: int
    type: int
    start: int
    end: int


class _Tensor(NamedTuple):
    """Where a tensor's count of dimensions stands, and how many it has; its type and its offset follow them."""

    place: int
    dimensions: int


class Mutations:
    """Random damage to the header of one file; the same seed does the same."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data = data
        self._random = random.Random(seed)
        self._values: list[_Value] = []
        self._tensors: list[_Tensor] = []
        self._end = 24
        tensors, values = struct.unpack_from("<QQ", data, 8)
        for _ in range(values):
            self._values.append(self._read_value())
        for _ in range(tensors):
            self._skip_text()
            tensor = _Tensor(self._end, self._number("<I", self._end))
            self._tensors.append(tensor)
            self._end += 4 + 8 * tensor.dimensions + 4 + 8

    def _number(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self._data, at)[0])

    def _skip_text(self) -> None:
        self._end += 8 + self._number("<Q", self._end)

    def _read_value(self) -> _Value:
        key = self._end
        self._skip_text()
        kind_at, kind = self._end, self._number("<I", self._end)
        start = self._end = kind_at + 4
        if kind == _TEXT:
            self._skip_text()
        elif kind == _ARRAY:
            of, count = struct.unpack_from("<IQ", self._data, start)
            self._end += 12 + _SIZES.get(of, 0) * count
            for _ in range(count if of == _TEXT else 0):
                self._skip_text()
        else:
            self._end += _SIZES[kind]
        return _Value(kind, key, kind_at, start, self._end)

    def __iter__(self) -> Iterator[bytes]:
        kinds = [self._number_changed] * 8 + [self._tensor_changed] * 4
        kinds += [self._key_changed, self._array_changed, self._count_changed, self._bytes_changed, self._cut]
        while True:
            data = bytearray(self._data)
            self._random.choice(kinds)(data)
            yield bytes(data)

    def _put(self, data: bytearray, at: int, size: int, number: int) -> None:
        data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")

    def _odd(self) -> int:
        return self._random.choice([*_NUMBERS, self._random.getrandbits(64)])

    def _number_changed(self, data: bytearray) -> None:
        value = self._random.choice([value for value in self._values if value.kind in _SIZES])
        if value.kind == _FLOAT:
            data[value.start : value.end] = struct.pack("<f", self._random.choice(_FLOATS))
        else:
            self._put(data, value.start, _SIZES[value.kind], self._odd())

    def _tensor_changed(self, data: bytearray) -> None:
        tensor = self._random.choice(self._tensors)
        kind = tensor.place + 4 + 8 * tensor.dimensions
        places = [(tensor.place + 4 + 8 * number, 8) for number in range(tensor.dimensions)]
        at, size = self._random.choice([(tensor.place, 4), (kind, 4), (kind, 4), (kind + 4, 8), *places])
        self._put(data, at, size, self._random.randrange(45) if at == kind else self._odd())

    def _key_changed(self, data: bytearray) -> None:
        value = self._random.choice(self._values)
        place = self._random.choice([value.key + 8, value.type, value.key])
        data[place] = self._random.randrange(256)

    def _array_changed(self, data: bytearray) -> None:
        value = self._random.choice([value for value in self._values if value.kind == _ARRAY])
        if self._random.random() < 0.3:
            self._put(data, value.start, 4, self._random.randrange(14))
        else:
            self._put(data, value.start + 4, 8, self._odd())

    def _count_changed(self, data: bytearray) -> None:
        at, size = self._random.choice([(4, 4), (8, 8), (16, 8)])
        self._put(data, at, size, self._odd())

    def _bytes_changed(self, data: bytearray) -> None:
        for _ in range(self._random.choice([1, 3, 20])):
            data[self._random.randrange(self._end)] = self._random.randrange(256)

    def _cut(self, data: bytearray) -> None:
        del data[self._random.randrange(4, len(data)) :]


def fuzz(files: int, seed: int, folder: Path) -> list[str]:
    """What became of each file: "used", or the sentence with which it was refused. The last is what went wrong, where
    anything did: another exception, or how the process ended."""
    for architecture in ARCHITECTURES:
        if architecture.name in _MODELS:
            write_architecture(folder / f"{architecture.name}.gguf", architecture)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_gguf", "--files", str(files), "--seed", str(seed), "--in", str(folder)],
        stdout=subprocess.PIPE,
        check=False,
    )
    outcomes: list[str] = [json.loads(line) for line in ended.stdout.splitlines()]
    return outcomes if ended.returncode == 0 else [*outcomes, f"the process ended with {ended.returncode}"]


def _use_all(files: int, seed: int, folder: Path) -> None:
    damaged = [iter(Mutations((folder / f"{name}.gguf").read_bytes(), seed)) for name in _MODELS]
    path = folder / "damaged.gguf"
    for number in range(files):
        path.write_bytes(next(damaged[number % len(_MODELS)]))
        try:
            _use(path)
            print(json.dumps("used"), flush=True)
        except PluralismError as error:
            print(json.dumps(f"refused: {error}"), flush=True)


def _use(path: Path) -> None:
    engine = Engine(EngineSettings(path, context=64, slots=2))
    try:
        tokens = engine.model.tokenize("Should a city ban cars?", parse_special=False) or [0]
        engine.generate(GenerationRequest(tuple(tokens), max_tokens=4))
        engine.read(next_tokens([tokens, [*tokens, 1]], engine.model.n_vocab))
    finally:
        engine.close()


def main() -> None:
    """Fuzz, and tell how often what came of it; exit code 1 if the process ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_gguf", description=__doc__)
    parser.add_argument("--files", type=int, default=352, help="how many (default 352)")
    parser.add_argument("--seed", type=int, default=1, help="which (default 1)")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        _use_all(arguments.files, arguments.seed, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        outcomes = fuzz(arguments.files, arguments.seed, Path(folder))
        for outcome, count in Counter(outcome.replace(folder, "…") for outcome in outcomes).most_common():
            print(f"{count:5} {outcome}")
        died = sum("ends the process" in outcome or "comes to no end" in outcome for outcome in outcomes)
        print(
            f"{len(outcomes)} files, {outcomes.count('used')} used; with {died} a process ended that was not this one"
        )
    sys.exit(len(outcomes) != arguments.files)


if __name__ == "__main__":
    main()
