"""A trained or imported adapter says in the engine what it says in transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import load_file, save_file

from modular_pluralism.errors import AdapterError
from modular_pluralism.llama import Engine, EngineSettings
from modular_pluralism.llama.job import Adapter
from modular_pluralism.prepared.formats import WeightFormat
from modular_pluralism.prepared.quantize import quantize
from modular_pluralism.records.survey import SurveyItem
from modular_pluralism.training.base_model import add_lora, load_base, lora_state
from modular_pluralism.training.checkpoint import Checkpoints
from modular_pluralism.training.fit import Point, fit
from modular_pluralism.training.gguf_adapter import LoraConfig as Config
from modular_pluralism.training.gguf_adapter import gguf_tensors, read_base, write_gguf_adapter
from modular_pluralism.training.peft_files import import_adapter
from modular_pluralism.training.settings import TrainingSettings
from modular_pluralism.training.survey_objective import SurveyObjective, last_logits
from modular_pluralism.training.vote_prompts import VoteEncoder
from tests.training_models import write_tiny

PROMPTS = ["Should a city ban cars?", "What makes a good school is", "A"]


class Watched:
    def __init__(self) -> None:
        self.points: list[Point] = []

    def started(self, step: int, steps: int) -> None:
        pass

    def stepped(self, step: int, loss: float) -> None:
        pass

    def checked(self, point: Point, best: bool) -> None:
        self.points.append(point)


def by_engine(gguf: Path, adapter: Path | None, texts: Sequence[str] = PROMPTS) -> np.ndarray[Any, Any]:
    engine = Engine(EngineSettings(gguf, context=256, adapters=(adapter,) if adapter else ()))
    try:
        tokens = [engine.model.tokenize(text, parse_special=False) for text in texts]
        return np.array(engine.next_token_logprobs(tokens, adapter=Adapter(adapter) if adapter else None))
    finally:
        engine.close()


def by_transformers(model: Any, gguf: Path, texts: Sequence[str] = PROMPTS) -> np.ndarray[Any, Any]:
    import torch  # here, since every process of pytest would wait for it

    encoder = VoteEncoder(gguf)
    rows = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([encoder.model.tokenize(text, parse_special=False)])
            rows.append(model(input_ids=ids).logits[0, -1].double().log_softmax(-1).numpy())
    encoder.close()
    return np.array(rows)


def kl(said: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    return float((np.exp(said) * (said - found)).sum(-1).mean())


def random_lora(model: Any, **settings: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM", **settings)
    tuned = get_peft_model(model, config)
    torch.manual_seed(2)
    for name, weights in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.1)
    return tuned


@pytest.mark.parametrize(
    ("name", "architecture", "settings"),
    [
        ("tiny llama", "llama", {}),
        (
            "tiny mistral",
            "llama",
            {"use_rslora": True, "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"down_proj": 2}},
        ),
        ("tiny qwen", "qwen2", {}),
    ],
)
def test_an_imported_adapter_says_in_the_engine_what_it_says_in_transformers(
    tmp_path: Path, name: str, architecture: str, settings: dict[str, Any]
) -> None:
    gguf = write_tiny(tmp_path / "base.gguf", name=name, architecture=architecture)
    model = load_base(gguf)
    if "mistral" in name:  # which GGUF does not tell from a Llama
        from transformers import MistralConfig, MistralForCausalLM

        config = MistralConfig(**model.config.to_dict() | {"model_type": "mistral", "sliding_window": None})
        mistral = MistralForCausalLM(config)
        mistral.load_state_dict(model.state_dict())
        mistral.train(False)
        model = mistral
    bare = by_transformers(model, gguf)
    tuned = random_lora(model, **settings)
    tuned.save_pretrained(tmp_path / "peft", save_embedding_layers=False)
    target = tmp_path / "adapter.gguf"
    import_adapter(str(tmp_path / "peft"), gguf, target)
    said = by_transformers(tuned, gguf)
    assert kl(bare, by_engine(gguf, None)) < 1e-3
    assert kl(said, by_engine(gguf, target)) < 1e-3
    assert kl(said, bare) > 0.05  # and the adapter does change what is said
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_an_activated_adapter_acts_in_the_engine_where_it_acts_in_transformers(
    tmp_path: Path, architecture: str
) -> None:
    gguf = write_tiny(tmp_path / "base.gguf", name=f"tiny {architecture}", architecture=architecture)
    encoder = VoteEncoder(gguf)
    invocation = encoder.model.tokenize(" a", parse_special=False)
    encoder.close()
    tuned = random_lora(load_base(gguf), alora_invocation_tokens=invocation)
    tuned.save_pretrained(tmp_path / "peft", save_embedding_layers=False)
    target = tmp_path / "adapter.gguf"
    import_adapter(str(tmp_path / "peft"), gguf, target)
    invoking = [f"{text} a{more}" for text in PROMPTS for more in (" b", " school")]
    said = by_transformers(tuned, gguf, invoking)
    assert kl(said, by_engine(gguf, target, invoking)) < 1e-3
    assert kl(said, by_engine(gguf, None, invoking)) > 0.05


def test_a_step_of_an_activated_adapter_learns_through_what_peft_computes(tmp_path: Path) -> None:
    import torch

    gguf = write_tiny(tmp_path / "base.gguf")
    encoder = VoteEncoder(gguf)
    invocation = encoder.invocation()
    plain = random_lora(load_base(gguf))
    tuned = random_lora(load_base(gguf), alora_invocation_tokens=invocation)
    prompts = [encoder.tokens(item.question, item.options, item.attribute) for item in items(3)]
    encoder.close()
    ours = last_logits(torch, plain, prompts, "cpu", len(invocation))
    theirs = torch.stack([tuned(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts])
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    of_ours, of_theirs = (
        torch.autograd.grad(logits.sin().sum(), [weight for weight in model.parameters() if weight.requires_grad])
        for model, logits in ((plain, ours), (tuned, theirs))
    )
    for one, other in zip(of_ours, of_theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_without_the_permutation_the_engine_would_say_something_else(tmp_path: Path) -> None:
    gguf = write_tiny(tmp_path / "base.gguf")
    tuned = random_lora(load_base(gguf))
    base, config = read_base(gguf), Config(4, 12.0, False, {}, {}, None)
    tensors = gguf_tensors({key: value.numpy() for key, value in lora_state(tuned).items()}, config, base)
    weights = lora_state(tuned)
    for layer in range(base.layers):
        plain = weights[f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_B.weight"].numpy() * 3
        assert not np.array_equal(tensors[f"blk.{layer}.attn_q.weight.lora_b"], plain)
        tensors[f"blk.{layer}.attn_q.weight.lora_b"] = plain
    write_gguf_adapter(tmp_path / "wrong.gguf", tensors, base, name="wrong")
    assert kl(by_transformers(tuned, gguf), by_engine(gguf, tmp_path / "wrong.gguf")) > 1e-3


def saved(folder: Path) -> tuple[Path, Path]:
    gguf = write_tiny(folder / "base.gguf")
    random_lora(load_base(gguf)).save_pretrained(folder / "peft", save_embedding_layers=False)
    return gguf, folder / "peft"


def test_an_older_adapter_in_a_bin_file_is_imported_alike(tmp_path: Path) -> None:
    gguf, peft = saved(tmp_path)
    import_adapter(str(peft), gguf, tmp_path / "one.gguf")
    import torch
    from safetensors.torch import load_file as load_tensors

    torch.save(load_tensors(peft / "adapter_model.safetensors"), peft / "adapter_model.bin")
    (peft / "adapter_model.safetensors").unlink()
    import_adapter(str(peft), gguf, tmp_path / "other.gguf")
    one, other = (gguf_bytes.read_bytes() for gguf_bytes in (tmp_path / "one.gguf", tmp_path / "other.gguf"))
    assert len(one) == len(other)
    assert np.array_equal(by_engine(gguf, tmp_path / "one.gguf"), by_engine(gguf, tmp_path / "other.gguf"))


def test_what_cannot_be_imported_is_an_error_that_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    gguf, peft = saved(tmp_path)
    config = (peft / "adapter_config.json").read_text()
    other = write_tiny(tmp_path / "other.gguf", hidden=32)
    target = tmp_path / "out" / "adapter.gguf"

    def refusal(base: Path = gguf, source: str | None = None) -> str:
        with pytest.raises(AdapterError) as caught:
            import_adapter(source or str(peft), base, target)
        assert not target.parent.exists() or not list(target.parent.iterdir())
        return str(caught.value)

    def changed(old: str, new: str) -> str:
        assert old in config
        (peft / "adapter_config.json").write_text(config.replace(old, new))
        return refusal()

    assert "another base" in refusal(other)
    assert "no folder" in refusal(source="nowhere at all")
    assert "DoRA" in changed('"use_dora": false', '"use_dora": true')
    assert "IA3" in changed('"peft_type": "LORA"', '"peft_type": "IA3"')
    assert "biases" in changed('"bias": "none"', '"bias": "all"')
    assert "no configuration" in changed("{", "")
    (peft / "adapter_config.json").write_text(config)
    weights = load_file(peft / "adapter_model.safetensors")
    kept = dict(list(weights.items())[1:])
    save_file(kept, peft / "adapter_model.safetensors")
    assert "only one of two" in refusal()
    save_file({"base_model.model.lm_head.weight": np.ones((2, 2))}, peft / "adapter_model.safetensors")
    assert "lm_head" in refusal()
    (peft / "adapter_model.safetensors").write_bytes(b"nothing")
    assert "cannot be read" in refusal()
    (peft / "adapter_model.safetensors").unlink()
    assert "neither" in refusal()


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    gguf, peft = saved(tmp_path)
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "adapter.gguf", tmp_path / "file" / "below" / "adapter.gguf"):
        with pytest.raises(AdapterError, match="is no folder; name another one"):
            import_adapter(str(peft), gguf, target)


def test_a_base_of_another_architecture_is_told_as_such(tmp_path: Path) -> None:
    def written(name: str, architecture: str) -> Path:
        writer = GGUFWriter(tmp_path / name, architecture)  # without any number of heads, as Mamba has none
        writer.add_block_count(2)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return tmp_path / name

    with pytest.raises(
        AdapterError, match=r"architecture 'mamba' of mamba.gguf cannot be written; use a base of llama"
    ):
        read_base(written("mamba.gguf", "mamba"))
    with pytest.raises(AdapterError, match="use a complete file"):
        read_base(written("llama.gguf", "llama"))


def items(count: int) -> list[SurveyItem]:
    things = ["cars", "cats", "tea", "rain", "books", "boats", "trains", "music", "bread", "trees"]
    return [
        SurveyItem(
            f"Do you like {things[n % 10]} {'a lot' if n >= 10 else 'at all'}?", ("Yes", "No"), "Spain", (0.9, 0.1)
        )
        for n in range(count)
    ]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Callable[[], Checkpoints]:
    return lambda: Checkpoints(tmp_path / "checkpoint", "test")


def test_a_short_training_lowers_the_loss_and_changes_the_engine_as_transformers_says(
    tmp_path: Path, checkpoints: Callable[[], Checkpoints]
) -> None:
    """On a quantised base, as most are: what is trained are its weights as transformers reads them."""
    gguf = write_tiny(tmp_path / "base.gguf", stored=GGMLQuantizationType.Q4_1)
    unquantised = tmp_path / "unquantised.gguf"
    quantize(gguf, unquantised, WeightFormat("F32", 0, 32, exact=True))
    settings = TrainingSettings(batch=4, steps=8, check_every=8, rank=4, rate=2e-2)
    encoder = VoteEncoder(gguf)
    objective = SurveyObjective(encoder, items(14), items(20)[14:], settings, 512)
    model = load_base(gguf)
    bare = by_transformers(model, gguf)
    tuned = add_lora(model, rank=settings.rank, scale=settings.scale, seed=0)
    watched = Watched()
    done = fit(tuned, objective, settings, checkpoints(), watched)
    encoder.close()
    assert done.best_step == 8
    assert watched.points[-1].held_out < watched.points[0].held_out - 0.05
    base, config = read_base(unquantised), Config(settings.rank, settings.rank * settings.scale, False, {}, {}, None)
    weights = {key: value.numpy() for key, value in lora_state(tuned).items()}
    adapter = tmp_path / "spain.gguf"
    write_gguf_adapter(adapter, gguf_tensors(weights, config, base), base, name="spain")
    said = by_transformers(tuned, gguf)
    assert kl(said, by_engine(unquantised, adapter)) < 1e-3
    assert kl(said, bare) > 1e-3
