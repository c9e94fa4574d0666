"""The base model with its dequantised weights in transformers, and a LoRA on it."""

from __future__ import annotations

import contextlib
import io
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modular_pluralism.errors import TrainingError
from modular_pluralism.llama.gguf_parts import parts
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.optional import optional

PURPOSE = "Training a community LM"


def load_base(gguf: Path) -> Any:
    """The model of a GGUF file as a transformers model in 32-bit floats, on the GPU if there is one.

    Raises:
        ModelLoadError: the extra `train` is not installed.
        TrainingError: transformers cannot read this architecture or file, or there is not enough memory.
    """
    torch = optional("torch", "train", PURPOSE)
    transformers = optional("transformers", "train", PURPOSE)
    optional("gguf", "train", PURPOSE)
    if len(parts(gguf)) > 1:
        raise TrainingError(
            f"transformers reads models of one file, and {gguf.name} is one of {len(parts(gguf))}; merge them first "
            "(llama-gguf-split --merge FIRST-PART WHOLE.gguf), and train that."
        )
    torch.set_num_threads(usable_cores())
    try:
        with _silent(transformers):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
            )
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    except Exception as error:  # transformers raises whatever its readers come upon
        if out_of_memory(error):
            raise TrainingError(
                f"{gguf.name} does not fit into memory as 32-bit floats; train a smaller base, or use a larger machine."
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"transformers cannot read the weights of {gguf} ({reason}); train a base of another architecture, such as "
            "Llama or Mistral."
        ) from error
    model.config.use_cache = False
    return model


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was what lacked; torch says so in a RuntimeError, on a GPU in a class of its own."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower())


def shrink_base(model: Any) -> None:
    """Keep the base's own weights as bfloat16 where the processor computes with them; the LoRA stays as it is.

    With that, a step takes half as long.
    """
    torch = optional("torch", "train", PURPOSE)
    if next(model.parameters()).device.type == "cpu" and not _has_bfloat16():
        return
    # torch's fused attention is slower in bfloat16 than plain products are, for prompts as short as these.
    model.config._attn_implementation = "eager"
    for weights in model.parameters():
        if not weights.requires_grad:
            weights.data = weights.data.to(torch.bfloat16)


def add_lora(model: Any, *, rank: int, scale: float, seed: int) -> Any:
    """The model with a new LoRA on all linear layers but the last, whose weights are drawn from `seed`."""
    peft = optional("peft", "train", PURPOSE)
    torch = optional("torch", "train", PURPOSE)
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=rank, lora_alpha=rank * scale, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():  # of what transformers calls by its older name
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, config)


def lora_state(model: Any) -> dict[str, Any]:
    """A copy of the LoRA's weights, on the CPU."""
    peft = optional("peft", "train", PURPOSE)
    # Asked for nothing but the LoRA, it does not look for the base's vocabulary, and warns of nothing.
    state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def set_lora_state(model: Any, state: dict[str, Any]) -> None:
    """Put weights of `lora_state` into the model."""
    optional("peft", "train", PURPOSE).set_peft_model_state_dict(model, state)


def fast_numbers(model: Any) -> contextlib.AbstractContextManager[Any]:
    """In this block the base computes in bfloat16 where the processor has instructions for it, which is faster."""
    torch = optional("torch", "train", PURPOSE)
    device = next(model.parameters()).device.type
    if device == "cpu" and not _has_bfloat16():
        return contextlib.nullcontext()
    autocast: contextlib.AbstractContextManager[Any] = torch.autocast(device, dtype=torch.bfloat16)
    return autocast


def _has_bfloat16() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@contextlib.contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Without the bars and notes that the library prints while it reads weights."""
    logger = transformers.utils.logging
    before = logger.get_verbosity()
    logger.set_verbosity_error()
    logger.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.set_verbosity(before)
        logger.enable_progress_bar()
