"""Results with everything that a report has to show, drawn from a seed: they look like a run on GlobalOpinionQA."""

from __future__ import annotations

import random

from modular_pluralism.evaluation.statistics.results import (
    Column,
    Example,
    Failure,
    Figure,
    ReliabilityPoint,
    Results,
    Row,
    Table,
)

METHODS = ("modular", "vanilla", "prompting", "moe")
BASELINES = ("uniform", "majority option", "mean")
CONTINENTS = ("Africa", "Asia", "Europe", "North America", "Oceania", "South America")
_NATIONS = (
    "Angola, Argentina, Armenia, Australia, Bangladesh, Belgium, Bolivia, Brazil, Britain, Bulgaria, Burkina Faso, "
    "Canada, Chile, China, Colombia, Czech Rep., Egypt, El Salvador, Ethiopia, France, Germany, Ghana, Greece, "
    "Guatemala, Hungary, India, Indonesia, Israel, Italy, Ivory Coast, Japan, Jordan, Kenya, Kuwait, Kyrgyzstan, "
    "Lebanon, Lithuania, Malaysia, Maldives, Mali, Mexico, Morocco, Netherlands, New Zealand, Nicaragua, Nigeria, "
    "Pakistan, Palest. ter., Peru, Philippines, Poland, Puerto Rico, Romania, Russia, S. Africa, S. Korea, Senegal, "
    "Slovakia, Spain, Sweden, Tanzania, Thailand, Tunisia, Turkey, Uganda, Ukraine, United States, Uruguay, "
    "Uzbekistan, Venezuela, Vietnam"
)
_SAMPLES = (
    "Bangladesh, Bolivia, Brazil, China, Egypt, Ethiopia, Guatemala, Indonesia, Morocco, Nigeria, Pakistan, S. "
    "Africa, Senegal, Venezuela, Vietnam"
)
COUNTRIES = (
    *_NATIONS.split(", "),
    *(f"{name} (Non-national sample)" for name in _SAMPLES.split(", ")),
    "India (Current national sample)",
    "India (Old national sample)",
)

HOSTILE = (
    '<script>document.title = "owned"</script></style></svg><img src=x onerror="document.title=\'owned\'">'
    " {{ 7 * 7 }} {% raw %} & \" ' ` \u202egnp.exe\u202c \x1b[31mred\x1b[0m \x07 \x00 \ud800 \uffff ]]> --> $x$ $y$ "
)
"""What a model or a user may say: none of it may act on the page, on the charts, or on the terminal."""

RIGHT_TO_LEFT = "أعتقد أن الأسرة هي أهم شيء في الحياة، ولكن العمل مهم أيضًا."

JS_ROTATE = Column(
    key="js_rotate",
    title="JS distance",
    better="lower",
    help="Square root of the Jensen-Shannon divergence (base e) between the predicted and the real shares, averaged "
    "over items; the prediction is the average over all rotations of the options' order.",
)
JS_LABEL = Column(
    key="js_label",
    title="JS distance, one order",
    better="lower",
    help="The same with the options in their own order only, so that a preference for a letter counts.",
)
MOST_LIKELY = Column(
    key="most_likely",
    title="most likely agrees",
    better="higher",
    share=True,
    help="Share of items whose most likely option is the one that most people chose.",
)
MASS = Column(
    key="mass",
    title="label mass",
    share=True,
    help="Raw probability that the reply was one of the letters at all; where small, the model was not answering.",
)


def figure(rng: random.Random, middle: float, half: float, n: int, *, difference: bool = False) -> Figure:
    value = middle + rng.gauss(0, half / 3)
    low, high = value - half * rng.uniform(0.9, 1.1), value + half * rng.uniform(0.9, 1.1)
    return Figure(value=value, low=low, high=high, n=n, clear=difference and (low > 0 or high < 0))


def example_results() -> Results:
    """Four methods and three baselines on 550 items; the same at every call."""
    rng = random.Random(2024)
    return Results(
        title="GlobalOpinionQA, 550 items: distributional",
        task={
            "file": "distributional_test_globalopinionqa.json",
            "sha256": "9f2c" * 16,
            "kind": "distributional",
            "items": 550,
            "groups": 88,
            "items with two equal options": 0,
        },
        run={
            "methods": list(METHODS),
            "pool": "perspective",
            "base": "smollm2",
            "communities": ["news_left", "news_center", "news_right", "reddit_left", "reddit_center", "reddit_right"],
            "style": "chat",
            "comment_tokens": 64,
            "seed": 0,
            "temperature": 0.7,
            "limit": None,
            "repeatable": True,
            "seconds": 2213.4,
        },
        warnings=[
            "No method is closer to the real shares than the uniform distribution, which needs no model.",
            "The label mass of vanilla is 41 %: most of its probability was on replies other than a letter.",
            "3 items failed under moe; they are left out of its JS distance and counted as wrong elsewhere.",
        ],
        tables=[
            _overall(rng),
            _differences(rng),
            _rotation(rng),
            _counts(rng),
            _groups(rng, "continent", "By continent", CONTINENTS, 92, BASELINES),
            _groups(rng, "country", "By country", COUNTRIES, 6, ("uniform",)),
            _ambiguity(rng),
        ],
        reliability={method: _curve(rng) for method in METHODS},
        examples=[
            _example(rng, method, rank, number)
            for method in METHODS
            for rank in ("best", "worst")
            for number in range(10)
        ],
        failures=[
            Failure(method="moe", id=17, error="The deadline of 120 s passed before the base LLM answered."),
            Failure(method="moe", id="q-204", error="A prompt of 4,211 tokens is longer than the context of 4,096."),
            Failure(method="moe", id=381, error=HOSTILE),
        ],
        failed=3,
    )


def _overall(rng: random.Random) -> Table:
    middles = {"modular": 0.301, "vanilla": 0.343, "prompting": 0.338, "moe": 0.322}
    rows = [
        Row(
            name=method,
            cells={
                "js_rotate": figure(rng, middle, 0.012, 547 if method == "moe" else 550),
                "js_label": figure(rng, middle + 0.12, 0.015, 547 if method == "moe" else 550),
                "most_likely": figure(rng, 0.44, 0.041, 550),
                "mass": figure(rng, 0.41 if method == "vanilla" else 0.93, 0.006, 550),
            },
        )
        for method, middle in middles.items()
    ]
    for name, middle, agrees in (("uniform", 0.2985, 0.29), ("majority option", 0.611, 0.37), ("mean", 0.281, 0.37)):
        cells = {"js_rotate": figure(rng, middle, 0.009, 550), "most_likely": figure(rng, agrees, 0.04, 550)}
        rows.append(Row(name=name, baseline=True, cells=cells))
    return Table(
        name="overall",
        title="Overall",
        note="All items together.",
        columns=[JS_ROTATE, JS_LABEL, MOST_LIKELY, MASS],
        rows=rows,
        chart="js_rotate",
    )


def _differences(rng: random.Random) -> Table:
    rows = [
        Row(
            name=f"modular − {other}",
            cells={
                "js_rotate": figure(rng, middle, 0.008, 550, difference=True),
                "most_likely": figure(rng, 0.01, 0.03, 550, difference=True),
            },
        )
        for other, middle in (("vanilla", -0.042), ("prompting", -0.037), ("moe", -0.021), ("uniform", 0.002))
    ]
    return Table(
        name="differences",
        title="Differences",
        note="Paired on the same items.",
        columns=[JS_ROTATE, MOST_LIKELY],
        rows=rows,
        chart="js_rotate",
    )


def _rotation(rng: random.Random) -> Table:
    columns = [
        Column(key="label", title="gain, one order", help="JS distance that is won over vanilla with one order only."),
        Column(key="rotate", title="gain, all rotations", help="The same, averaged over all rotations."),
        Column(key="left", title="left", share=True, help="How much of the gain is left after rotation."),
    ]
    rows = [
        Row(
            name=method,
            cells={
                "label": figure(rng, 0.11, 0.012, 550, difference=True),
                "rotate": figure(rng, 0.03, 0.012, 550, difference=True),
                "left": Figure(value=None, n=550) if method == "moe" else figure(rng, 0.27, 0.1, 550),
            },
        )
        for method in METHODS
        if method != "vanilla"
    ]
    return Table(name="rotation", title="What is left after rotation", columns=columns, rows=rows)


def _counts(rng: random.Random) -> Table:
    columns = [
        Column(key="items", title="items", help="Items that were asked."),
        Column(key="failed", title="failed", better="lower", help="Items without a result."),
        Column(key="missing", title="communities missing", better="lower", help="Mean number for each item."),
        Column(key="tokens", title="tokens read", help="Tokens of prompts that were not in the cache."),
        Column(key="seconds", title="seconds", help="Wall-clock time for each item, shared with those beside it."),
    ]
    rows = [
        Row(
            name=method,
            cells={
                "items": Figure(value=550, n=550),
                "failed": Figure(value=3 if method == "moe" else 0, n=550),
                "missing": Figure(value=0.004, n=550),
                "tokens": Figure(value=rng.randint(10**5, 10**6), n=550),
                "seconds": figure(rng, 4.2, 0.2, 550),
            },
        )
        for method in METHODS
    ]
    return Table(name="counts", title="Counts", columns=columns, rows=rows)


def _groups(
    rng: random.Random, name: str, title: str, groups: tuple[str, ...], n: int, baselines: tuple[str, ...]
) -> Table:
    rows = []
    for group in groups:
        of_group = rng.uniform(0.25, 0.4)
        for method in (*METHODS, *baselines):
            cells = {
                "js_rotate": figure(rng, of_group, 0.25 / n**0.5, n),
                "most_likely": figure(rng, 0.4, 0.5 / n**0.5, n),
            }
            rows.append(Row(name=method, group=group, baseline=method in baselines, cells=cells))
    return Table(name=name, title=title, columns=[JS_ROTATE, MOST_LIKELY], rows=rows, chart="js_rotate")


def _ambiguity(rng: random.Random) -> Table:
    """A short table by group, one of which nobody would choose as a name."""
    rows = [
        Row(name=method, group=group, cells={"js_rotate": figure(rng, 0.3, 0.03, 20)})
        for group in ("low ambiguity", HOSTILE)
        for method in ("modular", HOSTILE)
    ]
    return Table(name="ambiguity", title="By ambiguity", columns=[JS_ROTATE], rows=rows, chart="js_rotate")


def _curve(rng: random.Random) -> list[ReliabilityPoint]:
    return [
        ReliabilityPoint(
            predicted=0.05 + number / 10,
            real=figure(rng, 0.17 + 0.035 * number, 0.02 + number * 0.008, 400 - 40 * number),
        )
        for number in range(9)
    ]


def _example(rng: random.Random, method: str, rank: str, number: int) -> Example:
    gold = [0.52, 0.27, 0.16, 0.05]
    predicted = gold if rank == "best" else gold[::-1]
    hostile = number == 0
    return Example(
        rank="best" if rank == "best" else "worst",
        method=method,
        id=number * 7 + 1,
        measure="JS distance",
        score=0.02 + number / 100 if rank == "best" else 0.61 - number / 100,
        question=HOSTILE
        if hostile
        else "Do you think the economic situation in your country is very good, somewhat good, bad or very bad?",
        attribute=rng.choice(COUNTRIES),
        options=["Very good", "Somewhat good", HOSTILE if hostile else "Somewhat bad", "Very bad"],
        gold=gold,
        predicted=predicted,
        values=[("Right to a fair wage", 0.71), ("Duty to family", 0.12)] if number == 2 else [],
        answer=HOSTILE + "\n\nA second paragraph. " + "long" * 200 if hostile else None,
        comments=[
            ("news_left", "Prices have risen faster than wages for years, and people feel it at the till."),
            ("news_center", RIGHT_TO_LEFT),
            ("news_right", HOSTILE if hostile else "Taxes and regulation hold businesses back; confidence is low."),
            ("reddit_left", "failed: no reply within 120 s"),
        ],
    )
