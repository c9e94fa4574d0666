"""Preparing the real demo model, with few measurements: what is written, and that pools then use it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from modular_pluralism.errors import InputError, ModelLoadError, PreparationError
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama import ChatLlama, Engine, EngineSettings
from modular_pluralism.llama.job import Adapter
from modular_pluralism.models import PoolModels
from modular_pluralism.pool import Pool
from modular_pluralism.prepared import prepare as preparing
from modular_pluralism.prepared.agreement import WINDOW, compare, read_predictions
from modular_pluralism.prepared.cache import everything, prepared_file
from modular_pluralism.prepared.choice import MOST_KL
from modular_pluralism.prepared.formats import FORMATS
from modular_pluralism.prepared.neutral_text import windows
from modular_pluralism.prepared.prepare import Preparation, Thoroughness, prepare
from modular_pluralism.prepared.quantize import quantize
from modular_pluralism.prepared.speed import SpeedSample
from tests.command import PLURALISM, pluralism
from tests.demo_model import DEMO_GGUF
from tests.tiny_gguf import DEMO, write_beginning, write_lora

pytestmark = pytest.mark.usefixtures("model_cache")

LITTLE = Thoroughness(texts=4, rounds=1, speed=SpeedSample(prompt=64, together=4, alone=4))


@pytest.fixture(scope="module")
def prepared_cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Preparation, list[str]]:
    """A cache in which the demo model lies as BF16, what preparing it returned, and what it told meanwhile."""
    folder = tmp_path_factory.mktemp("prepared")
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        done = prepare(DEMO_GGUF, forced="BF16", thoroughness=LITTLE, progress=told.append)
    return folder, done, told


@pytest.fixture
def done(prepared_cache: tuple[Path, Preparation, list[str]], monkeypatch: pytest.MonkeyPatch) -> Preparation:
    """The preparation, in whose cache the test runs."""
    monkeypatch.setenv(CACHE_VARIABLE, str(prepared_cache[0]))
    return prepared_cache[1]


def test_the_same_file_agrees_with_itself_wholly() -> None:
    engine = Engine(EngineSettings(DEMO_GGUF, context=64, slots=1))
    texts = windows(engine.model, 2, WINDOW)
    engine.close()
    one, other = read_predictions(DEMO_GGUF, texts), read_predictions(DEMO_GGUF, texts)
    agreement = compare(one, other)
    assert (agreement.positions, agreement.top1, agreement.mean_kl) == (64, 1.0, 0.0)


def test_more_precise_weights_predict_nearly_the_same(done: Preparation) -> None:
    original, candidate = done.entry.measured
    assert (original.format, candidate.format) == ("Q4_1", "BF16")
    assert original.bytes == DEMO_GGUF.stat().st_size
    assert original.agreement is None
    assert candidate.agreement is not None
    assert candidate.agreement.positions == 128
    assert 0 < candidate.agreement.mean_kl < MOST_KL
    assert candidate.agreement.top1 > 0.8
    for each in done.entry.measured:
        assert min(each.prompt_speed, each.together_speed, each.alone_speed, each.start_seconds) > 0


def test_fewer_bits_change_the_answers_and_are_taken_only_when_asked_for() -> None:
    chosen = prepare(DEMO_GGUF, formats=["Q4_0"], thoroughness=LITTLE)
    assert chosen.entry.file is None
    assert [(each.format, each.reason[:20]) for each in chosen.skipped] == [("Q4_0", "changes the answers ")]
    assert "no other format fits here and predicts nearly the same" in chosen.entry.reason
    assert prepared_file(DEMO_GGUF) is None
    forced = prepare(DEMO_GGUF, forced="Q4_0", thoroughness=LITTLE)
    assert "although it changes the answers" in forced.entry.reason
    assert prepared_file(DEMO_GGUF) is not None


def test_every_step_is_told(prepared_cache: tuple[Path, Preparation, list[str]]) -> None:
    told = prepared_cache[2]
    assert told[0] == f"reading with the original ({DEMO_GGUF.name})"
    assert "writing BF16 (about 271 MB)" in told
    assert "measuring, round 1 of at most 1: Q4_1" in told


def test_pools_use_the_prepared_file_and_results_tell(done: Preparation) -> None:
    model = PoolModels(Pool.load()).base().chat
    assert isinstance(model, ChatLlama)
    assert model.gguf == prepared_file(DEMO_GGUF)
    reply = model.invoke("Hello", max_tokens=1)
    assert reply.response_metadata["model_name"] == "SmolLM2-135M-Instruct.Q4_1.as-BF16"


def test_all_communities_share_one_engine_even_if_the_cache_changes_meanwhile(done: Preparation) -> None:
    models = PoolModels(Pool.load())
    base = models.base().chat
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, "/nowhere")
        communities = [models.community(name).chat for name in Pool.load().communities]
    assert {each.gguf for each in (base, *communities) if isinstance(each, ChatLlama)} == {prepared_file(DEMO_GGUF)}


def _file_of_base(folder: Path, setting: str) -> Path:
    """The file that a pool loads for its base LLM with this setting."""
    pool = folder / "pool.toml"
    pool.write_text(
        f'base = "m"\n[models.m]\ngguf = "{DEMO_GGUF}"\n{setting}\n'
        '[communities.one]\nmodel = "m"\ndescription = "somebody"\n'
    )
    model = PoolModels(Pool.load(pool)).base().chat
    assert isinstance(model, ChatLlama)
    return model.file


def test_a_pool_can_do_without(done: Preparation, tmp_path: Path) -> None:
    assert _file_of_base(tmp_path, "prepared = false") == DEMO_GGUF


def test_a_repeatable_model_is_given_exact_formats_only(done: Preparation, tmp_path: Path) -> None:
    assert prepared_file(DEMO_GGUF, exact=True) is None
    assert _file_of_base(tmp_path, "repeatable = true") == DEMO_GGUF


def test_adapters_fit_the_prepared_file(done: Preparation, tmp_path: Path) -> None:
    file = prepared_file(DEMO_GGUF)
    assert file is not None
    adapter = Adapter(write_lora(tmp_path / "lora.gguf", seed=1, shape=DEMO))
    engine = Engine(EngineSettings(file, context=64, slots=2, adapters=(adapter.path,)))
    try:
        tokens = engine.model.tokenize("The most important thing", parse_special=False)
        plain, adapted = (engine.next_token_logprobs([tokens], adapter=each) for each in (None, adapter))
    finally:
        engine.close()
    assert abs(plain - adapted).max() > 0.01


def test_the_format_that_a_file_has_cannot_be_asked_for(done: Preparation) -> None:
    file = prepared_file(DEMO_GGUF)
    assert file is not None
    with pytest.raises(InputError, match=r"as-BF16\.gguf is BF16 already; name another format"):
        prepare(file, forced="BF16", thoroughness=LITTLE)


def test_a_broken_model_is_told_and_leaves_nothing(tmp_path: Path, model_cache: Path) -> None:
    half = write_beginning(tmp_path / "half.gguf", DEMO_GGUF, 20 << 20)
    with pytest.raises(ModelLoadError, match=r"half\.gguf cannot be loaded"):
        prepare(half, thoroughness=LITTLE)
    with pytest.raises(PreparationError, match=r"half\.gguf could not be written as BF16 \(.+\); check that"):
        quantize(half, tmp_path / "target.gguf", FORMATS["BF16"])
    assert not (tmp_path / "target.gguf").exists()
    assert everything() == []


def test_too_little_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "free_disk", lambda: 200_000_000)
    with pytest.raises(PreparationError, match="BF16 needs 271 MB of disk, and 200 MB are free; make room"):
        prepare(DEMO_GGUF, forced="BF16", thoroughness=LITTLE)


@pytest.mark.model
@pytest.mark.faults
def test_an_interrupted_command_leaves_the_cache_as_it_was(model_cache: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [PLURALISM, "models", "prepare", "--format", "bf16"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit = time.monotonic() + 120
    while not list(model_cache.glob("*/*.gguf")) and time.monotonic() < limit:
        time.sleep(0.01)
    assert list(model_cache.glob("unfinished-*/*.gguf"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "Stopped; nothing half-written is left."
    assert "Traceback" not in errors
    assert list(model_cache.iterdir()) == []


@pytest.mark.model
def test_the_command_prepares_lists_and_removes(model_cache: Path, tmp_path: Path) -> None:
    assert "No model has been prepared yet" in pluralism("models").stdout
    done = pluralism("models", "prepare", "--format", "q8_0")
    assert done.returncode == 0, done.stderr
    assert "smollm2: measuring, round 1 of at most 1: Q8_0" in done.stderr
    for text in ("Q4_1", "Q8_0 *", "145 MB", "mean KL", "Choice: Q8_0, because it was asked for", "as-Q8_0.gguf"):
        assert text in done.stdout
    (row,) = json.loads(pluralism("models", "--json").stdout)["models"]
    assert row["usable"]
    assert row["entry"]["format"] == "Q8_0"
    assert row["entry"]["measured"][1]["agreement"]["positions"] == 384
    listed = pluralism("models", env={"COLUMNS": "160"}).stdout
    assert row["name"] in listed
    assert "Q4_1 → Q8_0" in listed
    pool = tmp_path / "pool.toml"
    for repeatable in ("false", "true"):
        pool.write_text(
            f'base = "m"\n[models.m]\ngguf = "{DEMO_GGUF}"\nrepeatable = {repeatable}\n'
            '[communities.one]\nmodel = "m"\ndescription = "somebody"\n'
        )
        checked = pluralism("communities", "check", "--pool", str(pool))
        assert checked.stdout.count(", from SmolLM2-135M-Instruct.Q4_1.as-Q8_0.gguf") == 2
    assert pluralism("models", "remove", row["name"]).stdout == f"Removed {row['name']}.\n"
    assert list(model_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("remove",), "Name one entry of `pluralism models`, or say --all."),
        (("remove", "x", "--all"), "Name one entry of `pluralism models`, or say --all."),
        (("remove", "x"), "The cache has no entry named 'x'; it has nothing."),
        (("prepare", "--model", "x"), "The pool has no embedded model 'x'; it has smollm2."),
        (("prepare", "--format", "q2_0"), "q2_0"),
    ],
)
def test_a_wrong_call_is_told(arguments: tuple[str, ...], says: str) -> None:
    done = pluralism("models", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pool_without_embedded_models_has_nothing_to_prepare(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text('base = "m"\n[models.m]\nopenai = "x"\n[communities.one]\nmodel = "m"\ndescription = "somebody"\n')
    done = pluralism("models", "prepare", "--pool", str(pool))
    assert done.returncode == 2
    assert "The pool has no embedded model with prepared = true (embedded: none); name one." in done.stderr
