"""Bad input on the command line: one clear sentence with the place and the mend, no traceback, exit code 1 or 2."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.command import pluralism
from tests.random_model import RANDOM_GGUF

DEMO = f'[models.m]\ngguf = "{RANDOM_GGUF}"\n'
COMMUNITY = '[communities.c]\nmodel = "m"\ndescription = "somebody"\n'
YES_NO = ("--option", "Yes", "--option", "No")


def fails(*arguments: str, code: int, says: list[str], env: dict[str, str] | None = None, cwd: Path) -> None:
    before = sorted(cwd.rglob("*"))
    done = pluralism(*arguments, cwd=cwd, env=env)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for words in says:
        assert words in " ".join(done.stderr.replace("│", " ").split())
    assert sorted(cwd.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", "Why?", "--mode", "overtone"], ["overtone", "overton", "steerable", "distributional"]),
        (["ask", "   "], ["question is empty"]),
        (["ask", "caf\udce9"], ["question is not UTF-8"]),
        (["ask", "Why?", "-m", "distributional", "-o", "Yes", "-o", "N\udcff"], ["Option 2 is not UTF-8"]),
        (["ask"], ["question"]),
        (["ask", "Why?", "--mode", "steerable"], ["needs an attribute"]),
        (
            ["ask", "Why?", "--attribute", "age"],
            ["takes no attribute", "choose steerable or distributional or assembly mode"],
        ),
        (["ask", "Why?", "--mode", "distributional"], ["at least two options"]),
        (["ask", "Why?", "-m", "distributional", "-o", "Yes"], ["at least two options"]),
        (["ask", "Why?", "-m", "distributional", "-o", "Yes", "-o", " Yes"], ["'Yes'", "twice"]),
        (["ask", "Why?", "-m", "distributional", "-o", "Yes", "-o", ""], ["Option 2 is empty"]),
        (["ask", "Why?", "-m", "distributional", *(f"-o{n}" for n in range(27))], ["27 options", "26 letters"]),
        (["ask", "Why?", *YES_NO], ["Overton mode takes no options"]),
        (["ask", "Why?", "--seed", "-1"], ["seed"]),
        (["ask", "Why?", "--pool", "perspectiv"], ["perspectiv", "perspective"]),
        (["ask", "Why?", "--pool", "none.toml"], ["none.toml"]),
        (["ask", "Why?", "--prompts", "nowhere"], ["nowhere"]),
        (["communities", "--pool", "none.toml"], ["none.toml"]),
        (["graph", "--mode", "nothing"], ["nothing"]),
    ],
)
def test_a_wrong_call(arguments: list[str], says: list[str], tmp_path: Path) -> None:
    fails(*arguments, code=2, says=says, cwd=tmp_path)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('base = "m"\n' + DEMO, ["communities"]),
        ('base = "m"\n' + DEMO + COMMUNITY + COMMUNITY, ["pool.toml", "c"]),
        ('base = "m"\n' + DEMO + COMMUNITY.replace("communities.c", 'communities."a b"'), ["a b"]),
        ('base = "m"\n' + DEMO + COMMUNITY.replace("communities.c", "communities.merge"), ["merge"]),
        ('base = "m"\n' + DEMO + COMMUNITY + "prior = -1\n", ["[communities.c]", "prior"]),
        ('base = "m"\n' + DEMO + COMMUNITY + "prior = 0\n", ["prior"]),
        ('base = "m"\n[models.m]\ngguf = "gone.gguf"\n' + COMMUNITY, ["gone.gguf"]),
        ('base = "m"\n[models.m]\ngguf = "pool.toml"\n' + COMMUNITY, ["pool.toml", "not a GGUF"]),
        ('base = "m"\n[models.m]\ngguf = "package:no_such_package/x.gguf"\n' + COMMUNITY, ["no_such_package"]),
        ('base = "m"\n' + DEMO + COMMUNITY + 'lora = "gone.gguf"\n', ["gone.gguf"]),
        (
            'base = "m"\n[models.m]\nopenai = "gpt"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "NO_SUCH_KEY"\n'
            + COMMUNITY,
            ["NO_SUCH_KEY", "[models.m]"],
        ),
    ],
)
def test_a_pool_that_cannot_work(toml: str, says: list[str], tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(toml)
    fails("ask", "Why?", "--pool", "pool.toml", code=2, says=says, cwd=tmp_path)


def test_a_truncated_model(tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(RANDOM_GGUF.read_bytes()[: 3 << 20])
    (tmp_path / "pool.toml").write_text('base = "m"\n[models.m]\ngguf = "half.gguf"\n' + COMMUNITY)
    fails("ask", "Why?", "--pool", "pool.toml", code=2, says=["half.gguf", "cannot be loaded"], cwd=tmp_path)


def test_a_model_in_place_of_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text('base = "m"\n' + DEMO + COMMUNITY + f'lora = "{RANDOM_GGUF}"\n')
    fails("ask", "Why?", "--pool", "pool.toml", code=2, says=["adapter", RANDOM_GGUF.name], cwd=tmp_path)


def test_a_prompt_longer_than_the_context(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text('base = "m"\n' + DEMO + "context = 64\n" + COMMUNITY)
    fails(
        *("ask", "Why? " * 100, "--pool", "pool.toml", "--json"),
        code=1,
        says=["holds 64", "larger context"],
        cwd=tmp_path,
    )


def test_an_endpoint_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "pool.toml").write_text(
        f'base = "m"\n[models.m]\nopenai = "gpt"\nbase_url = "http://127.0.0.1:{port}/v1"\n{COMMUNITY}'
        "[run]\nattempts = 1\n"
    )
    fails(
        *("ask", "Why?", "--pool", "pool.toml", "--json"),
        code=1,
        says=["could not be reached", f"127.0.0.1:{port}", "check that the server runs"],
        cwd=tmp_path,
    )
