"""Vectors of texts from GGUF files in this process."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from llama_cpp import llama_cpp as native

from modular_pluralism import (
    ChatLlama,
    Community,
    ContextOverflowError,
    EngineClosedError,
    Hardware,
    InputError,
    LlamaEmbeddings,
    ModelLoadError,
    Pool,
    PoolModels,
    RemoteModel,
    close_engines,
)
from modular_pluralism.llama.batch import Batch
from modular_pluralism.llama.embedder import Embedder
from modular_pluralism.llama.vector_context import TEXTS, VectorContext, Vectors
from tests.architectures import NO_DECODERS, Architecture, write_architecture
from tests.minilm_model import minilm_folder, minilm_gguf
from tests.random_model import RANDOM_GGUF

LENGTHS = ["the cat " * 40, "a dog", "rain and music " * 20]
SMALL = Hardware(ubatch=64)


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    close_engines()


def similar(one: Sequence[Sequence[float]], other: Sequence[Sequence[float] | Vectors]) -> float:
    """The smallest cosine of two vectors at the same place."""
    first, second = np.asarray(one), np.asarray(other)
    return float(((first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)).min())


class TestContract(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[LlamaEmbeddings]:
        return LlamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        return {"gguf": RANDOM_GGUF, "context": 256}


def test_an_encoders_vectors_are_those_of_the_reference() -> None:
    import torch  # here, since every process of pytest would wait for it
    from transformers import AutoModel, AutoTokenizer

    texts = ["Should a city ban cars?", "Être libre, c'est choisir; 自由!", "A city without cars.", "the cat " * 200]
    tokenizer, model = AutoTokenizer.from_pretrained(minilm_folder()), AutoModel.from_pretrained(minilm_folder())
    with torch.no_grad():
        reference = [
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for text in texts
        ]
    vectors = LlamaEmbeddings(gguf=minilm_gguf()).embed_documents(texts)
    assert similar(vectors, reference) > 0.999
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_what_frames_a_text_stands_around_it_once_whatever_it_spells() -> None:
    model = LlamaEmbeddings(gguf=minilm_gguf()).embedder.model
    first, last = model.begin_token, model.tokenize("", parse_special=False, add_special=True)[-1]
    assert [model.token_text(token) for token in (first, last)] == ["[CLS]", "[SEP]"]
    tokens = model.tokenize("Is it [SEP] or [CLS]?", parse_special=False, add_special=True)
    assert (tokens[0], tokens[-1]) == (first, last)
    assert not {first, last} & set(tokens[1:-1])


@pytest.mark.model
def test_a_model_that_writes_text_finds_the_like_text(demo_gguf: Path) -> None:
    like, same, other = np.array(
        LlamaEmbeddings(gguf=demo_gguf).embed_documents(
            ["A city should ban cars.", "Cities ought to forbid cars.", "My grandmother baked bread with rye flour."]
        )
    )
    assert like @ same > like @ other + 0.05


@pytest.mark.parametrize("pooling", [None, 1, 2, 3])
def test_pooling_is_the_files_own_whatever_is_read_at_once(tmp_path: Path, pooling: int | None) -> None:
    file = write_architecture(tmp_path / "model.gguf", Architecture("qwen3", {"pooling_type": pooling}))
    embeddings = LlamaEmbeddings(gguf=file, context=256, hardware=SMALL)
    together = embeddings.embed_documents(LENGTHS)
    tokens = [embeddings.embedder.model.tokenize(text, parse_special=False, add_special=True) for text in LENGTHS]
    assert max(map(len, tokens)) > SMALL.ubatch
    assert similar(together, [pooled_by_llama_cpp(embeddings, row, pooling or 1) for row in tokens]) > 0.9999
    assert similar(together, [embeddings.embed_query(text) for text in LENGTHS]) > 0.9999


def pooled_by_llama_cpp(embeddings: LlamaEmbeddings, row: list[int], pooling: int) -> Vectors:
    parameters = native.llama_context_default_params()
    parameters.embeddings, parameters.pooling_type = True, pooling
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 256
    context, batch = native.llama_init_from_model(embeddings.embedder.model.pointer, parameters), Batch(256)
    batch.add(row, 0, 0, 0)
    assert native.llama_decode(context, batch.ready()) == 0
    pointer = native.llama_get_embeddings_seq(context, 0)
    vector = np.array(
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))[: embeddings.embedder.dimensions], np.float32
    )
    batch.close()
    native.llama_free(context)
    return vector


@pytest.mark.parametrize(
    "architecture",
    [each for each in NO_DECODERS if each.name in ("bert", "llada")],
    ids=lambda each: each.name,
)
def test_models_that_write_no_text_give_vectors(tmp_path: Path, architecture: Architecture) -> None:
    embeddings = LlamaEmbeddings(gguf=write_architecture(tmp_path / "model.gguf", architecture), context=256)
    together = embeddings.embed_documents(LENGTHS)
    assert similar(together, [embeddings.embed_query(text) for text in LENGTHS]) > 0.9999


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        (NO_DECODERS[0], "an encoder for a decoder"),
        (NO_DECODERS[1], "an encoder for a decoder"),
        (Architecture("qwen3", {"pooling_type": 4}), "a ranking model"),
    ],
    ids=["t5", "t5encoder", "rank"],
)
def test_what_gives_no_vectors_is_told(tmp_path: Path, architecture: Architecture, kind: str) -> None:
    file = write_architecture(tmp_path / "model.gguf", architecture)
    with pytest.raises(ModelLoadError, match=rf"model.gguf is {kind}, which gives no vectors of texts; use a GGUF of"):
        LlamaEmbeddings(gguf=file).embed_query("a dog")


def test_weights_are_shared_with_a_chat_model_whose_texts_stay_as_they_were() -> None:
    chat = ChatLlama(gguf=RANDOM_GGUF, context=256, slots=2, temperature=0, max_tokens=24, repeatable=True)
    alone = chat.invoke("Cars?").content
    embeddings = LlamaEmbeddings(gguf=RANDOM_GGUF, context=256)
    before = embeddings.embed_documents(LENGTHS)
    assert embeddings.embedder.model is chat.engine.model
    assert embeddings.embedder is LlamaEmbeddings(gguf=str(RANDOM_GGUF), context=256).embedder

    async def beside() -> tuple[object, list[list[float]]]:
        answer, vectors = await asyncio.gather(chat.ainvoke("Cars?"), embeddings.aembed_documents(LENGTHS))
        return answer.content, vectors

    answer, vectors = asyncio.run(beside())
    assert answer == alone
    assert vectors == before
    chat.engine.close()
    assert embeddings.embed_documents(LENGTHS) == before, "the weights stay while somebody has them"
    assert embeddings.embedder.model.pointer is not None


def test_closing_gives_the_weights_back_and_asking_loads_them_again() -> None:
    embeddings = LlamaEmbeddings(gguf=RANDOM_GGUF, context=256)
    vector, embedder = embeddings.embed_query("rain"), embeddings.embedder
    embeddings.close()
    assert embedder.model.pointer is None
    with pytest.raises(EngineClosedError, match="are closed; ask again to open them anew"):
        embedder.embed(["rain"])
    assert embeddings.embed_query("rain") == vector
    second = embeddings.embedder
    close_engines()
    assert second.model.pointer is None


def test_texts_that_cannot_be_read_are_told_by_number() -> None:
    embeddings = LlamaEmbeddings(gguf=RANDOM_GGUF, context=64)
    assert embeddings.embed_documents([]) == []
    with pytest.raises(InputError, match="Text 2 is empty; leave it out"):
        embeddings.embed_documents(["rain", " \n"])
    with pytest.raises(ContextOverflowError, match=r"Text 1 has \d{3} tokens and the context of .* holds 64; shorten"):
        embeddings.embed_query("the cat " * 60)
    for token in (-1, 10**6):
        with pytest.raises(InputError, match="Text 1 has a token that is not in the vocabulary"):
            embeddings.embedder.embed([[1, token]])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "LlamaEmbeddings: there is no gguf; give it"),
        ({"gguf": 3}, "LlamaEmbeddings: gguf must be a path, not 3"),
        ({"gguf": "x", "context": 0}, "LlamaEmbeddings: context must be above 0, not 0"),
        ({"gguf": "x", "threads": 0}, "LlamaEmbeddings: threads must be above 0, not 0"),
        ({"gguf": "x", "model": "y"}, "LlamaEmbeddings: unknown key 'model'; remove it, or use one of gguf, context, "),
    ],
)
def test_what_it_cannot_be_made_of_is_told_in_one_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        LlamaEmbeddings(**given)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("texts", ["rain", None, 3, ["rain", 3]])
async def test_only_a_list_of_texts_has_vectors(texts: Any) -> None:
    nobody = RemoteModel(openai="far", base_url="http://127.0.0.1:9/v1")
    far = PoolModels(Pool.of(nobody, {"north": Community(description="the north")})).embeddings("base")
    for embeddings in (LlamaEmbeddings(gguf=RANDOM_GGUF), far):
        with pytest.raises(InputError, match=r"embed_documents: texts.* is .*; give a (list of texts|text)"):
            embeddings.embed_documents(texts)
        with pytest.raises(InputError, match=r"embed_documents: texts.* is .*; give a (list of texts|text)"):
            await embeddings.aembed_documents(texts)


def test_a_batch_holds_whole_texts_up_to_its_tokens_and_number() -> None:
    context = VectorContext.__new__(VectorContext)
    context.length = 10
    rows = [[1] * size for size in (4, 6, 1, 10, 3)]
    assert [list(map(len, group)) for group in context.groups(rows)] == [[4, 6], [1], [10], [3]]
    context.length = 10**6
    assert [len(group) for group in context.groups([[1]] * (TEXTS + 1))] == [TEXTS, 1]
    assert list(context.groups([])) == []


async def test_the_event_loop_goes_on_and_a_cancelled_task_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder: Embedder = await LlamaEmbeddings(gguf=RANDOM_GGUF, context=64).aload()
    reads, began, go_on = list[int](), asyncio.Event(), threading.Event()
    loop, vectors = asyncio.get_running_loop(), VectorContext.vectors

    def held(self: VectorContext, rows: Sequence[Sequence[int]]) -> Vectors:
        reads.append(len(rows))
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(60), "the event loop stands still"
        return vectors(self, rows)

    monkeypatch.setattr(VectorContext, "vectors", held)
    task = asyncio.create_task(embedder.aembed(["rain"] * TEXTS * 4))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await embedder.aembed(["music"])
    assert len(reads) == 2


def test_a_pools_models_give_vectors_over_the_weights_that_it_answers_with(tmp_path: Path) -> None:
    tables = f'base = "tiny"\n[models.tiny]\ngguf = "{RANDOM_GGUF}"\ncontext = 128\nslots = 1\n'
    tables += '[communities.north]\nmodel = "tiny"\ndescription = "the north"\n'
    pool = Pool.from_toml(tables, source="my.toml", folder=tmp_path)
    models = PoolModels(pool)
    chat, embeddings = models.base().chat, models.embeddings("tiny")
    assert isinstance(chat, ChatLlama)
    assert isinstance(embeddings, LlamaEmbeddings)
    assert (chat.engine.model, 128) == (embeddings.embedder.model, embeddings.context)
    given = PoolModels(pool, {"tiny": chat}).embeddings("tiny")
    assert given.embed_query("rain") == embeddings.embed_query("rain")
    assert models.embeddings("tiny") is embeddings
