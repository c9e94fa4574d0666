"""Our scorers in tasks that are not ours, and in the logs of the harness."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.model import Logprob, Logprobs, ModelOutput, ModelUsage, TopLogprob, get_model
from inspect_ai.scorer import Scorer, includes
from inspect_ai.solver import generate, multiple_choice

from modular_pluralism.evaluation.inspect import js_distance, value_coverage
from tests.scipy_distance import jensenshannon
from tests.tiny_nli import make_tiny_nli

INSPECT = Path(sys.executable).parent / "inspect"
GOLD = [0.7, 0.2, 0.1]


def run(folder: Path, scorer: Scorer, outputs: list[ModelOutput], samples: list[Sample]) -> EvalLog:
    choosing = samples[0].choices is not None
    task = Task(dataset=samples, solver=multiple_choice() if choosing else generate(), scorer=scorer)
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    [log] = inspect_eval(task, model=model, log_dir=str(folder), display="none", max_samples=1)
    return log


def asked(**changes: Any) -> Sample:
    settings = {"choices": ["Yes", "No", "It depends"], "target": "A", "metadata": {"gold_distribution": GOLD}}
    return Sample(input="Is it so?", **{**settings, **changes})


def answer(text: str = "ANSWER: A", **metadata: Any) -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text)
    output.metadata = metadata
    output.usage = ModelUsage()  # which is counted with a download where nobody says it
    return output


def of_letters(**shares: float) -> ModelOutput:
    output = answer("A")
    tops = [TopLogprob(token=token, logprob=math.log(share)) for token, share in shares.items()]
    tops.append(TopLogprob(token=" A", logprob=math.log(0.1)))
    output.choices[0].logprobs = Logprobs(content=[Logprob(token="A", logprob=-0.1, top_logprobs=tops)])
    return output


def samples_of(log: EvalLog) -> list[EvalSample]:
    assert log.status == "success", log.error
    assert log.samples is not None
    return log.samples


def test_a_distribution_is_compared_with_the_real_one(tmp_path: Path) -> None:
    outputs = [answer(distribution=[0.5, 0.3, 0.2]), answer(distribution={"probabilities": GOLD})]
    log = run(tmp_path, js_distance(), outputs, [asked(), asked()])
    scores = [sample.scores["js_distance"].value for sample in samples_of(log) if sample.scores]
    assert scores == pytest.approx([jensenshannon(GOLD, [0.5, 0.3, 0.2]), 0], abs=1e-9)
    assert log.results is not None
    assert log.results.scores[0].metrics["mean"].value == pytest.approx(sum(map(float, scores)) / 2)  # type: ignore[arg-type]


def test_without_one_the_letters_log_probabilities_are_read(tmp_path: Path) -> None:
    log = run(tmp_path, js_distance(), [of_letters(A=0.4, B=0.25, C=0.05, The=0.2)], [asked()])
    [sample] = samples_of(log)
    assert sample.scores is not None
    expected = jensenshannon(GOLD, [0.5 / 0.8, 0.25 / 0.8, 0.05 / 0.8])
    assert sample.scores["js_distance"].value == pytest.approx(expected, abs=1e-9)


def test_an_output_without_any_is_left_out_and_says_why(tmp_path: Path) -> None:
    log = run(tmp_path, js_distance(), [answer(), answer(distribution=GOLD)], [asked(), asked()])
    first, _ = samples_of(log)
    assert first.scores is not None
    assert math.isnan(float(first.scores["js_distance"].value))  # type: ignore[arg-type]
    assert "log-probabilities of the options' letters" in (first.scores["js_distance"].explanation or "")
    assert log.results is not None
    assert log.results.scores[0].metrics["mean"].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("sample", "distribution", "message"),
    [
        (asked(metadata={}), GOLD, "has no gold_distribution; put the options' real shares into its metadata"),
        (asked(), [0.5, 0.5], "has 3 real shares and 2 predicted ones"),
    ],
)
def test_a_sample_that_cannot_be_scored_is_an_error(
    tmp_path: Path, sample: Sample, distribution: list[float], message: str
) -> None:
    log = run(tmp_path, js_distance(), [answer(distribution=distribution)], [sample])
    assert log.status == "error"
    assert log.error is not None
    assert message in log.error.message


def test_values_are_covered_by_the_answer_s_sentences(tmp_path: Path) -> None:
    nli = make_tiny_nli(tmp_path / "nli")
    values = ["People have a right to vote.", "Justice!"]
    sample = Sample(input="Should everybody vote?", target=values)
    log = run(tmp_path, value_coverage(nli=str(nli)), [answer("Some say so. Others disagree.")], [sample])
    [scored] = samples_of(log)
    assert scored.scores is not None
    score = scored.scores["value_coverage"]
    assert score.metadata is not None
    assert len(score.metadata["coverage"]) == 2
    assert score.value == pytest.approx(sum(score.metadata["coverage"]) / 2)
    assert 0 < float(score.value) < 1  # type: ignore[arg-type]


def test_what_has_been_measured_is_not_measured_again(tmp_path: Path) -> None:
    sample = Sample(input="Should everybody vote?", target=["a", "b"])
    log = run(tmp_path, value_coverage(nli="./nowhere"), [answer("So.", coverage=[0.25, 0.75])], [sample])
    [scored] = samples_of(log)
    assert scored.scores is not None
    assert scored.scores["value_coverage"].value == pytest.approx(0.5)


def test_inspect_finds_them_by_the_package_s_name(tmp_path: Path) -> None:
    log = run(tmp_path, includes(), [answer(distribution=GOLD)], [asked()])
    command = [str(INSPECT), "score", log.location, "--scorer", "modular_pluralism/js_distance", "--overwrite"]
    done = subprocess.run(
        [*command, "--action", "append", "--display", "plain"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [sample] = samples_of(read_eval_log(log.location))
    assert sample.scores is not None
    name = next(name for name in sample.scores if name.endswith("js_distance"))
    assert sample.scores[name].value == pytest.approx(0, abs=1e-9)
