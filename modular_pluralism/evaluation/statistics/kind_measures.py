"""What items are measured by, by kind of task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.measures.entailment import COVERED
from modular_pluralism.evaluation.measures.judge import CRITERIA
from modular_pluralism.evaluation.statistics.figures import Measure, choice_measures, mean_of
from modular_pluralism.evaluation.statistics.scores import Scores

_MASS = "Raw probability that the reply was an option's letter at all; where it is small, the model was not answering"
_OWN_WORDS = (
    "Read by `text`: that it began with an option's own words, which is small for long ones whatever the model."
)
_LABEL = "read from the options' own order alone, with the model's preference for a letter in it."

_TWO_WAY = " Items are left out where “either” is right or was said, as in the paper's release."

JS = mean_of(
    "js",
    "JS distance",
    "Square root of the Jensen-Shannon divergence from the real distribution, base e; 0.8326 at most. Items that "
    "failed have none and are left out.",
    better="lower",
)
JS_LABEL = mean_of("js_label", "JS distance, label", f"JS distance of the distribution {_LABEL}", better="lower")
_JS_WORST = mean_of(
    "js_worst",
    "JS distance, worst case",
    "JS distance with the largest possible one, 0.8326, for each item that failed.",
    better="lower",
)
_AGREE = mean_of(
    "agree",
    "most likely",
    "Share of items whose most likely option is the really most likely one; of equally likely ones the first counts, "
    "so that on an even split only option A is right. A failure is wrong.",
    better="higher",
    share=True,
)
_AGREE_LABEL = mean_of(
    "agree_label", "most likely, label", f"The same for the distribution {_LABEL}", better="higher", share=True
)
_AGREE_ANY = mean_of(
    "agree_any",
    "most likely, ties right",
    "The same, but where several options are really the most likely, each of them is right.",
    better="higher",
    share=True,
)
_COVERAGE = mean_of(
    "coverage",
    "value coverage",
    "How far the answer's sentences entail each value's explanation, the best sentence for each; the mean over an "
    "item's values. Items that failed have none and are left out.",
    better="higher",
)
_COVERED = mean_of(
    "covered",
    f"above {COVERED}",
    f"Share of items with a value coverage above {COVERED}; a failure is not.",
    better="higher",
    share=True,
)
_MASSES = [
    mean_of("mass", "label mass", f"{_MASS}; mean over all orders of the options. {_OWN_WORDS}", share=True),
    mean_of("mass_label", "label mass, label", f"{_MASS}; in the options' own order.", share=True),
]
_WRITTEN = "tokens_generated"
_TOKENS = (
    "Of the texts that were written, comments and answers, per item. What it takes to read the options' probabilities, "
    "or to choose a community, is not counted."
)
_COUNTS = ("cut", "mass", "readings")
"""What the note on a measure of entailment is made of; see entailment.Counts."""
_WORST = ("js_worst", "coverage_worst")
"""These decide where items failed, since nothing must not win by failing on what is hard."""


def main_measures(kind: Kind, methods: Mapping[str, Scores], *, ties: bool) -> list[Measure]:
    """What the task is about; `ties` says that some item has several really most likely options."""
    failures = any((scores.column("failed") > 0).any() for scores in methods.values())
    if kind == "overton":
        return _overton_measures(methods, failures)
    if kind == "steerable-value":
        return [
            *choice_measures("cell"),
            *choice_measures("cell_2", "_2", ", two-way", _TWO_WAY),
            *choice_measures("cell_label", "_label", ", label", f" The stance is {_LABEL}")[:1],
            *_MASSES,
        ]
    return [
        JS,
        JS_LABEL,
        *([_JS_WORST] if failures else []),
        _AGREE,
        _AGREE_LABEL,
        *([_AGREE_ANY] if ties else []),
        *_MASSES,
    ]


def group_measures(kind: Kind, methods: Mapping[str, Scores]) -> list[Measure]:
    """What is compared group by group."""
    if kind == "overton":  # failures alone would fill the second
        return [_COVERAGE, _COVERED] if any(scores.has("coverage") for scores in methods.values()) else []
    if kind == "steerable-value":
        return [*choice_measures("cell")[:1], *choice_measures("cell_label", "_label", ", label")[:1]]
    return [JS, JS_LABEL, _AGREE, _AGREE_LABEL]


def cost_measures(methods: Mapping[str, Scores]) -> list[Measure]:
    """What it took, each per item."""
    tokens = sorted({key for scores in methods.values() for key in scores.names() if key.startswith("tokens_")})
    if not any((scores.column(_WRITTEN) > 0).any() for scores in methods.values()):  # no method wrote a text
        tokens = []
    return [
        mean_of("missing", "missing communities", "Communities that gave no comment, per item.", better="lower"),
        mean_of(
            "parse_failures",
            "parse failures",
            "Replies in which no option and no number could be found, per item; none where probabilities are read.",
            better="lower",
        ),
        *(mean_of(key, f"tokens of texts, {_words(key, 'tokens_')}", _TOKENS) for key in tokens),
        mean_of(
            "seconds",
            "seconds",
            "Wall-clock time per item, shared with the items that ran beside it. Where communities are "
            "removed or alone, what they had said takes none.",
        ),
    ]


def check_measure(kind: Kind, key: str | None) -> None:
    """Raise InputError unless the kind has a measure of that name which says what is better."""
    known = [measure.column.key for measure in main_measures(kind, {}, ties=True) if measure.column.better is not None]
    known += ["coverage"] if kind == "overton" else []
    if key is not None and key not in known:
        raise InputError(f"This task has no measure {key!r}; use one of {', '.join(dict.fromkeys(known))}.")


def deciding(measures: Sequence[Measure], key: str | None) -> Measure:
    """The measure that decides: the one asked for, or the kind's first, with failures counted.

    Raises:
        InputError: no item has a value of it.
    """
    by_key = {measure.column.key: measure for measure in measures}
    if key is not None and key not in by_key:
        raise InputError(f"No item has a value of {key}; take another --measure.")
    if not measures:
        raise InputError("No item has a value of any measure, since all of them failed; see why with `pluralism eval`.")
    worst = next((by_key[name] for name in _WORST if name in by_key), measures[0])
    return worst if key is None else by_key[key]


def _overton_measures(methods: Mapping[str, Scores], failures: bool) -> list[Measure]:
    known = [
        _COVERAGE,
        _COVERED,
        mean_of("coverage_worst", "value coverage, worst case", "The same with 0 for a failure.", better="higher"),
        mean_of(
            "comment_coverage",
            "comment coverage",
            "How far the answer follows the communities' comments, measured in the same way.",
            better="higher",
        ),
        mean_of("perspective_score", "score per perspective", "Mean over the required perspectives.", better="higher"),
        *(
            mean_of(f"rating_{name}", name, f"The judge's rating of the answer's {name}, 1 to 5.", better="higher")
            for name in CRITERIA
        ),
        *(
            mean_of(
                f"rating_{name}_mass",
                f"{name}, mass",
                "Raw probability that the judge's reply was a number; where it is small, the rating means little.",
                share=True,
            )
            for name in CRITERIA
        ),
    ]
    if not failures:
        known = [measure for measure in known if measure.key != "coverage_worst"]
    if not any(scores.has("coverage") for scores in methods.values()):  # failures alone would fill these
        known = [measure for measure in known if measure.key not in ("covered", "coverage_worst")]
    shown = {"failed", "missing", "parse_failures", "seconds", "words", *(measure.key for measure in known)}
    apart = {*shown, *_COUNTS, "covered", "coverage_worst"}
    further = sorted({key for scores in methods.values() for key in scores.names() if not key.startswith("tokens_")})
    return [
        *known,
        *(mean_of(key, _words(key), "Mean over the items that have it.") for key in further if key not in apart),
        mean_of("words", "words", "Length of the answer in words; a longer one covers more without saying it better."),
    ]


def _words(key: str, prefix: str = "") -> str:
    return key.removeprefix(prefix).replace("_", " ")
