"""A classifier of pairs of texts from transformers: loaded with clear errors, run beside an asyncio loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ModelCallError, ModelLoadError
from modular_pluralism.optional import optional

_LIBRARIES = ("torch", "transformers", "sentencepiece", "google.protobuf")
"""The last two read the vocabulary of the paper's classifier; without them, transformers fails in strange words."""
_MOST_TOKENS = 4096
"""Of one batch, its padding included."""
_MOST_ROWS = 64
_HUB_SECONDS = 10.0
"""How long the hub may take to say that it has a model."""
_NO_LIMIT = 10**6
"""Tokenizers that know no limit give a huge number."""

_PURPOSE = "The entailment model"
INSTEAD = "or ask for `llm`, an entailment judged by a model of the pool, which is not the paper's measure"
"""What to do where there is no classifier, as the end of a sentence."""


class Classifier:
    """A tokenizer with its model. Pairs are read in batches of similar length, by one thread, one call at a time.

    `limit` is how many tokens a pair of texts may have.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any, device: str) -> None:
        self.name = name
        self.limit = _limit(tokenizer, model.config)
        self._tokenizer = tokenizer
        self._special = [token for token in tokenizer.all_special_tokens if len(token) > 1]
        self._model = model
        self._device = device
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classifier")

    @property
    def config(self) -> Any:
        """The model's own configuration."""
        return self._model.config

    @classmethod
    def load(cls, source: str, *, device: str | None) -> Classifier:
        """Load from a folder or from the Hugging Face hub, whose cache is looked into first.

        No code that comes with a model is ever run.

        Raises:
            ModelLoadError: a library is missing, there is no such model here or there, or it is not whole.
        """
        torch, transformers, *_ = [optional(module, "nli", _PURPOSE) for module in _LIBRARIES]
        files = _Source(source)
        tokenizer, model = files.loaded(lambda **where: _read(transformers, torch, source, where))
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model.eval().to(place)
        except (RuntimeError, AssertionError) as error:
            raise ModelLoadError(
                f"{_PURPOSE} cannot be put on the device {place!r}: {_short(error)}; use cpu."
            ) from error
        return cls(files.name, tokenizer, model, place)

    async def rows(self, texts: Sequence[str], others: Sequence[str]) -> tuple[list[Any], int]:
        """The probabilities of the labels for each text with its second one in `others`: tensors [n_labels] on the CPU;
        and how many pairs were longer than the limit, and cut.

        Cancelling stops after the running batch.

        Raises:
            ModelCallError: the model failed, for want of memory for example.
        """
        if not texts:
            return [], 0
        stopped = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._rows, list(texts), list(others), stopped)
        finally:
            stopped.set()

    def _rows(self, texts: list[str], others: list[str], stopped: threading.Event) -> tuple[list[Any], int]:
        torch = optional("torch", "nli", self.name)
        try:
            texts, others = self._plain(texts), self._plain(others)
            encoded = self._tokenizer(texts, others, verbose=False)
            lengths = [len(each) for each in encoded["input_ids"]]
            cut = sum(length > self.limit for length in lengths)
            if cut:
                encoded = self._tokenizer(texts, others, truncation=True, max_length=self.limit)
                lengths = [len(each) for each in encoded["input_ids"]]
            found: list[Any] = [None] * len(texts)
            for batch in batches_by_length(lengths, _MOST_TOKENS, _MOST_ROWS):
                if stopped.is_set():
                    break
                inputs = self._tokenizer.pad(
                    {key: [values[at] for at in batch] for key, values in encoded.items()}, return_tensors="pt"
                ).to(self._device)
                with torch.inference_mode():
                    rows = self._model(**inputs).logits.float().softmax(-1).cpu()
                for at, row in zip(batch, rows, strict=True):
                    found[at] = row
        except (RuntimeError, ValueError, IndexError) as error:  # out of memory is a RuntimeError, too
            raise ModelCallError(f"{self.name} failed: {_short(error)}; use another model or device.") from error
        return found, cut

    def _plain(self, texts: list[str]) -> list[str]:
        """The texts with their special tokens broken up: "[SEP]" in what somebody wrote must not end a sentence.

        Tokenizers can be told to read them as text, but some vocabularies have them as ordinary pieces, too.
        """
        for token in self._special:
            texts = [text.replace(token, f"{token[0]} {token[1:]}") for text in texts]
        return texts


def batches_by_length(lengths: Sequence[int], most_tokens: int, most_rows: int) -> list[list[int]]:
    """Places of texts, the longest first, in batches of at most `most_rows` and of `most_tokens` with the padding.

    A text that is longer than that has a batch of its own.
    """
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and len(batches[-1]) < most_rows and (len(batches[-1]) + 1) * longest <= most_tokens:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches


class _Source:
    """Where a model comes from, and what to say where it does not."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._is_folder = Path(source).is_dir()
        self.name = Path(source).resolve().name if self._is_folder else source

    def loaded(self, load: Callable[..., Any]) -> Any:
        """What `load` returns; it is called with the keyword `local_files_only`."""
        try:
            return load(local_files_only=True)
        except ModelLoadError:
            raise
        except ImportError as error:  # a library that this tokenizer needs
            raise ModelLoadError(
                f"{_PURPOSE} {self._source} needs more libraries ({_short(error)}); run "
                "`pip install 'modular-pluralism[nli]'`."
            ) from error
        except Exception as error:  # of many kinds: no such file, not JSON, cut off, weights of another model
            if self._is_folder:
                raise ModelLoadError(
                    f"{_PURPOSE} in the folder {self._source} cannot be loaded ({_short(error)}); check that it "
                    f"was saved whole, {INSTEAD}."
                ) from error
        self._check_hub()
        try:
            return load(local_files_only=False)
        except ModelLoadError:
            raise
        except Exception as error:
            raise self._unavailable(_short(error)) from error

    def _check_hub(self) -> None:
        """A quick question, since the libraries try a hub that is out of reach again and again."""
        if self._source.count("/") > 1 or self._source.startswith((".", "/", "~")) or "\\" in self._source:
            raise self._unavailable("there is no such folder")
        hub = optional("huggingface_hub", "nli", _PURPOSE)
        try:
            hub.HfApi().model_info(self._source, timeout=_HUB_SECONDS)
        except Exception as error:  # the hub's errors share no base class that covers network, missing and forbidden
            raise self._unavailable(f"the hub did not offer it: {type(error).__name__}") from error

    def _unavailable(self, why: str) -> ModelLoadError:
        return ModelLoadError(
            f"{_PURPOSE} {self._source} is neither in a folder nor in the cache here, and cannot be downloaded "
            f"({why}); download it on a machine with network and pass the folder with --nli, {INSTEAD}."
        )


def _read(transformers: Any, torch: Any, source: str, where: dict[str, bool]) -> tuple[Any, Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False, **where)
    # 32 bits, since CPUs are slow with 16, and rough.
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        source, trust_remote_code=False, output_loading_info=True, dtype=torch.float32, **where
    )
    weights = {name for name, _ in model.named_parameters()}
    missing = sorted(weights & set(info["missing_keys"]))
    if missing or info["mismatched_keys"]:
        raise ModelLoadError(
            f"{source} has no trained weights for {', '.join(missing[:3]) or 'some of its layers'}; it was made for "
            "another purpose, so use another model."
        )
    return tokenizer, model


def _limit(tokenizer: Any, config: Any) -> int:
    """The most tokens that the model reads, or was trained to read."""
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if tokenizer.model_max_length < _NO_LIMIT:
        return int(min(tokenizer.model_max_length, positions))
    # The positions may start at 2, as RoBERTa's do, unless they are all relative.
    return int(positions if getattr(config, "position_biased_input", True) is False else positions - 2)


def _short(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()).rstrip(" .") or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
