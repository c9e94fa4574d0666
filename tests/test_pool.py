"""The pool file: what it may say, and what a reader is told about each thing that it may not."""

from __future__ import annotations

import json
import math
import os
import pickle
import tomllib
import traceback
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modular_pluralism.errors import PoolError, PromptError
from modular_pluralism.graphs import build_pluralism
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import (
    Community,
    EmbeddedModel,
    LangChainModel,
    Pool,
    RemoteModel,
    RunSettings,
)
from modular_pluralism.pools import BUILT_IN_POOLS
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.setup import _pool_fingerprint

HEAD = 'base = "small"\n\n[models.small]\ngguf = "small.gguf"\n'
VALID = HEAD + '\n[communities.north]\nmodel = "small"\ndescription = "People in the north"\n'
REMOTE = VALID + '\n[models.far]\nopenai = "gpt-4o-mini"\n'


def parse(text: str, folder: Path = Path()) -> Pool:
    return Pool.from_toml(text, source="my.toml", folder=folder)


def refusal(text: str, folder: Path = Path()) -> str:
    with pytest.raises(PoolError) as caught:
        parse(text, folder)
    message = str(caught.value)
    assert_one_sentence(message)
    assert message.startswith("my.toml")
    return message


def assert_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert not message.endswith(".")
    assert ". " not in message


# What a pool is


def test_a_small_pool_gets_the_defaults() -> None:
    pool = parse(VALID)
    assert (pool.name, pool.base, pool.quorum) == ("my", "small", 1)
    assert pool.models["small"] == EmbeddedModel(gguf="small.gguf")
    assert pool.run == RunSettings(quorum=None, deadline=300.0, attempts=3, comment_tokens=128, answer_tokens=256)
    assert pool.priors == {"north": 1.0}
    assert pool.persona_text("north") == "You speak for these people: People in the north\nAnswer as they would."


def test_a_pool_is_frozen() -> None:
    with pytest.raises(ValidationError):
        parse(VALID).base = "other"


def test_the_kind_of_a_model_follows_from_its_key() -> None:
    models = parse(REMOTE).models
    assert isinstance(models["small"], EmbeddedModel)
    assert isinstance(models["far"], RemoteModel)


def test_the_address_of_a_remote_model_is_its_base_url_without_a_password() -> None:
    assert RemoteModel(openai="m").address is None
    assert RemoteModel(openai="m", base_url="http://a/v1").address == "http://a/v1"
    assert RemoteModel(openai="m", base_url="https://me:w%21@[::1]:80/v1").address == "https://[::1]:80/v1"
    assert RemoteModel(openai="m", base_url="http://me:w@h//x@y/v1").address == "http://h//x@y/v1"
    assert RemoteModel(openai="m", base_url="http:/\t/me:w@h/v1").address == "http://h/v1"


@pytest.mark.parametrize(
    "address",
    [
        *("http://me:canary@h/v1", "ftp://me:canary@h/v1", "http://h/v1?key=canary"),
        *("http://other/v1,http://me:canary@h/v1", "http:/\\t/me:canary@h/v1"),
    ],
)
def test_a_password_in_an_address_is_not_shown(address: str) -> None:
    shown = []
    for value in (f'"{address}"', f'["http://other/v1", "{address}"]'):
        try:
            shown.append(repr(parse(f"{REMOTE}base_url = {value}\n")))
        except PoolError as error:
            shown.append("".join(traceback.format_exception(error)))
    assert len(shown) == 2
    assert "canary" not in "".join(shown)


def test_communities_keep_the_order_of_the_file() -> None:
    tables = [f'[communities.{name}]\nmodel = "small"\ndescription = "d"\n' for name in ("west", "east", "a")]
    assert list(parse(HEAD + "".join(tables)).communities) == ["west", "east", "a"]


def test_whole_numbers_are_numbers() -> None:
    assert parse(VALID + "prior = 3\n").communities["north"].prior == 3.0


@pytest.mark.parametrize(("communities", "quorum"), [(1, 1), (2, 2), (3, 2), (6, 4), (11, 6)])
def test_the_quorum_is_a_majority_unless_the_file_says_otherwise(communities: int, quorum: int) -> None:
    text = HEAD + "".join(f'[communities.c{n}]\nmodel = "small"\ndescription = "d"\n' for n in range(communities))
    assert parse(text).quorum == quorum
    assert parse(text + "[run]\nquorum = 1\n").quorum == 1


@pytest.mark.parametrize("priors", [[1.0, 1.0], [3.0, 1.0], [0.0, 2.0], [1.7e308, 1.7e308], [5e-324, 5e-324]])
def test_priors_are_normalised(priors: list[float]) -> None:
    text = HEAD + "".join(
        f'[communities.c{n}]\nmodel = "small"\ndescription = "d"\nprior = {prior!r}\n' for n, prior in enumerate(priors)
    )
    weights = list(parse(text).priors.values())
    assert math.isclose(sum(weights), 1.0)
    assert math.isclose(weights[0] * priors[1], weights[1] * priors[0])


def test_crlf_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode())
    assert Pool.load(path).name == "windows"


def test_an_unset_key_is_not_looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert parse(REMOTE + 'api_key_env = "NO_SUCH_KEY"\n')


HUB_AND_OLLAMA = ("hf:o/r/sub/a.gguf", "hf:o/r", "hf:o/r:Q4_K_M", "ollama:gemma3", "ollama:hf.co/o/r:Q8_0")


@pytest.mark.parametrize("path", ["/elsewhere/a.gguf", "../a.gguf", "package:pkg.sub/a.gguf", *HUB_AND_OLLAMA])
def test_where_a_model_may_lie(path: str) -> None:
    assert parse(VALID.replace("small.gguf", path)).models["small"] == EmbeddedModel(gguf=path)


def test_a_lora_may_lie_anywhere() -> None:
    assert parse(VALID + 'lora = "/elsewhere/a.gguf"\n').communities["north"].lora == "/elsewhere/a.gguf"


# Personas


def test_a_persona_beside_the_pool_comes_before_the_built_in_one(tmp_path: Path) -> None:
    text = VALID + 'persona = "asia.md"\n'
    built_in = parse(text, tmp_path).persona_text("north")
    assert built_in is not None
    assert "Asia" in built_in
    (tmp_path / "asia.md").write_text("You are {plain} text.\n", encoding="utf-8")
    assert parse(text, tmp_path).persona_text("north") == "You are {plain} text."


@pytest.mark.parametrize("listed", [False, True])
def test_texts_that_models_are_told_lie_in_the_pool_s_folder_or_a_listed_one(
    listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "pool"
    for each in (elsewhere, folder / "..data"):
        each.mkdir(parents=True)
        (each / "own.md").write_text("You are somebody.", encoding="utf-8")
    if listed:
        monkeypatch.setenv("MODULAR_PLURALISM_FILES", os.pathsep.join(["~/x", str(elsewhere)]))
    (folder / "one.md").symlink_to(Path("..data", "own.md"))  # as Kubernetes mounts files
    (folder / "two.md").symlink_to(elsewhere / "own.md")
    (folder / "small.gguf").write_bytes(b"GGUF")
    assert parse(VALID + 'persona = "one.md"\n', folder).persona_text("north") == "You are somebody."
    for text in (
        VALID + 'persona = "two.md"\n',
        _TEMPLATED.replace("chat.jinja", "../elsewhere/own.md"),
        _TEMPLATED.replace("chat.jinja", f"{elsewhere}/own.md"),
        _TEMPLATED.replace("chat.jinja", "two.md"),
    ):
        if listed:
            assert parse(text, folder).communities
        else:
            with pytest.raises(PoolError, match=r"own\.md, outside the pool's folder; put the file there, or list its"):
                parse(text, folder)


def test_asking_for_the_persona_of_an_unknown_community() -> None:
    with pytest.raises(PoolError, match="did you mean 'north'"):
        parse(VALID).persona_text("nort")


def test_a_persona_that_has_gone_is_a_prompt_error(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("You are you.", encoding="utf-8")
    pool = parse(VALID + 'persona = "own.md"\n', tmp_path)
    (tmp_path / "own.md").unlink()
    with pytest.raises(PromptError, match=r"own\.md"):
        pool.persona_text("north")


def test_a_persona_may_stand_in_the_pool_itself(tmp_path: Path) -> None:
    text = 'persona = """\r\n You speak for {farmers}.\r\nYou are brief.\n"""\n'
    pool = parse(VALID + text, tmp_path)
    assert pool.persona_text("north") == "You speak for {farmers}.\nYou are brief."
    assert pool.persona_source("north") == "in the pool"
    assert (
        parse(VALID + 'persona = "あなたは農家の代弁者です。"\n').persona_text("north") == "あなたは農家の代弁者です。"
    )


@pytest.mark.parametrize("word", ["asia", "asia.txt", "asia.MD"])
def test_one_word_is_a_file_that_is_mistyped(word: str) -> None:
    message = refusal(VALID + f'persona = "{word}"\n')
    assert "[communities.north] persona: a persona is a plain file name such as 'news_left.md'" in message
    assert repr(word) in message


def test_a_community_that_would_be_another_ones_model_speaks_for_its_description(tmp_path: Path) -> None:
    small, own = 'model = "small"\n', '[models.own]\ngguf = "own.gguf"\n'
    text = VALID + f'{own}[communities.a]\n{small}description = "a  {{b}}\\nc"\n'
    text += f'[communities.lora]\n{small}description = "d"\nlora = "x.gguf"\n'
    text += '[communities.other]\nmodel = "own"\ndescription = "d"\n'
    pool = parse(text, tmp_path)
    assert pool.persona_text("a") == "You speak for these people: a {b} c\nAnswer as they would."
    assert {name: pool.persona_source(name) for name in pool.communities} == {
        "north": "from its description",
        "a": "from its description",
        "lora": None,
        "other": None,
    }
    assert pool.persona_text("lora") is pool.persona_text("other") is None
    shared = parse(text + '[communities.more]\nmodel = "own"\ndescription = "e"\n', tmp_path)
    assert shared.persona_text("other") != shared.persona_text("more")
    beside = parse(text + '[communities.more]\nmodel = "own"\ndescription = "e"\npersona = "asia.md"\n', tmp_path)
    assert beside.persona_text("other") is None, "what another one makes of its model changes nothing"


@pytest.mark.parametrize(
    "name", ["../own.md", "sub/own.md", "/etc/passwd", "sub\\own.md", "C:own.md", "..", ".env", ""]
)
def test_a_persona_is_a_file_name_and_no_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("You are you.", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.md").write_text("You are you.", encoding="utf-8")
    message = refusal(VALID + f"persona = {json.dumps(name)}\n", tmp_path / "sub")
    assert "[communities.north] persona" in message
    assert "plain file name" in message


# What a pool may not say. Each case: the text, and what the message has to name.

BAD: dict[str, tuple[str, list[str]]] = {
    "no models": ('base = "small"\n', ["[models.*]", "add"]),
    "no communities": (HEAD, ["[communities.*]", "add"]),
    "no base": (VALID.replace('base = "small"', ""), ["base", "add"]),
    "base names no model": (VALID.replace('base = "small"', 'base = "smal"'), ["base", "'smal'", "mean 'small'"]),
    "base is no text": (VALID.replace('base = "small"', "base = 3"), ["base must be text", "not 3"]),
    "community's model": (
        VALID.replace('model = "small"', 'model = "b"'),
        ["[communities.north] model", "'b'", "small"],
    ),
    "unknown table": (VALID + "[rnu]\nquorum = 1\n", ["table 'rnu'", "mean 'run'"]),
    "unknown top key": ('nam = "x"\n' + VALID, ["unknown key 'nam'", "base, models"]),
    "name is not from the file": ('name = "x"\n' + VALID, ["unknown key 'name'"]),
    "folder is not from the file": ('folder = "x"\n' + VALID, ["unknown key 'folder'"]),
    "unknown model key": (HEAD + "contxt = 5\n", ["[models.small]", "'contxt'", "mean 'context'"]),
    "unknown remote key": (REMOTE + 'api_key = "sk"\n', ["[models.far]", "'api_key'", "mean 'api_key_env'"]),
    "unknown community key": (VALID + "prio = 1\n", ["[communities.north]", "'prio'", "mean 'prior'"]),
    "unknown run key": (VALID + "[run]\nquorums = 1\n", ["[run]", "'quorums'", "mean 'quorum'"]),
    "gguf and openai": (HEAD + 'openai = "m"\n', ["[models.small]", "both gguf and openai", "keep"]),
    "neither gguf nor openai": (VALID + "[models.m]\n", ["[models.m]", "none of gguf, openai and langchain", "add"]),
    "misspelt gguf": (VALID + '[models.m]\nguff = "x"\n', ["[models.m]", "mean 'gguf'"]),
    "model is no table": ('base = "m"\nmodels.m = 3\n', ["[models.m]", "a table", "not 3"]),
    "models is no table": ('base = "m"\nmodels = 3\n', ["[models]", "a table", "not 3"]),
    "community is no table": ("communities.a = 1\n" + HEAD, ["[communities.a]", "a table", "not 1"]),
    "communities is a list": (HEAD + "[[communities]]\n", ["[communities]", "a table", "not a list"]),
    "run is no table": ("run = true\n" + VALID, ["[run]", "a table", "not true"]),
    "model's name": (VALID + '[models."a b"]\ngguf = "x"\n', ["[models.'a b']", "write"]),
    "empty gguf": (HEAD.replace("small.gguf", ""), ["[models.small] gguf", "not empty"]),
    "gguf in a package": (VALID.replace("small.gguf", "package:pkg"), ["[models.small] gguf", "package:PACKAGE/FILE"]),
    "gguf on the hub": (VALID.replace("small.gguf", "hf:o"), ["[models.small] gguf", "hf:OWNER/REPO:QUANT"]),
    "gguf with two tags": (VALID.replace("small.gguf", "hf:o/r:Q4:Q8"), ["[models.small] gguf", "hf:OWNER/REPO:QUANT"]),
    "gguf of ollama": (VALID.replace("small.gguf", "ollama:../x"), ["[models.small] gguf", "'ollama:NAME:TAG'"]),
    "gguf with a null": (VALID.replace("small.gguf", "\\u0000"), ["[models.small] gguf", "control characters"]),
    "context too small": (HEAD + "context = 63\n", ["[models.small] context", "at least 64", "not 63"]),
    "context is text": (HEAD + 'context = "4096"\n', ["[models.small] context", "whole number", "not '4096'"]),
    "context is no whole number": (HEAD + "context = 64.5\n", ["[models.small] context", "whole number", "64.5"]),
    "context is true": (HEAD + "context = true\n", ["[models.small] context", "whole number", "not true"]),
    "endless context": (HEAD + f"context = 0x{'f' * 9000}\n", ["[models.small] context", "so many digits"]),
    "no memory": (HEAD + "memory = 0.0\n", ["[models.small] memory"]),
    "no slots": (HEAD + "slots = 0\n", ["[models.small] slots", "at least 1", "not 0"]),
    "too many slots": (HEAD + "slots = 257\n", ["[models.small] slots", "at most 256", "not 257"]),
    "no threads": (HEAD + "threads = 0\n", ["[models.small] threads", "at least 1"]),
    "temperature": (HEAD + "temperature = -0.1\n", ["[models.small] temperature", "at least 0", "not -0.1"]),
    "endless temperature": (HEAD + "temperature = inf\n", ["[models.small] temperature", "finite"]),
    "top_p of 0": (HEAD + "top_p = 0\n", ["[models.small] top_p", "above 0"]),
    "top_p above 1": (HEAD + "top_p = 1.1\n", ["[models.small] top_p", "at most 1"]),
    "top_k": (HEAD + "top_k = -1\n", ["[models.small] top_k", "at least 0"]),
    "min_p": (HEAD + "min_p = 2\n", ["[models.small] min_p", "at most 1"]),
    "template": (HEAD + 'template = "no"\n', ["[models.small] template", "true or false"]),
    "empty openai": (REMOTE.replace("gpt-4o-mini", ""), ["[models.far] openai", "not empty"]),
    "base_url without http": (REMOTE + 'base_url = "localhost:80/v1"\n', ["[models.far] base_url", "http://"]),
    "base_url of a file": (REMOTE + 'base_url = "file:///etc"\n', ["[models.far] base_url", "http://"]),
    "base_url without host": (REMOTE + 'base_url = "http://"\n', ["[models.far] base_url", "http://"]),
    "base_url malformed": (REMOTE + 'base_url = "http://[::1"\n', ["[models.far] base_url", "http://"]),
    "base_url's port": (REMOTE + 'base_url = "http://h:99999/"\n', ["[models.far] base_url", "http://"]),
    "base_url is a number": (REMOTE + "base_url = 8080\n", ["[models.far] base_url", "http://", "not 8080"]),
    "several base_urls": (
        REMOTE + 'base_url = ["http://a/v1", "http://me:word@b/v1"]\n',
        ["[models.far] base_url must be one address", "put a load balancer such as nginx before", "not a list"],
    ),
    "base_url with a query": (
        REMOTE + 'base_url = "http://h/v1?key=k"\n',
        ["[models.far] base_url", "'?'", "api_key_env"],
    ),
    "no time for a try": (REMOTE + "try_seconds = 0\n", ["[models.far] try_seconds", "above 0", "not 0"]),
    "a key itself": (REMOTE + 'api_key_env = "sk-secret-1"\n', ["[models.far] api_key_env", "OPENAI_API_KEY"]),
    "no community model": (HEAD + '[communities.a]\ndescription = "d"\n', ["[communities.a]", "no model;", "add"]),
    "no description": (HEAD + '[communities.a]\nmodel = "small"\n', ["[communities.a]", "no description", "add"]),
    "blank description": (VALID.replace("People in the north", " "), ["[communities.north] description", "' '"]),
    "negative prior": (VALID + "prior = -1\n", ["[communities.north] prior", "at least 0", "not -1"]),
    "prior is no number": (VALID + "prior = nan\n", ["[communities.north] prior", "not nan"]),
    "endless prior": (VALID + "prior = inf\n", ["[communities.north] prior", "finite"]),
    "priors are 0": (VALID + "prior = 0\n", ["prior is 0", "[communities.*]", "north", "above 0"]),
    "lora_scale": (VALID + "lora_scale = nan\n", ["[communities.north] lora_scale", "finite"]),
    "empty lora": (VALID + 'lora = ""\n', ["[communities.north] lora", "not empty"]),
    "lora on a remote model": (
        REMOTE + '[communities.b]\nmodel = "far"\ndescription = "d"\nlora = "x.gguf"\n',
        ["[communities.b] lora", "'far'", "remove"],
    ),
    "persona missing": (
        VALID + 'persona = "asai.md"\n',
        ["[communities.north] persona", "'asai.md'", "mean 'asia.md'"],
    ),
    "persona with a long name": (VALID + f'persona = "{"x" * 999}"\n', ["[communities.north] persona"]),
    "quorum of 0": (VALID + "[run]\nquorum = 0\n", ["[run] quorum", "at least 1", "not 0"]),
    "quorum above all": (VALID + "[run]\nquorum = 2\n", ["[run] quorum", "at most 1", "not 2"]),
    "deadline": (VALID + "[run]\ndeadline = 0\n", ["[run] deadline", "above 0"]),
    "endless deadline": (VALID + "[run]\ndeadline = inf\n", ["[run] deadline", "finite"]),
    "attempts": (VALID + "[run]\nattempts = 0\n", ["[run] attempts", "at least 1"]),
    "comment_tokens": (VALID + "[run]\ncomment_tokens = 0\n", ["[run] comment_tokens", "at least 1"]),
    "answer_tokens": (VALID + "[run]\nanswer_tokens = -5\n", ["[run] answer_tokens", "not -5"]),
    "score_samples": (VALID + "[run]\nscore_samples = 1.5\n", ["[run] score_samples", "whole number"]),
    "not TOML": ("base = \n[models.x]", ["line 1", "not TOML"]),
    "not TOML, further down": (VALID + "prior 1\n", ["line 9", "not TOML"]),
    "unfinished text": ('base = "small', ["line 1", "not TOML"]),
    "table twice": (VALID + "[communities.north]\n", ["line 9", "[communities.north] appears twice", "rename"]),
    "key twice": (VALID + "prior = 1\nprior = 2\n", ["already set", "remove"]),
    "key twice in one line": ("run = {attempts = 1, attempts = 2}\n", ["line 1", "already set"]),
    "nested deeply": (f"base = {'[' * 5000}", ["nested too deeply"]),
    "nested in lists": (VALID + f"[models.x]\ntemplate_kwargs.x = {'[' * 40}{']' * 40}\n", ["nested too deeply"]),
    "a key of many parts": (VALID + f"[x]\n {'a.' * 20_000}a = 1\n", ["nested too deeply"]),
    "a quoted key of many parts": ("x = { " + '"a" . ' * 20_000 + "a = 1 }\n", ["nested too deeply"]),
    "a table's name of many parts": (f"[{'a.' * 20_000}a]\n", ["nested too deeply"]),
    "more than a pool file holds": ("#" * 2**20 + "\n", ["larger than 1 MiB"]),
    "thousands of digits": (f"base = {'1' * 5000}", ["line 1", "more digits than can be read"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_refusal_names_the_place_and_the_mend(case: str) -> None:
    text, parts = BAD[case]
    message = refusal(text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("line", ['api_key_env = "sk-secret-1"', 'api_key = "sk-secret-1"'])
def test_a_key_in_the_file_is_not_repeated(line: str) -> None:
    with pytest.raises(PoolError) as caught:
        parse(REMOTE + line)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["a b", "a.b", "_a", "-a", "ä", "a\n", "a" * 65, "", "__start__", "a/b", "a:b"])
def test_unusable_community_names(name: str) -> None:
    message = refusal(HEAD + f'[communities.{json.dumps(name)}]\nmodel = "small"\ndescription = "d"\n')
    assert "[communities." in message
    assert "is no usable name" in message


@pytest.mark.parametrize("name", ["a", "0", "north-west_2", "A" * 64])
def test_usable_community_names(name: str) -> None:
    assert list(parse(VALID.replace("north", name, 1)).communities) == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("question", "options", "attribute", "seed", "comments", "answer", "usage", "selected", "choice"),
        *("distributions", "distribution", "label_mass", "disagreement", "weights", "missing", "votes", "readings"),
        *("check", "merge", "select", "respond", "score", "vote", "aggregate", "Merge", "VOTES"),
    ],
)
def test_names_that_graphs_use_themselves(name: str) -> None:
    pool = parse(VALID.replace("communities.north", f"communities.{name}"))
    with pytest.raises(PoolError) as caught:
        build_pluralism(pool, voice="comment,vote")
    assert f"[communities.{name}]" in str(caught.value)
    assert "rename" in str(caught.value)


def test_names_that_differ_only_in_case() -> None:
    message = refusal(VALID + '[communities.North]\nmodel = "small"\ndescription = "d"\n')
    assert "[communities.North]" in message
    assert "[communities.north]" in message
    assert "rename" in message


# Files


def test_loading_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(VALID, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for spelling in (path, str(path), "mine.toml", "./mine.toml"):
        pool = Pool.load(spelling)
        assert (pool.name, pool.folder) == ("mine", tmp_path)


def make_nothing(path: Path) -> None:
    pass


def make_folder(path: Path) -> None:
    path.mkdir()


def make_latin1(path: Path) -> None:
    path.write_bytes("base = 'é'".encode("latin-1"))


@pytest.mark.parametrize(
    ("make", "part"),
    [(make_nothing, "does not exist"), (make_folder, "cannot be read"), (make_latin1, "UTF-8 text (byte 8)")],
)
def test_files_that_cannot_be_read(make: Callable[[Path], None], part: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    make(path)
    with pytest.raises(PoolError) as caught:
        Pool.load(path)
    assert_one_sentence(str(caught.value))
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b.toml", "x" * 999 + ".toml", "nowhere/pool"])
def test_paths_that_name_no_file(name: str) -> None:
    with pytest.raises(PoolError):
        Pool.load(name)


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(HEAD, encoding="utf-8")
    with pytest.raises(PoolError) as caught:
        Pool.load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["perspectiv", "nothing", ""])
def test_an_unknown_name_lists_the_built_in_pools(name: str) -> None:
    with pytest.raises(PoolError) as caught:
        Pool.load(name)
    assert_one_sentence(str(caught.value))
    for part in (repr(name), *BUILT_IN_POOLS, ".toml"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("name", "size"), [("perspective", 6), ("culture", 5), ("mixed", 11)])
def test_the_built_in_pools(name: str, size: int) -> None:
    pool = Pool.load(name)
    assert pool.name == name
    assert len(pool.communities) == size
    personas = [pool.persona_text(community) for community in pool.communities]
    assert all(text and text.startswith("You ") for text in personas)
    assert len(set(personas)) == size
    assert set(pool.priors.values()) == {1 / size}


def test_mixed_is_the_other_two_together() -> None:
    together = {**Pool.load("perspective").communities, **Pool.load("culture").communities}
    assert Pool.load("mixed").communities == together
    assert Pool.load() == Pool.load("perspective")


# Pools made of others


def test_other_settings_of_a_run_are_checked() -> None:
    pool = Pool.load("culture")
    assert pool.with_run(comment_tokens=24, quorum=2).run == RunSettings(comment_tokens=24, quorum=2)
    for settings, part in (
        ({"comment_tokens": 0}, "[run] comment_tokens must be at least 1, not 0"),
        ({"comment_token": 24}, "[run] unknown key 'comment_token'"),
        ({"quorum": 6}, "[run] quorum must be at most 5"),
    ):
        with pytest.raises(PoolError) as caught:
            pool.with_run(**settings)
        assert part in str(caught.value)
        assert str(caught.value).startswith("pool culture: ")


def test_a_pool_of_some_communities_keeps_its_order_and_all_that_is_theirs() -> None:
    text = VALID + '[communities.b]\nmodel = "small"\ndescription = "b"\n[communities.c]\nmodel = "small"\n'
    text += 'description = "c"\n[run]\nquorum = 2\n[priors.age]\nb = 1\nnorth = 2\n[priors.home]\nnorth = 1\n'
    pool = parse(text)
    some = pool.only(["c", "b"])
    assert list(some.communities) == ["b", "c"]
    assert some.quorum == 2
    assert some.priors_by_attribute == {"age": {"b": 1.0}}
    assert (some.base, some.models, some.name, some.folder) == (pool.base, pool.models, pool.name, pool.folder)
    assert pool.only(["b"]).quorum == 1
    for names, part in ((["b", "nort"], "did you mean 'north'"), ([], "no community is asked")):
        with pytest.raises(PoolError, match=part):
            pool.only(names)


# Pools made in Python


def test_a_pool_made_in_python_is_checked_alike() -> None:
    models: dict[str, Any] = {"small": EmbeddedModel(gguf="small.gguf")}
    north = Community(model="small", description="d")
    assert Pool(base="small", models=models, communities={"north": north}).folder == Path.cwd()
    for wrong, part in (
        ({"base": "big"}, "pool: base names no model"),
        ({"communities": {"north": north, "North": north}}, "rename"),
        ({"models": {"small": {}}}, r"\[models.small\] has none of gguf, openai and langchain"),
        ({"models": 3}, r"\[models\] must be a table, not 3"),
        ({"priors": {"age": {"south": 1.0}}}, "names no community"),
        ({"comunities": {}}, r"unknown key 'comunities'.*\(did you mean 'communities'\?\)"),
        ({"name": 3}, "name must be text"),
        ({"run": {"quorm": 1}}, r"\[run\] unknown key 'quorm'"),
    ):
        parts: dict[str, Any] = {"base": "small", "models": models, "communities": {"north": north}}
        whole = Pool(**parts)
        for made in (partial(Pool, **(parts | wrong)), partial(whole.model_copy, update=wrong)):
            with pytest.raises(PoolError, match=part) as caught:
                made()
            assert_one_sentence(str(caught.value))
    with pytest.raises(PoolError, match="pool: there is no base; give it"):
        Pool()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("table", "wrong", "sentence"),
    [
        (Community(description="d"), {"prior": "x"}, "Community: prior must be a number, not 'x'"),
        (RunSettings(), {"quorum": 0}, "RunSettings: quorum must be at least 1, not 0"),
        (EmbeddedModel(gguf="m.gguf"), {"gguf": 3}, "EmbeddedModel: gguf must be text in quotes, not 3"),
        (
            RemoteModel(openai="m"),
            {"api_key_env": "sk-1"},
            "RemoteModel: api_key_env must be the name of an environment variable such as OPENAI_API_KEY, never the "
            "key itself",
        ),
        (
            LangChainModel(langchain="openai:m"),
            {"langchain": "m"},
            "LangChainModel: langchain must read 'PROVIDER:MODEL', such as 'anthropic:claude-sonnet-4-5', not 'm'",
        ),
        (Hardware(), {"mmap": len}, "Hardware: mmap must be true or false, not a builtin_function_or_method"),
    ],
)
def test_a_table_made_or_copied_in_python_says_what_is_wrong(table: Any, wrong: Any, sentence: str) -> None:
    kind: Any = type(table)
    for made in (partial(kind, **{**dict(table), **wrong}), partial(table.model_copy, update=wrong)):
        with pytest.raises(PoolError) as caught:
            made()
        assert str(caught.value) == sentence
    with pytest.raises(PoolError, match=f"{kind.__name__}: unknown key 'odd'; remove it, or use one of"):
        table.model_copy(update={"odd": 1})


def test_a_copy_is_as_good_as_what_it_is_of() -> None:
    pool = Pool.load("culture")
    assert pickle.loads(pickle.dumps(pool)) == deepcopy(pool) == pool.model_copy(deep=True) == pool
    changed = pool.model_copy(update={"run": {"quorum": 1}, "priors": {"age": {"asia": 1.0}}})
    assert (changed.quorum, changed.run) == (1, RunSettings(quorum=1))
    assert changed.priors_by_attribute == {"age": {"asia": 1.0}}
    deep = pool.model_copy(update={"name": "other"}, deep=True)
    assert deep.communities == pool.communities
    assert deep.communities is not pool.communities


# Properties

KEYS = sorted(
    {"base", "name", "models", "communities"}
    | {key for table in (EmbeddedModel, RemoteModel, Community, RunSettings) for key in table.model_fields}
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["small", "small.gguf", "asia.md", "http://h/v1", "../x", "package:", "hf:a/b/c.gguf"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


def toml(value: object) -> str:
    """A value as inline TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def parses_or_refuses(text: str) -> None:
    refused = None
    try:
        parse(text)
    except PoolError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith("my.toml")
        assert "\n" not in refused


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    parses_or_refuses(text)


@given(
    st.lists(
        st.sampled_from([*VALID.split("\n"), *REMOTE.split("\n"), "prior = 0", "[", '"', "=", "[[run]]", "a.b.c = 1"])
    )
)
def test_any_mix_of_lines_parses_or_is_refused(lines: list[str]) -> None:
    parses_or_refuses("\n".join(lines))


@given(st.integers(0, len(REMOTE)), st.integers(0, 8), st.text(max_size=4))
def test_any_edit_of_a_pool_parses_or_is_refused(at: int, cut: int, put: str) -> None:
    parses_or_refuses(REMOTE[:at] + put + REMOTE[at + cut :])


@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=5))
def test_any_tree_of_values_parses_or_is_refused(data: dict[str, Any]) -> None:
    parses_or_refuses("\n".join(f"{key} = {toml(value)}" for key, value in data.items()))


@given(st.sampled_from(["models", "communities", "run"]), st.sampled_from(KEYS), TREES)
def test_any_value_at_any_place_parses_or_is_refused(table: str, key: str, value: object) -> None:
    data = tomllib.loads(VALID + "[run]\n")
    (data["run"] if table == "run" else next(iter(data[table].values())))[key] = value
    parses_or_refuses("\n".join(f"{key} = {toml(value)}" for key, value in data.items()))
    data[table] = {key: value}
    parses_or_refuses("\n".join(f"{key} = {toml(value)}" for key, value in data.items()))


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


PATHS = st.text("abc/._- é{}\"'\\", min_size=1, max_size=10)
POSITIVE = st.floats(0, 1e300, exclude_min=True, allow_subnormal=False)
SMALL = {"temperature": st.floats(0, 5), "top_p": st.floats(0.01, 1)}
EMBEDDED = st.fixed_dictionaries(
    {"gguf": PATHS | st.just("hf:o/r/f.gguf") | st.just("package:p/f.gguf"), "context": st.integers(64, 9999)},
    optional={
        **SMALL,
        "memory": st.floats(0.01, 64),
        "queue": st.integers(1, 10**6),
        "repeatable": st.booleans(),
        "slots": st.integers(1, 256),
        "threads": st.integers(1, 64),
        "top_k": st.integers(0, 100),
        "min_p": st.floats(0, 1),
        "template": st.booleans(),
    },
)
REMOTES = st.fixed_dictionaries(
    {"openai": st.text(min_size=1, max_size=8)},
    optional={
        **SMALL,
        "base_url": st.sampled_from(["https://h:8080/v1", "http://a/v1"]),
        "api_key_env": st.just("KEY_2"),
        "try_seconds": POSITIVE,
    },
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    models = draw(st.dictionaries(NAMES, EMBEDDED | REMOTES, min_size=1, max_size=3))
    community = st.fixed_dictionaries(
        {
            "model": st.sampled_from(sorted(models)),
            "description": st.text(min_size=1).filter(str.strip),
            "prior": POSITIVE,
        },
        optional={"persona": st.sampled_from(["asia.md", "news_left.md"]), "lora_scale": st.floats(-2, 2)},
    )
    communities = draw(st.dictionaries(NAMES, community, min_size=1, max_size=4))
    run = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "quorum": st.integers(1, len(communities)),
                "deadline": POSITIVE,
                "attempts": st.integers(1, 9),
                "comment_tokens": st.integers(1, 999),
                "answer_tokens": st.integers(1, 999),
                "score_samples": st.integers(1, 99),
            },
        )
    )
    return {"base": draw(st.sampled_from(sorted(models))), "models": models, "communities": communities, "run": run}


@given(pools())
def test_every_valid_pool_survives_the_round_trip(data: dict[str, Any]) -> None:
    pool = parse("\n".join(f"{key} = {toml(value)}" for key, value in data.items()))
    assert pool.model_dump(exclude_unset=True, exclude={"name", "folder"}) == data
    assert list(pool.communities) == list(data["communities"])
    assert 1 <= pool.quorum <= len(pool.communities)
    assert math.isclose(sum(pool.priors.values()), 1.0)
    assert all(0 <= weight <= 1 for weight in pool.priors.values())


_TEMPLATED = """
base = "small"
[models.small]
gguf = "small.gguf"
template_file = "chat.jinja"
template_kwargs = { enable_thinking = false, reasoning_effort = "low" }
[communities.one]
model = "small"
description = "one"
"""


def test_a_chat_template_of_a_file_is_read_beside_the_pool_and_makes_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    path = tmp_path / "pool.toml"
    path.write_text(_TEMPLATED)
    with pytest.raises(PoolError, match=r"\[models.small\] template_file: there is no file .*chat.jinja"):
        Pool.load(path)
    (tmp_path / "chat.jinja").write_text("{{ 0 }}")
    pool = Pool.load(path)
    prompts, fingerprints, identities = PromptSet.load(), [], []
    for text in ("{{ 1 }}", "{{ 2 }}"):
        (tmp_path / "chat.jinja").write_text(text)
        chat = PoolModels(pool).base().chat
        assert isinstance(chat, ChatLlama)
        assert (chat.template_text, chat.template_kwargs["enable_thinking"]) == (text, False)
        identities.append(chat.pluralism_identity())
        fingerprints.append(_pool_fingerprint(pool, prompts))
    path.write_text(_TEMPLATED.replace('"low"', '"high"'))
    fingerprints.append(_pool_fingerprint(Pool.load(path), prompts))
    assert isinstance(chat, ChatLlama)
    identities.append(chat.model_copy(update={"template_kwargs": {}}).pluralism_identity())
    assert len(set(fingerprints)) == 3
    assert len({repr(identity) for identity in identities}) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("template_kwargs = { messages = 1 }", "must not set messages"),
        ('template_kwargs = { strftime_now = "today" }', "a day such as"),
        ("template = false\ntemplate_kwargs = { a = 1 }", "template = false"),
    ],
)
def test_a_value_that_no_template_can_be_given_is_told(line: str, said: str) -> None:
    text = _TEMPLATED.replace('template_file = "chat.jinja"\n', "").replace(
        'template_kwargs = { enable_thinking = false, reasoning_effort = "low" }', line
    )
    with pytest.raises(PoolError, match=said):
        Pool.from_toml(text, source="pool.toml", folder=Path())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("extra_body = { n = 2 }", "[models.far] extra_body must not hold n, which the package sets itself"),
        ("extra_body = { min_p = nan }", "[models.far] extra_body must hold what JSON can: texts, finite numbers"),
        ("chat_template_kwargs = { day = 2026-01-01 }", "[models.far] chat_template_kwargs must hold what JSON can"),
        ('headers_env = { "X-Title" = "my title" }', "[models.far] headers_env must give each header the name"),
        ("thinking = 64", "[models.far] thinking is for a model with gguf, and this one has openai; remove it"),
        ("thinkin = 64", "[models.far] unknown key 'thinkin'"),
    ],
)
def test_what_is_wrong_with_a_remote_model_is_told(line: str, said: str) -> None:
    message = refusal(f"{REMOTE}{line}\n")
    assert said in message
    assert not message.endswith("a table")


def test_a_key_of_remote_models_is_told_of_an_embedded_one() -> None:
    message = refusal(VALID.replace('gguf = "small.gguf"\n', 'gguf = "small.gguf"\nextra_body = { top_k = 2 }\n'))
    assert "[models.small] extra_body is for a model with openai, and this one has gguf" in message
