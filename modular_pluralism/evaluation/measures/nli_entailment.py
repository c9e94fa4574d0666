"""The paper's entailment: a classifier of transformers, loaded with clear errors and run beside an asyncio loop."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ModelCallError, ModelLoadError
from modular_pluralism.evaluation.measures.entailment import PAPER_MODEL, Counts
from modular_pluralism.llama.hub_files import check_hub_cache
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
_INSTEAD = "or ask for `llm`, an entailment judged by a model of the pool, which is not the paper's measure"
"""What to do where there is no classifier, as the end of a sentence."""


class NliEntailment:
    """The paper's measure: the probability that a classifier gives to the label ENTAILMENT (section 4).

    The value's explanation is the premise and the answer's sentence the hypothesis, as in the paper's release. The
    weights are read with 32 bits, as that did. Pairs are read in batches of similar length, by one thread, one call at
    a time.
    """

    def __init__(self, source: str = PAPER_MODEL, *, device: str | None = None) -> None:
        """Load the classifier: `source` is a folder, or an id on the Hugging Face hub, whose cache comes first.

        `device` is torch's name for one, such as "cpu" or "cuda:0"; None takes a GPU where there is one. No code that
        comes with a model is ever run.

        Raises:
            ModelLoadError: a library is missing, there is no such model here or there, it is not whole, or it has no
                label ENTAILMENT.
        """
        torch, transformers, *_ = [optional(module, "nli", _PURPOSE) for module in _LIBRARIES]
        self.source = source
        files = _Source(source)
        self.tokenizer, self.model = files.loaded(lambda **where: _read(transformers, torch, source, where))
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.model.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise ModelLoadError(
                f"{_PURPOSE} cannot be put on the device {self._device!r}: {_short(error)}; use cpu."
            ) from error
        self._model_name = files.name
        self._label = _entailment_label(self.model.config, source)
        self._limit = _limit(self.tokenizer, self.model.config)
        self._special = [token for token in self.tokenizer.all_special_tokens if len(token) > 1]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classifier")

    @property
    def name(self) -> str:
        """What the measure is called in tables."""
        return f"entailment by {self._model_name}"

    def note(self, counts: Counts) -> str:
        """Empty for the paper's classifier; otherwise what it is. Pairs that had to be cut are named."""
        said = []
        if Path(self.source).is_dir():
            said.append(
                f"The entailment classifier was given as the folder {self._model_name}; the paper's is {PAPER_MODEL}."
            )
        elif self.source != PAPER_MODEL:
            said.append(f"The paper measures entailment with {PAPER_MODEL}; this is another classifier.")
        if counts.cut:
            said.append(
                f"{counts.cut} pairs were longer than the {self._limit} tokens that the classifier reads, and were cut."
            )
        return " ".join(said)

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The probability of ENTAILMENT for each pair, as transformers' own pipeline gives it.

        Cancelling stops after the running batch.

        Raises:
            ModelCallError: the classifier failed, for want of memory for example, or gave something that is no
                probability.
        """
        if not pairs:
            return []
        stopped = threading.Event()
        try:
            scores, cut = await asyncio.get_running_loop().run_in_executor(self._thread, self._scores, pairs, stopped)
        finally:
            stopped.set()
        if counts is not None:
            counts.cut += cut
        if not all(0 <= score <= 1 for score in scores):  # not a number, for one
            raise ModelCallError(f"{self._model_name} gave scores that are no probabilities; use another model.")
        return scores

    def _scores(self, pairs: Sequence[tuple[str, str]], stopped: threading.Event) -> tuple[list[float], int]:
        """The pairs' scores, and how many were longer than the limit, and cut."""
        torch = optional("torch", "nli", _PURPOSE)
        scores = [math.nan] * len(pairs)
        try:
            sides = [[self._plain(text) for text in side] for side in zip(*pairs, strict=True)]
            encoded = self.tokenizer(*sides, verbose=False)
            cut = sum(len(tokens) > self._limit for tokens in encoded["input_ids"])
            if cut:
                encoded = self.tokenizer(*sides, truncation=True, max_length=self._limit)
            lengths = [len(tokens) for tokens in encoded["input_ids"]]
            for batch in batches_by_length(lengths, _MOST_TOKENS, _MOST_ROWS):
                if stopped.is_set():
                    break
                inputs = self.tokenizer.pad(
                    {key: [values[at] for at in batch] for key, values in encoded.items()}, return_tensors="pt"
                ).to(self._device)
                with torch.inference_mode():
                    rows = self.model(**inputs).logits.float().softmax(-1).cpu()
                for at, row in zip(batch, rows, strict=True):
                    scores[at] = float(row[self._label])
        except (RuntimeError, ValueError, IndexError) as error:  # out of memory is a RuntimeError, too
            raise ModelCallError(f"{self._model_name} failed: {_short(error)}; use another model or device.") from error
        return scores, cut

    def _plain(self, text: str) -> str:
        """The text with special tokens broken up: "[SEP]" in what somebody wrote must not end a sentence.

        Tokenizers can be told to read them as text, but some vocabularies have them as ordinary pieces, too.
        """
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


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
                    f"was saved whole, {_INSTEAD}."
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
        check_hub_cache(f"{_PURPOSE} {self._source}")
        try:
            hub.HfApi().model_info(self._source, timeout=_HUB_SECONDS)
        except Exception as error:  # the hub's errors share no base class that covers network, missing and forbidden
            raise self._unavailable(f"the hub did not offer it: {type(error).__name__}") from error

    def _unavailable(self, why: str) -> ModelLoadError:
        return ModelLoadError(
            f"{_PURPOSE} {self._source} is neither in a folder nor in the cache here, and cannot be downloaded "
            f"({why}); download it on a machine with network and pass the folder with --nli, {_INSTEAD}."
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


def _entailment_label(config: Any, source: str) -> int:
    """The number of the label ENTAILMENT, in whatever case."""
    labels: dict[int, str] = {int(number): str(label) for number, label in config.id2label.items()}
    numbers = [number for number, label in labels.items() if label.casefold() == "entailment"]
    if len(numbers) != 1 or len(labels) < 2 or config.problem_type not in (None, "single_label_classification"):
        raise ModelLoadError(
            f"{source} does not tell entailment from its contrary (its labels: {', '.join(labels.values())}); use a "
            f"classifier with a label ENTAILMENT such as {PAPER_MODEL}, {_INSTEAD}."
        )
    return numbers[0]


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
