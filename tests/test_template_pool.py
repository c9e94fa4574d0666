"""A pool whose models have other templates than the demo's: runs, and what `communities check` says of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from modular_pluralism.cli.community import _base
from modular_pluralism.errors import ChatTemplateError
from modular_pluralism.graphs import build_distributional, build_overton
from modular_pluralism.graphs.state import DistributionalQuestion
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from modular_pluralism.training.train import _encoder
from modular_pluralism.types import Voice
from tests.command import pluralism
from tests.random_model import RANDOM_GGUF
from tests.vendored import chat_template

_TABLE = """
[models.{name}]
gguf = "{gguf}"
template_file = "{name}.jinja"
context = 512
slots = 2
"""
_COMMUNITY = '[communities.{name}]\nmodel = "{model}"\npersona = "rural.md"\ndescription = "people"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "rural.md").write_text("You speak for people in the country.")
    (folder / "gemma.jinja").write_text(chat_template("google-gemma-2-2b-it"))
    (folder / "broken.jinja").write_text("{{ unheard_of() }}")
    tables = "".join(_TABLE.format(name=name, gguf=RANDOM_GGUF) for name in ("gemma", "broken"))
    communities = "".join(
        _COMMUNITY.format(name=name, model=model)
        for name, model in (("one", "gemma"), ("two", "gemma"), ("three", "gemma"), ("mute", "broken"))
    )
    run = "[run]\nquorum = 2\ncomment_tokens = 4\nanswer_tokens = 4\n"
    (folder / "pool.toml").write_text(f'base = "gemma"\n{tables}{communities}{run}')
    return folder


def test_a_community_whose_template_cannot_render_is_missing(folder: Path) -> None:
    pool = Pool.load(folder / "pool.toml")
    models = PoolModels(pool)
    result = build_overton(pool, models=models).compile().invoke({"question": "Should everybody vote?", "seed": 1})
    assert result["missing"] == ["mute"]
    assert "unheard_of" in (result["comments"]["mute"]["error"] or "")
    assert all(result["comments"][name]["text"] for name in ("one", "two", "three"))
    asked: DistributionalQuestion = {"question": "Should everybody vote?", "options": ["Yes", "No"], "seed": 1}
    voices: tuple[Voice, ...] = ("comment", "vote")
    for voice in voices:
        graph = build_distributional(pool, models=models, voice=voice)
        assert graph.compile().invoke(asked)["missing"] == ["mute"]


def test_a_base_llm_whose_template_cannot_render_ends_the_run(folder: Path) -> None:
    pool = Pool.load(folder / "pool.toml").model_copy(update={"base": "broken"})
    graph = build_overton(pool, models=PoolModels(pool))
    with pytest.raises(ChatTemplateError, match="unheard_of"):
        graph.compile().invoke({"question": "Should everybody vote?", "seed": 1})


def test_check_asks_what_a_run_asks(folder: Path) -> None:
    done = pluralism("communities", "check", "--pool", str(folder / "pool.toml"))
    assert done.returncode == 1
    marks = {line.split(":")[0].split(maxsplit=1)[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert marks == {"base LLM": "ok", "one": "ok", "two": "ok", "three": "ok", "mute": "FAILED"}
    assert "unheard_of" in done.stdout


def test_a_training_reads_prompts_as_a_run_does(folder: Path) -> None:
    base = _base("gemma", str(folder / "pool.toml"))
    with closing(_encoder(base)) as encoder:
        read = encoder.tokens("Is tea good?", ["Yes", "No"], None)
        text = b"".join(map(encoder.model.piece, read)).decode()
    assert "<start_of_turn>user" in text
