"""The vocabulary of a run: what nodes write into the state and what a result is made of.

Everything here is JSON-serialisable, so that a checkpoint of a run is complete and deserialises to plain values.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # of `typing`'s, pydantic makes no schema before Python 3.12

Mode = str
"""The name of a mode, that is, of how the communities collaborate (section 3 of the paper): "overton", "steerable",
"distributional", "assembly", or one that was added; see `modular_pluralism.modes`."""

Scoring = Literal["label", "rotate", "text"]
"""How the probability of an answer option is read: "label" takes the option's letter as the next token, "rotate"
averages over all rotations of the options, and "text" takes the likelihood of the option's text."""

Voice = Literal["comment", "vote", "record"]
"""How a community is heard in distributional mode: by its comment, which the base LLM reads (the paper's way), by its
own probability of every option, or by what its people have answered to like questions."""

Voices = str
"""One voice, or several with commas between them, as in "vote,record"."""

MethodName = Literal["vanilla", "prompting", "moe", "modular"]
"""What answers the items of a task: one of the paper's baselines, or the mode that the task is for."""

ItemScoring = Literal["rotate", "text"]
"""How a method's predictions are read; "rotate" keeps what "label" gives beside it."""

Style = Literal["chat", "completion"]
"""How prompts are sent: in the model's chat template, or as plain text, as in the paper's release."""

Pooling = Literal["linear", "log-linear", "median"]
"""How distributions become one: by their weighted mean (the paper's way), by their weighted geometric mean, or by each
option's weighted median; the latter two are normalised."""

VoicePooling = Literal["linear", "log-linear"]
"""How a community's voices become one distribution; of two, there is no median."""


EvidenceTold = Literal["all", "others", "none"]
"""Which of its people's answers a community with a record is told before it comments: "all" that are near enough, those
to "others" than the asked question, as is fair where the real answers to that are what a run is measured by, or
"none"."""


MemberKind = Literal["community", "person", "verifier"]
"""Who gives ballots in an assembly: a community, by its LM; a person; or a verifier, which needs neither."""

Verdict = Literal["kept", "broken", "silent"]
"""What a ballot says of a rule: the answer keeps it, breaks it, or the rule does not say."""


Strength = Literal["must", "should"]
"""What becomes of an answer that breaks a rule: a "must" filters it out, a "should" weighs against it."""

Status = Literal["kept", "breached", "unsure"]
"""What a contract's musts say of an answer: all are kept, one is broken, or none is broken and one is silent."""


class Ballot(TypedDict):
    """One member's judgement in an assembly, of a candidate answer or of a rule in it.

    `rule` is None where the candidate itself is judged: `score`, from 0 (worst) to 1, is then how well it serves the
    member, and `verdict` is None. Of a rule, `verdict` has the probability of each `Verdict`, and `score` is None.
    `label_mass` is the probability on all labels before they were normalised, and `spread` the largest difference
    between two readings of the same thing (rotations, seeds); both are None where nothing was read, as of a person.
    `when` is a time in UTC, as ISO 8601 writes it.
    """

    member: str
    kind: MemberKind
    candidate: str
    rule: str | None
    score: float | None
    verdict: dict[Verdict, float] | None
    label_mass: float | None
    spread: float | None
    reason: str | None
    when: str | None


Happened = Literal["started", "answered", "scored", "voted", "judged", "failed"]
"""What a node tells of its work: that it asks a model for the first time, and how that ended."""


class Usage(TypedDict):
    """What one model call cost, and how it ended: `finish_reason` is "stop", "length" where the text was cut off by its
    token limit, or "tool_calls" where it calls tools. Tokens are the model's own; `cached_tokens` of the prompt were in
    the model's cache and not read again. `seconds` is wall-clock time, retries included."""

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    attempts: int


class Reply(Usage):
    """A text from a model."""

    text: str


class ToldAnswer(TypedDict):
    """How a community's people have answered a question, as the community was told it: `probabilities` [n_options] are
    the mean over as many `populations` as its record has for that question. `similarity` is how alike the question is
    to the asked one (0 to 1), and `itself` whether it is the asked one."""

    question: str
    options: list[str]
    probabilities: list[float]
    populations: int
    similarity: float
    itself: bool


class CommentEvidence(TypedDict):
    """What a community with a record was told before it commented, and what it made of that: the answers `told`,
    numbered from 1, the numbers of them that the comment has `cited`, and those it has `invented`, which no answer had.
    Nothing is told where no answered question was near enough."""

    told: list[ToldAnswer]
    cited: list[int]
    invented: list[int]


class Comment(Reply):
    """What one community LM said (the paper also calls it a message); where it failed, `text` is empty and
    `error` says why. `reasoning` is what a thinking model wrote before it, which nobody else reads. `evidence` is there
    where the community has a record, and is told of it."""

    community: str
    error: str | None
    reasoning: NotRequired[str]
    evidence: NotRequired[CommentEvidence]


Draft = Literal["base", "merge", "comments"]
"""What an assembly chooses among: the answer of the base LLM alone, the Overton merge of all comments, and one answer
in the light of each community's comment."""


class Candidate(Reply):
    """An answer that an assembly may choose; where it could not be written, `text` is empty and `error` says why.
    `rests_on` names the communities whose comments the base LLM was told."""

    name: str
    rests_on: list[str]
    error: str | None


class Repair(TypedDict):
    """A round in which the base LLM mended the candidate `of`, which broke the rules `broken`: what it wrote is called
    `candidate`. `accepted` is None until that is judged, and `why` says why it was not accepted."""

    of: str
    candidate: str
    broken: list[str]
    accepted: bool | None
    why: str | None


class Turn(TypedDict):
    """What was said before a question, by whom."""

    role: Literal["system", "user", "assistant"]
    content: str


class CalledFunction(TypedDict):
    """Which function is called, and with what: a JSON object as text."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """A call of a tool by the base LLM, as OpenAI has it."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class RecordedAnswer(TypedDict):
    """How a population has answered a question: `options` are the question's own, `probabilities` [n_options] those of
    the options that are asked about. `similarity` is how alike the two questions are (0 to 1), and `weight` its share
    in the estimate."""

    question: str
    options: list[str]
    attribute: str | None
    probabilities: list[float]
    similarity: float
    weight: float


class Evidence(TypedDict):
    """What a community's record says: how near the nearest question is (0 to 1), the part of its weight that the record
    has beside other voices at that distance (0 to 1), whether that question is the asked one `itself`, so that this is
    no prediction, and the answers that weigh the most."""

    nearness: float
    opening: float
    itself: bool
    answers: list[RecordedAnswer]


class OptionDistribution(TypedDict):
    """Probabilities over the answer options, in the order of the options; they sum to 1.

    `mass` is the raw probability that the reply was one of the labels at all, before normalisation (averaged over
    the rotations); a small mass means that the model was not answering. Of "text" it is the probability that the reply
    began with one of the options' texts, letter for letter; how small that is says more of their length than of the
    model. None where it is not known.
    `samples` is None where the probabilities were read from the model, and the number of sampled replies where they
    had to be estimated from those. `unread` lists options whose probability the endpoint did not report (below its
    `top_logprobs` limit, so they count as 0). `label` is what the options' own order alone gives, as the scoring
    "label" reads it, and `label_mass` its mass; None for "text". `read_from` is a short digest of the question with its
    parts and of the comment that a community's distribution was read from; one that you write yourself needs none.
    `evidence` is there where a community's record has spoken; nothing is read from a model then, and where nothing else
    was heard, `scoring` is None.
    """

    probabilities: list[float]
    mass: float | None
    scoring: Scoring | None
    samples: int | None
    unread: list[str]
    label: list[float] | None
    label_mass: float | None
    read_from: NotRequired[str]
    evidence: NotRequired[Evidence]


class Selection(TypedDict):
    """The selector's choice. `probabilities` maps each community that answered to its probability and sums to 1;
    both are None where a remote selector without log-probabilities was asked and its reply parsed."""

    community: str
    probability: float | None
    probabilities: dict[str, float] | None
    mass: float | None
    attempts: int


class Event(TypedDict):
    """What a node tells as it happens, to whoever streams a run with `stream_mode="custom"`.

    `event` is "started" before the node first asks a model; then "answered", or where it reads the probabilities of
    options "scored" (by the base LLM) or "voted" (by a community), and where it reads those of candidates "judged"; or
    "failed", with an `error`, where its community or its candidate counts as missing, or the run ends. `node` is its
    name in the graph, `role` what it does there. `seconds` are those since it started, `attempts` the tries of all its
    calls; tokens are None where no model has counted any, as where probabilities are read without a text.
    """

    event: Happened
    node: str
    role: str
    community: str | None
    mode: str | None
    seconds: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    attempts: int
    error: str | None


class Cost(TypedDict):
    """Calls of models, the tokens of their prompts, and the most tokens of their replies. Every prompt counts as one
    call, be it one of the rotations of the options or a sampled reply."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


class RoleEstimate(Cost):
    """What one role costs of one model: `tokens` of prompts are "counted" with the model's tokenizer, "estimated" from
    their length, or "unknown" and left out, as those of a part that the application brings. `sampled` is what it costs
    instead where the model reports no log-probabilities, so that options are read from sampled replies; None where that
    cannot be, or makes no difference."""

    role: str
    model: str
    tokens: Literal["counted", "estimated", "unknown"]
    sampled: Cost | None


class Estimate(TypedDict):
    """What a question costs at most if every community answers at its first try, with comments as long as they may be:
    in `total`, and in `sampled` where the models that are not embedded report no log-probabilities (None: the same)."""

    mode: str
    pool: str
    roles: list[RoleEstimate]
    total: Cost
    sampled: Cost | None


class HeardQuestion(TypedDict):
    """What every stage of your own is asked with. `attribute` and `options` are None where the question has none, and
    `history` is what was said before it. `seed` is derived from the question's, another one for every stage."""

    question: str
    attribute: str | None
    options: list[str] | None
    history: list[Turn]
    seed: int


class Heard(HeardQuestion):
    """What a stage of your own is asked with, in the place of the merge or the selector: `comments` are those of the
    communities that answered, in the pool's order, and `missing` names the others; the quorum has been checked."""

    comments: list[Comment]
    missing: list[str]


class HeardSelected(Heard):
    """What a stage of your own is asked with that answers in the light of the `selected` comment."""

    selected: Comment


class HeardComment(HeardQuestion):
    """What a stage of your own is asked with that looks at one community's comment."""

    comment: Comment
