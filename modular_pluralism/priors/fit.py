"""Fitting the priors of a pool, and how its voices are united where there are several, on one half of a task's
questions, and judging them on the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings, OnResult, require_options, untold
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, RESAMPLES, Draw
from modular_pluralism.evaluation.statistics.clusters import Grouping, by_question, halve
from modular_pluralism.evaluation.statistics.comparison import Comparison, compare, difference_table
from modular_pluralism.evaluation.statistics.figures import figures, mean_of
from modular_pluralism.evaluation.statistics.results import Column, Figure, ResultModel, Results, Row, Table
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.nodes.request import voices_in
from modular_pluralism.priors.em import Floats, fit_weights
from modular_pluralism.priors.readings import ReadItem, read_items
from modular_pluralism.priors.search import CLEAR_ERRORS, Part, Tried, choose, search
from modular_pluralism.priors.voices import HeardItems, VoiceSettings, linear, of_those_heard
from modular_pluralism.records.similarity import Gate
from modular_pluralism.types import Voice, VoicePooling

UNIFORM, PRESENT, FITTED, BY_ATTRIBUTE = "uniform", "present", "fitted", "fitted by attribute"
WEIGHTS_ONLY = "present voices, fitted weights"
_BEFORE = {UNIFORM: "uniform ones", PRESENT: "the present settings"}
"""What the fitted weights are judged against: of one voice and of several."""

_JS = mean_of(
    "js", "JS distance", "Square root of the Jensen-Shannon divergence, base e; 0.8326 at most.", better="lower"
)
_LOG = mean_of(
    "log_likelihood",
    "log-likelihood",
    "Mean over the items of the real distribution's log-likelihood under the pool, in nats; what is maximised.",
    better="higher",
)
_MEASURES = [_JS, _LOG]


GainVerdict = Literal["gain", "loss", "same", "unclear", "too few questions"]
"""Of what was fitted against uniform weights, or with several voices against the present settings, on the questions
that were held back."""

_VERDICTS: Mapping[str, GainVerdict] = {
    "better": "loss",
    "worse": "gain",
    "same": "same",
    "unclear": "unclear",
    "too few questions": "too few questions",
}
"""Of what was fitted, by what is said of the others against it."""


@dataclass(frozen=True, kw_only=True)
class FitSettings(BenchSettings):
    """How weights are fitted: on half of the questions. `by_attribute` fits weights of its own for each attribute with
    `least` questions in that half."""

    by_attribute: bool = False
    least: int = CLEAR_FROM


class FittedPriors(ResultModel):
    """Weights by community, which sum to 1, and the number of items and questions that they were fitted on. `gap` is
    how much better than them other weights could fit these items at most, in nats an item."""

    weights: dict[str, float]
    items: int
    questions: int
    gap: float


class TriedPart(ResultModel):
    """A part of the voice settings that was tried by cross-validation `beside` those that were taken already: by how
    much smaller it makes the JS distance on questions that were left out, with its standard error over questions."""

    part: Part
    beside: list[Part]
    gain: float
    error: float
    taken: bool


class FittedVoices(ResultModel):
    """How the voices of a community are united: the present settings but for the parts that were `taken`, which were
    fitted; `tried` is what they were taken by. `gate` is None where no record is heard."""

    weights: dict[Voice, float]
    pooling: VoicePooling
    gate: tuple[float, float] | None
    temperatures: dict[Voice, float]
    taken: list[Part]
    tried: list[TriedPart]


class PriorsResult(ResultModel):
    """All of a fit. `overall` are for every attribute, and `by_attribute` for those that had enough questions; `few`
    are the others. `voices` is None where communities are heard by one. `gain` is the JS distance of uniform weights,
    or with several voices of the present settings, minus that of what was fitted, paired over the questions that were
    held back, so that more is better. `results` has all tables."""

    format: Literal[1] = 1
    voice: str
    overall: FittedPriors
    by_attribute: dict[str, FittedPriors]
    few: list[str]
    voices: FittedVoices | None = None
    gain: Figure
    verdict: GainVerdict
    sentence: str
    results: Results


class PriorsFit:
    """A fit that is ready to run: everything has been checked, and no weights of a model have been loaded.

    Raises:
        PluralismError: the task file has no distributions, the pool cannot be used, or there is nothing to fit.
    """

    def __init__(self, task: TaskFile, settings: FitSettings | None = None) -> None:
        require_options(task, "weights are fitted")
        self.task = task
        self.settings = settings or FitSettings()
        self.bench = Bench(task, self.settings, kind="distributional")
        self.pool = self.bench.pool
        self.voices = voices_in(self.settings.voice)
        if len(self.pool.communities) < 2 and len(self.voices) < 2:
            raise InputError(
                "The pool has a single community, whose weight is 1 in any case; give a pool with more, or --voice "
                "with several voices."
            )
        # With a single option there is nothing that weights could change.
        self.items = [item for item in self.bench.items if isinstance(item, OptionItem) and len(item.options) > 1]
        self._training, _ = halve(self.items, self.settings.seed)
        self._setting = self.bench.setting()

    @property
    def total(self) -> int:
        """Items that will be read."""
        return len(self.items)

    async def run(self, on_result: OnResult = untold) -> PriorsResult:
        """Read what every community gives for every item, fit on one half, and judge on the other.

        Raises:
            PluralismError: nothing can be read, or no item is left to fit on or to judge by.
        """
        read = await read_items(self.items, self._setting, concurrency=self.settings.concurrency, on_result=on_result)
        training_ids = {item.id for item in self._training}
        known = [each for each in read if each.heard is not None]
        training = [each for each in known if each.item.id in training_ids]
        held_back = [each for each in known if each.item.id not in training_ids]
        failed = [each for each in read if each.heard is None]
        if not training or not held_back:
            reason = failed[0].error if failed else "There are too few items."
            raise InputError(f"No item is left to fit weights on, or to judge them by. {reason}")
        return self._result(training, held_back, failed)

    def _result(
        self, training: Sequence[ReadItem], held_back: Sequence[ReadItem], failed: Sequence[ReadItem]
    ) -> PriorsResult:
        several = len(self.voices) > 1
        present = self._present() if several else _ONE_VOICE
        settings, tried = fit_voices(self._heard(training), present, self.settings.seed) if several else (present, [])
        overall = self._priors(training, settings)
        by_attribute, few = self._by_attribute(training, settings)
        scores = self._scores(held_back, present, settings, training, overall, by_attribute)
        draw = Draw(self.settings.seed, RESAMPLES, _questions(held_back).of_items())
        chosen = BY_ATTRIBUTE if BY_ATTRIBUTE in scores else FITTED
        before = PRESENT if several else UNIFORM
        # The one before minus the fitted ones, so that a gain is above zero.
        gain = compare(scores[before], scores[chosen], _JS, draw)
        verdict = _VERDICTS[gain.verdict]
        voices = self._fitted_voices(settings, tried) if several else None
        tables = [
            self._weights_table(overall, by_attribute),
            _held_out_table(scores, draw, gain.questions),
            _differences_table(scores, draw),
        ]
        if voices is not None:
            tables[1:1] = [self._voices_table(present, settings, overall), *_tried_tables(tried, overall)]
        return PriorsResult(
            voice=self.settings.voice,
            overall=overall,
            by_attribute=by_attribute,
            few=few,
            voices=voices,
            gain=gain.difference,
            verdict=verdict,
            sentence=_sentence(verdict, chosen, before, gain),
            results=Results(
                title=f"{self.task.path.stem}: priors of the pool {self.pool.name}",
                task={
                    "file": self.task.path.name,
                    "items": self.task.count,
                    "sha256": self.task.digest,
                    "items fitted on": len(training),
                    "items held back": len(held_back),
                },
                run={"voice": self.settings.voice, **self.bench.facts(), **_pooling_facts(present, voices)},
                warnings=self._warnings(failed, few, overall, by_attribute),
                tables=tables,
            ),
        )

    def _present(self) -> VoiceSettings:
        """The pool's own, as its [run] table and its records have them."""
        run = self.pool.run
        gate = _ONE_VOICE.gate
        for name in self.pool.communities if "record" in self.voices else ():
            if self.pool.answers_file(name) is not None:
                gate = self.bench.models.record(name).gate  # all records of a pool have the same
                break
        return VoiceSettings(run.voice_weights, run.voice_pooling, gate, run.voice_temperatures)

    def _heard(self, items: Sequence[ReadItem]) -> HeardItems:
        return HeardItems([each.heard for each in items if each.heard is not None], self.voices)

    def _fitted_voices(self, settings: VoiceSettings, tried: Sequence[Tried]) -> FittedVoices:
        weights = {voice: settings.weights.get(voice, 1.0) for voice in self.voices}
        total = sum(weights.values()) or 1.0
        return FittedVoices(
            weights={voice: weight / total for voice, weight in weights.items()},
            pooling=settings.pooling,
            gate=(settings.gate.far, settings.gate.near) if "record" in self.voices else None,
            temperatures={voice: settings.temperatures.get(voice, 1.0) for voice in self.voices},
            taken=[each.part for each in tried if each.taken],
            tried=[
                TriedPart(part=each.part, beside=list(each.beside), gain=each.gain, error=each.error, taken=each.taken)
                for each in tried
            ],
        )

    def _priors(self, training: Sequence[ReadItem], settings: VoiceSettings) -> FittedPriors:
        fitted = fit_weights(self._heard(training).answered(settings))
        return FittedPriors(
            weights=dict(zip(self.pool.communities, map(float, fitted.weights), strict=True)),
            items=len(training),
            questions=_questions(training).count,
            gap=fitted.gap,
        )

    def _by_attribute(
        self, training: Sequence[ReadItem], settings: VoiceSettings
    ) -> tuple[dict[str, FittedPriors], list[str]]:
        if not self.settings.by_attribute:
            return {}, []
        groups: dict[str, list[ReadItem]] = {}
        for each in training:
            if each.attribute is not None:
                groups.setdefault(each.attribute, []).append(each)
        if not groups:
            raise InputError("No item has an attribute that the models are told; leave --by-attribute out.")
        enough = {name: group for name, group in groups.items() if _questions(group).count >= self.settings.least}
        fitted = {name: self._priors(enough[name], settings) for name in sorted(enough)}
        return fitted, sorted(set(groups) - set(enough))

    def _scores(
        self,
        held_back: Sequence[ReadItem],
        present: VoiceSettings,
        settings: VoiceSettings,
        training: Sequence[ReadItem],
        overall: FittedPriors,
        by_attribute: Mapping[str, FittedPriors],
    ) -> dict[str, Scores]:
        """Of every pool on the questions that were held back, by what it is called. The present one is there where it
        is not uniform, and with several voices always, beside each voice alone."""
        names, items, several = list(self.pool.communities), self._heard(held_back), len(self.voices) > 1
        uniform = np.full(len(names), 1 / len(names))
        one = _vector(overall.weights, names)
        of_attribute = {name: _vector(each.weights, names) for name, each in by_attribute.items()}
        own = np.stack([_vector(self.pool.priors_of(each.attribute), names) for each in held_back])
        before, after = items.united(present), items.united(settings)
        pools: dict[str, tuple[Floats, Floats]] = {}
        if several:
            pools[PRESENT] = (before, own)
            pools |= {f"{voice} alone": (items.alone(voice), own) for voice in self.voices}
        else:
            pools[UNIFORM] = (before, uniform)
            if len(set(self.pool.priors.values())) > 1 or self.pool.priors_by_attribute:
                pools[PRESENT] = (before, own)
        if settings != present and len(names) > 1:
            pools[WEIGHTS_ONLY] = (before, _vector(self._priors(training, present).weights, names))
        pools[FITTED] = (after, one)
        if by_attribute:
            fitted = [of_attribute.get(each.attribute or "", one) for each in held_back]
            pools[BY_ATTRIBUTE] = (after, np.stack(fitted))
        return {name: scores_of_pool(items, *pool) for name, pool in pools.items()}

    def _weights_table(self, overall: FittedPriors, by_attribute: Mapping[str, FittedPriors]) -> Table:
        columns = [
            Column(key="present", title="present prior", help="As the pool has it now, normalised."),
            Column(key="fitted", title="fitted", help="On the half of the questions that was not held back."),
            *(Column(key=f"of {name}", title=name, help="Fitted on its items alone.") for name in by_attribute),
        ]
        rows = []
        for name, present in self.pool.priors.items():
            fitted = {"fitted": overall, **{f"of {each}": by_attribute[each] for each in by_attribute}}
            cells = {key: Figure(value=each.weights[name], n=each.items) for key, each in fitted.items()}
            rows.append(Row(name=name, cells={"present": Figure(value=present, n=overall.items), **cells}))
        return Table(name="weights", title="Weights", columns=columns, rows=rows)

    def _voices_table(self, present: VoiceSettings, settings: VoiceSettings, overall: FittedPriors) -> Table:
        def row(name: str, of: Callable[[VoiceSettings], float]) -> Row:
            cells = {"present": present, "fitted": settings}
            return Row(name=name, cells={key: Figure(value=of(each), n=overall.items) for key, each in cells.items()})

        def weight(voice: Voice) -> Callable[[VoiceSettings], float]:
            def share(each: VoiceSettings) -> float:
                total = sum(each.weights.get(one, 1.0) for one in self.voices)
                return each.weights.get(voice, 1.0) / total if total else 0.0

            return share

        def temperature(voice: Voice) -> Callable[[VoiceSettings], float]:
            return lambda each: each.temperatures.get(voice, 1.0)

        rows = [row(f"weight of {voice}", weight(voice)) for voice in self.voices]
        if "record" in self.voices:
            rows.append(row("a record is not heard up to", lambda each: each.gate.far))
            rows.append(row("and has all of its weight from", lambda each: each.gate.near))
        rows += [row(f"temperature of {voice}", temperature(voice)) for voice in self.voices]
        return Table(
            name="voices",
            title="Voices",
            note="Weights are normalised. What cross-validation has not taken is as it was.",
            columns=[Column(key="present", title="present"), Column(key="fitted", title="fitted")],
            rows=rows,
        )

    def _warnings(
        self,
        failed: Sequence[ReadItem],
        few: Sequence[str],
        overall: FittedPriors,
        by_attribute: Mapping[str, FittedPriors],
    ) -> list[str]:
        warnings = []
        if failed:
            warnings.append(
                f"{len(failed)} of {self.total} items are left out, since a community gave nothing for them; the "
                f"first: {failed[0].error}"
            )
        if overall.questions < CLEAR_FROM:
            warnings.append(
                f"The weights are fitted on {overall.questions} questions only; with so few they mostly follow chance."
            )
        if overall.questions < CLEAR_FROM and len(self.voices) > 1:
            warnings.append(
                f"With fewer than {CLEAR_FROM} questions to fit on, nothing can be told of how to unite the voices, so "
                "that stays as it is."
            )
        if self.settings.by_attribute and not by_attribute:
            warnings.append(
                f"No attribute has {self.settings.least} questions among those that were fitted on, so there are no "
                "weights by attribute; give more items, or a lower --least."
            )
        elif few:
            warnings.append(
                f"{len(few)} attributes have fewer than {self.settings.least} questions among those that were fitted "
                "on; the weights for all stand for them."
            )
        return warnings


def _vector(weights: Mapping[str, float], names: Sequence[str]) -> Floats:
    return np.array([weights[name] for name in names])


def _questions(items: Sequence[ReadItem]) -> Grouping:
    return by_question(each.item for each in items)


_ONE_VOICE = VoiceSettings({}, "linear", Gate(0.0, 1.0), {})
"""With which a voice that speaks alone is what it is."""


def run_keys(voices: FittedVoices | None) -> dict[str, Any]:
    """What a fit says of a pool's [run] table: those of its keys that were fitted."""
    if voices is None:
        return {}
    keys: dict[Part, tuple[str, Any]] = {
        "weights": ("voice_weights", voices.weights),
        "gate": ("record_gate", list(voices.gate or ())),
        "pooling": ("voice_pooling", voices.pooling),
        "temperatures": ("voice_temperatures", voices.temperatures),
    }
    return dict(keys[part] for part in voices.taken)


def fit_voices(items: HeardItems, present: VoiceSettings, seed: int) -> tuple[VoiceSettings, list[Tried]]:
    """The voice settings that come nearest to these items' real distributions, of those that differ from the present
    ones in parts that pay on questions left out, and what was tried."""
    tried = choose(items, present, seed=seed)
    return search(items, present, [each.part for each in tried if each.taken]).settings, tried


def scores_of_pool(items: HeardItems, united: Floats, priors: Floats) -> Scores:
    """The JS distance and the log-likelihood of each item under the linear pool of those communities that have
    answered it; none where nobody has."""
    weights = of_those_heard(united, priors)
    likelihoods = items.log_likelihoods(united, weights)
    scores = Scores()
    for gold, pooled, likelihood in zip(items.gold, linear(united, weights), likelihoods, strict=True):
        known = bool(np.isfinite(likelihood))
        scores.add({"js": js_distance(gold, pooled), "log_likelihood": float(likelihood)} if known else {})
    return scores


def _held_out_table(scores: Mapping[str, Scores], draw: Draw, questions: int) -> Table:
    return Table(
        name="held_out",
        title="On the questions that were held back",
        note=f"The intervals are 95 % percentile bootstrap intervals that resample {questions} distinct "
        f"question{'s' * (questions != 1)}, each with all of its items.",
        columns=[measure.column for measure in _MEASURES],
        rows=[Row(name=name, cells=figures(each, _MEASURES, draw)) for name, each in scores.items()],
        chart="js",
    )


def _differences_table(scores: Mapping[str, Scores], draw: Draw) -> Table:
    pairs = [(one, other) for one in (FITTED, BY_ATTRIBUTE) for other in scores if one in scores and other != one]
    pairs = [(one, other) for one, other in pairs if other != BY_ATTRIBUTE]
    return difference_table("Differences between weights", pairs, scores, _MEASURES, draw)


def _tried_tables(tried: Sequence[Tried], overall: FittedPriors) -> list[Table]:
    """What cross-validation has said, where there were questions enough for one."""
    if not tried:
        return []
    gain = Column(
        key="gain",
        title="gain in JS distance",
        better="higher",
        help="By how much it is smaller on questions left out of the fit, with 1.96 standard errors over questions.",
    )
    rows = []
    for each in tried:
        reach = CLEAR_ERRORS * each.error
        figure = Figure(
            value=each.gain,
            low=each.gain - reach,
            high=each.gain + reach,
            n=overall.items,
            clear=abs(each.gain) > reach,
        )
        beside = f" beside {', '.join(each.beside)}" if each.beside else ""
        rows.append(Row(name=f"{each.part}{beside}{', taken' * each.taken}", cells={"gain": figure}))
    return [
        Table(
            name="tried",
            title="What may be fitted of the voices, by cross-validation",
            note="A part is fitted where it gains, temperatures only where they clearly do; of several, that which "
            "gains the most is taken first.",
            columns=[gain],
            rows=rows,
        )
    ]


def _pooling_facts(present: VoiceSettings, voices: FittedVoices | None) -> dict[str, str]:
    return {} if voices is None else {"voice pooling": present.pooling, "voice pooling, fitted": voices.pooling}


def _sentence(verdict: GainVerdict, chosen: str, before: str, gain: Comparison) -> str:
    fitted = {UNIFORM: "The fitted weights", PRESENT: "The fitted settings"}[before]
    weights = "The weights fitted by attribute" if chosen == BY_ATTRIBUTE else fitted
    others = _BEFORE[before]
    told = {
        "gain": f"{weights} are better than {others}",
        "loss": f"{weights} are worse than {others}, so there is no gain",
        "same": f"{weights} give the same as {others}, so there is no gain",
        "unclear": f"{weights} show no clear gain over {others}: the interval holds zero",
        "too few questions": f"{weights} cannot be told from {others} with fewer than {CLEAR_FROM} questions held back",
    }[verdict]
    write = number_format(_JS.column, [gain.one, gain.other])
    change = figure_text(gain.difference, number_format(_JS.column, [gain.difference]))
    return (
        f"{told}. On {gain.difference.n} items of {gain.questions} question{'s' * (gain.questions != 1)} that were "
        f"held back, the JS distance is {figure_text(gain.other, write).value}, with "
        f"{'uniform weights' if before == UNIFORM else others} "
        f"{figure_text(gain.one, write).value}; paired gain {change.value} {change.interval}".rstrip()
        + "."
    )
