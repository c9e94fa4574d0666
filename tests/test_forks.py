"""Applications that open a pool and then fork, as gunicorn --preload, Celery and multiprocessing do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import python
from tests.random_model import RANDOM_GGUF
from tests.short_pool import pair_pool

FORKING = """
import os, sys, threading
from modular_pluralism import build_distributional, build_overton

pool, busy = sys.argv[-2], sys.argv[-1] == "busy"
overton, distributional = build_overton(pool).compile(), build_distributional(pool).compile()

def asked():
    text = overton.invoke({"question": "Is it so?"})["answer"]
    return text, distributional.invoke({"question": "Is it so?", "options": ["Yes", "No"]})["distribution"]

ended = threading.Event()

def work():
    while not ended.is_set():
        overton.invoke({"question": "And at the same time?"})

before = asked()
workers = [threading.Thread(target=work) for _ in range(2 * busy)]
for worker in workers:
    worker.start()
codes = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if asked() == before else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ended.set()
for worker in workers:
    worker.join()
assert asked() == before
print(codes)
"""

LEFT_BEHIND = """
import os, sys
from pathlib import Path
from modular_pluralism.errors import EngineClosedError
from modular_pluralism.llama import Engine, EngineSettings

engine = Engine(EngineSettings(Path(sys.argv[-1]), context=128, slots=1))
child = os.fork()
if child == 0:
    try:
        engine.next_token_logprobs([[1]])
    except EngineClosedError as error:
        print(error, flush=True)
        engine.close()  # of which the other process notices nothing
        os._exit(0)
    os._exit(3)
assert os.waitpid(child, 0)[1] == 0
assert engine.next_token_logprobs([[1]]).shape[0] == 1
"""


@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_a_forked_process_opens_the_model_anew_and_says_the_same(tmp_path: Path, parent: str) -> None:
    done = python(FORKING, str(pair_pool(tmp_path)), parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 0, 0]\n"


def test_an_engine_of_ones_own_is_refused_at_once() -> None:
    done = python(LEFT_BEHIND, str(RANDOM_GGUF))
    assert done.returncode == 0, done.stderr
    assert "was left behind when this process was forked; open the model again here" in done.stdout
