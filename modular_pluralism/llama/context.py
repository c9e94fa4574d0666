"""One llama.cpp context: a KV stream for each sequence, decoded together, and the adapter that is switched on.

Each sequence has a stream of its own (`kv_unified` off), as long as the longest sequence may get. With one cache for
all, decoding 24 sequences was a quarter slower with the demo model, and what a sequence's attention summed over
depended on where its neighbours' cells lay, so that no text could be repeated.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.batch import Batch
from modular_pluralism.llama.captured_log import captured_log
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.memory import no_context
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.parameters import context_parameters
from modular_pluralism.llama.sampling import Row
from modular_pluralism.llama.slot_layout import in_turn

WholeCopies = Literal["always", "full", "never"]
_FULL = 2
"""A stream is full enough if one in so many of its cells is taken; measured in benchmarks/prefix_copies.py."""


class DecodeError(Exception):
    """llama.cpp refused a decode; nothing of what it touched can be trusted."""


class Chunk(NamedTuple):
    """Consecutive tokens of one stream; logits are wanted from position `first_output` on."""

    stream: int
    position: int
    tokens: Sequence[int]
    first_output: int

    @property
    def outputs(self) -> range:
        """The positions whose logits are wanted."""
        end = self.position + len(self.tokens)
        return range(min(max(self.position, self.first_output), end), end)


class Context:
    """`streams` sequences of up to `length` tokens each.

    A stream is copied by the tokens that are there, through the host's memory and at once; or by all its cells, within
    the memory that they lie in, when the next decode begins. `whole_copies` says when by all cells: "always", which is
    for GPUs, "never", or only of streams that are "full" enough for that to be faster on a processor, too.

    Raises:
        ModelLoadError: llama.cpp cannot make it, for lack of memory as a rule.
    """

    def __init__(
        self,
        model: ModelFile,
        hardware: Hardware,
        streams: int,
        length: int,
        threads: int,
        *,
        whole_copies: WholeCopies = "never",
    ) -> None:
        self.streams = streams
        self.length = length
        self.batch = hardware.ubatch
        """Most tokens of one decode."""
        self._model = model
        with captured_log() as log:
            self._pointer = native.llama_init_from_model(
                model.pointer, context_parameters(hardware, streams=streams, length=length, threads=threads)
            )
        if not self._pointer:
            raise ModelLoadError(no_context(model.path, streams, length, log))
        self._memory = native.llama_get_memory(self._pointer)
        self._batch = Batch(self.batch)
        self._adapter: Adapter | None = None
        self._reading_threads = hardware.threads_batch
        self._threads = 0
        self._whole_copies = whole_copies
        self._copies_wait = False

    @property
    def is_settled(self) -> bool:
        """Whether every copy has been made. Before that, no stream may be moved."""
        return not self._copies_wait

    def decode(self, chunks: Sequence[Chunk]) -> Sequence[Row]:
        """Read the chunks; one row of logits [n_vocab] for each wanted position, chunk by chunk.

        The rows are only valid until the next decode.

        Raises:
            DecodeError: llama.cpp could not.
        """
        self._batch.clear()
        for chunk in chunks:
            self._batch.add(chunk.tokens, chunk.position, chunk.stream, chunk.first_output)
        code = native.llama_decode(self._pointer, self._batch.ready())
        if code != 0:
            raise DecodeError(f"llama_decode returned {code}")
        self._copies_wait = False
        count = sum(len(chunk.outputs) for chunk in chunks)
        if not count:
            return []
        rows = np.ctypeslib.as_array(native.llama_get_logits(self._pointer), (count, self._model.n_vocab))
        return list(rows)

    def use_adapter(self, adapter: Adapter | None) -> None:
        """Add this adapter to the weights from the next decode on, or none.

        No weight is changed: the adapter's products are added in the graph, which llama.cpp builds anew for it. With
        the demo model and six adapters of six sequences each, one context switched between them took 456 MiB beside the
        weights and decoded 263 to 273 tokens/s; six contexts took 524 MiB and decoded 290 to 300. One context was
        chosen all the same: any of its sequences can serve any adapter, and six contexts that each could run as
        many sequences would need six times the cells.
        """
        if adapter == self._adapter:
            return
        if adapter is None:
            code = native.llama_set_adapters_lora(self._pointer, None, 0, None)
        else:
            pointers = (native.llama_adapter_lora_p_ctypes * 1)(self._model.adapter(adapter.path))
            scales = (ctypes.c_float * 1)(adapter.scale)
            code = native.llama_set_adapters_lora(self._pointer, pointers, 1, scales)
        if code != 0:
            raise DecodeError(f"llama_set_adapters_lora returned {code}")
        self._adapter = adapter

    def use_threads(self, threads: int, *, reading: bool) -> None:
        """Compute with so many threads from the next decode on; where prompts are read, with those set for that."""
        wanted = (reading and self._reading_threads) or threads
        if wanted != self._threads:
            # llama.cpp takes the second number for every decode of more than one token, be they of as many sequences.
            native.llama_set_n_threads(self._pointer, wanted, wanted)
            self._threads = wanted

    def cut(self, stream: int, length: int) -> bool:
        """Drop a stream's tokens from position `length` on.

        False where the model's memory cannot be cut there; the stream is then empty.
        """
        cut = native.llama_memory_seq_rm(self._memory, stream, length, -1)
        if cut and self.tokens_in(stream) == length:
            return True
        native.llama_memory_seq_rm(self._memory, stream, -1, -1)
        return False

    def held_from(self, stream: int) -> int:
        """The first position from which on a stream holds everything; 0 of an empty one."""
        return max(0, int(native.llama_memory_seq_pos_min(self._memory, stream)))

    def checkpoint(self, stream: int) -> bytearray:
        """The part of a stream's memory that cannot be cut: what its sliding windows hold, and its recurrent states."""
        return self._save(stream, native.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def restore(self, stream: int, state: bytearray) -> None:
        """Put such a part back; what follows it has still to be cut off."""
        self._put(stream, state, native.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def tokens_in(self, stream: int) -> int:
        """How many tokens llama.cpp holds for a stream."""
        return int(native.llama_memory_seq_pos_max(self._memory, stream)) + 1

    def copy(self, source: int, target: int) -> None:
        """Make a stream's content a copy of another's."""
        # The order counts: what waits to be copied is not there yet.
        if self._copies_wait or self._whole_copies == "always" or self._is_full(source):
            native.llama_memory_seq_cp(self._memory, source, target, -1, -1)
            self._copies_wait = True
        else:
            self._load(target, self._save(source))

    def _is_full(self, stream: int) -> bool:
        return self._whole_copies == "full" and self.tokens_in(stream) * _FULL >= self.length

    def move(self, moves: Mapping[int, int]) -> None:
        """Move streams to new places {from: to}, all at once. A place that is only left keeps what it held."""
        assert self.is_settled, "what waits to be copied cannot be moved"
        one_by_one, rest = in_turn(moves) if self._whole_copies == "always" else ([], moves)
        saved = {target: self._save(source) for source, target in rest.items()}
        for target, data in saved.items():
            self._load(target, data)
        for source, target in one_by_one:
            self.copy(source, target)

    def _save(self, stream: int, flags: int = native.LLAMA_STATE_SEQ_FLAGS_NONE) -> bytearray:
        data = bytearray(native.llama_state_seq_get_size_ext(self._pointer, stream, flags))
        buffer = (ctypes.c_uint8 * len(data)).from_buffer(data)
        if native.llama_state_seq_get_data_ext(self._pointer, buffer, len(data), stream, flags) != len(data):
            raise DecodeError("llama_state_seq_get_data failed")
        return data

    def _load(self, stream: int, data: bytearray) -> None:
        native.llama_memory_seq_rm(self._memory, stream, -1, -1)
        self._put(stream, data, native.LLAMA_STATE_SEQ_FLAGS_NONE)

    def _put(self, stream: int, data: bytearray, flags: int) -> None:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer(data)
        if native.llama_state_seq_set_data_ext(self._pointer, buffer, len(data), stream, flags) == 0:
            raise DecodeError("llama_state_seq_set_data failed")

    def close(self) -> None:
        """Free it."""
        if self._pointer:
            self._batch.close()
            native.llama_free(self._pointer)
            self._pointer = None
