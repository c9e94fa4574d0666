"""Assembly: a community judges the candidates, by the probability of each as the one that serves it best, and whether
they keep the rules that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError, PromptError
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.comment import Speaker, failure
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.read_options import OrderReadings, Prompt, read_each, read_orders
from modular_pluralism.nodes.render import fill, one_line, option_lines, quoted, with_persona
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.nodes.under_contract import (
    ballots_before,
    decided_by_verifier,
    pending_repair,
    rules_of,
    unjudged,
)
from modular_pluralism.option_math import mean_over_rotations, rotations, spread_over_rotations
from modular_pluralism.prompts import PromptSet
from modular_pluralism.societal.in_place import share_in_place
from modular_pluralism.types import Ballot, Comment, Repair, Verdict

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def _prompts(_: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    return ["prefer" if arguments["by_itself"] else "score", "option", "keeps", "verdicts"]


@step_maker(prompts=_prompts)
def judge(
    community: Speaker,
    models: PoolModels,
    prompts: PromptSet,
    *,
    drafts: Sequence[str],
    samples: int,
    most_characters: int,
    by_itself: bool = True,
) -> Body:
    """Step that writes `ballots[community]`, a list of one `Ballot` for each of the candidates called as in `drafts`.

    The candidates stand as lettered options, in all rotations, since judges favour a place: a score is the mean share
    over the rotations, and its spread how far they are apart. All of them together are shown with `most_characters` at
    most; a ballot says where a candidate was cut for that, and where shares had to be estimated from sampled replies.

    Under a contract there is one ballot more for each rule in words that the community holds and that no verifier has
    decided: the probabilities that the candidate keeps it, breaks it, or that the rule does not say.

    A draft that was mended is read beside the one before alone, and scored by the share that it would have in its
    place; see `share_in_place`. Whoever fails at that says nothing of it.

    A community that takes no messages cannot judge `by_itself`: the base LLM then reads in its comment what it would
    choose, which the ballot says, too.

    A community that has failed is passed over. One that fails here gets the error to its comment, and so counts as
    missing.
    """

    def step(state: State) -> Steps:
        name = community.name
        said = state["comments"].get(name)
        texts = written_candidates(state, drafts)
        if said is None or said["error"] is not None or not texts:
            return {}
        # Opened outside the reading, so that a pool that cannot work ends the run and does not pass for a silent one.
        model = models.community(name) if by_itself else models.base()
        judging = _Judging(
            name=name,
            model=model,
            state=state,
            prompts=prompts,
            persona=community.persona if by_itself else None,
            comment=None if by_itself else said,
            samples=samples,
            most=most_characters,
        )
        repair, before, asked = pending_repair(state), ballots_before(state, name), _asked(state, name, texts)
        try:
            if repair is None:
                ballots = yield from judging.candidates(texts)
            elif repair["candidate"] in texts:
                ballots = yield from judging.mended(repair, texts, before)
            else:
                return {}
            ballots += yield from judging.rules(asked, texts)
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, name, error) if repair is None else {}
        return {"ballots": {name: [*before, *ballots]}} if ballots else {}

    return step


def _asked(state: State, name: str, texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The candidates, the rules and the words of these that the community has to judge."""
    decided = decided_by_verifier(state)
    rules = {each: rule for each, rule in rules_of(state).items() if rule.is_held_by(name)}
    return [
        (candidate, each, rule.text)
        for candidate in unjudged(state, texts)
        for each, rule in rules.items()
        if rule.text is not None and (candidate, each) not in decided
    ]


@dataclass(frozen=True)
class _Judging:
    """One community at work, all of it known before a model is asked."""

    name: str
    model: PoolModel
    state: State
    prompts: PromptSet
    persona: str | None
    comment: Comment | None
    samples: int
    most: int

    def candidates(self, texts: Mapping[str, str]) -> ask.Asking[list[Ballot]]:
        """One ballot a candidate; none where there is only one, which is no choice."""
        if len(texts) < 2:
            return []
        read, notes = yield from self._preferred(texts, "judge")
        scores, spreads = mean_over_rotations(read.shares), spread_over_rotations(read.shares)
        return [
            self._ballot(candidate, read, spread, note, score=score)
            for candidate, score, spread, note in zip(texts, scores, spreads, notes, strict=True)
        ]

    def mended(self, repair: Repair, texts: Mapping[str, str], before: list[Ballot]) -> ask.Asking[list[Ballot]]:
        """One ballot for a mended candidate; one for that before, too, where it stood alone and had none."""
        pair = {name: texts[name] for name in (repair["of"], repair["candidate"])}
        read, notes = yield from self._preferred(pair, f"judge {repair['candidate']}")
        share = mean_over_rotations(read.shares)[1]
        spread = spread_over_rotations(read.shares)[1]
        earlier = next((each for each in before if each["candidate"] == repair["of"] and each["rule"] is None), None)
        note = " ".join(filter(None, [f"Read beside {repair['of']} alone.", notes[1]]))
        if earlier is None or earlier["score"] is None:
            first = self._ballot(repair["of"], read, spread, notes[0], score=1 - share)
            return [first, self._ballot(repair["candidate"], read, spread, note, score=share)]
        score = share_in_place(earlier["score"], share)
        return [self._ballot(repair["candidate"], read, spread, note, score=score)]

    def rules(self, asked: Sequence[tuple[str, str, str]], texts: Mapping[str, str]) -> ask.Asking[list[Ballot]]:
        """One ballot for each candidate and rule that are asked about."""
        if not asked:
            return []
        options, orders = self._verdicts(), rotations(len(_VERDICTS))
        seed = derive_seed(self.state.get("seed") or 0, "judge", self.name, "rules")
        prompts_for = [self._keeps(texts[candidate], words) for candidate, _, words in asked]
        reads = yield from read_each(self.model, options, orders, prompts_for, samples=self.samples, seed=seed)
        ballots = []
        for (candidate, rule, _), read in zip(asked, reads, strict=True):
            shares = mean_over_rotations(read.shares)
            note = " ".join(_sampled(read, range(len(_VERDICTS)))) or None
            spread = max(spread_over_rotations(read.shares))
            verdict = dict(zip(_VERDICTS, shares, strict=True))
            ballots.append(self._ballot(candidate, read, spread, note, rule=rule, verdict=verdict))
        return ballots

    def _preferred(self, texts: Mapping[str, str], what: str) -> ask.Asking[tuple[OrderReadings, list[str | None]]]:
        """The shares of these candidates in all rotations, and what has to be known of each."""
        shown = cut_to_fit(list(texts.values()), self.most)
        asked = self.prompts["prefer" if self.comment is None else "score"]

        def lettered(order: Sequence[str]) -> Prompt:
            options = option_lines(self.prompts, order)
            return with_persona(self.persona, fill(asked, self.state, self.comment, options=options))

        seed = derive_seed(self.state.get("seed") or 0, what, self.name)
        orders = rotations(len(shown))
        read = yield from read_orders(self.model, shown, orders, lettered, samples=self.samples, seed=seed)
        return read, [self._note(read, at, whole=one_line(text) == shown[at]) for at, text in enumerate(texts.values())]

    def _keeps(self, text: str, rule: str) -> Callable[[Sequence[str]], Prompt]:
        answer = text if len(text) <= self.most else f"{text[: self.most - 1].rstrip()}…"

        def lettered(order: Sequence[str]) -> Prompt:
            options = option_lines(self.prompts, order)
            asked = self.prompts["keeps"]
            messages = fill(asked, self.state, answer=quoted(answer), rule=one_line(rule), options=options)
            return with_persona(self.persona, messages)

        return lettered

    def _verdicts(self) -> list[str]:
        prompt = self.prompts["verdicts"]
        lines = prompt.render_text().strip().splitlines()
        if len(lines) != len(_VERDICTS):
            raise PromptError(
                f"{prompt.path} has {len(lines)} lines; write one for each verdict: {', '.join(_VERDICTS)}"
            )
        return lines

    def _note(self, read: OrderReadings, at: int, *, whole: bool) -> str | None:
        """What has to be known of a score before it is trusted."""
        notes = ["Read by the base LLM in the community's comment."] if self.comment is not None else []
        notes += _sampled(read, [at])
        if not whole:
            notes.append("Judged by its beginning, since all candidates together were too long.")
        return " ".join(notes) or None

    def _ballot(
        self,
        candidate: str,
        read: OrderReadings,
        spread: float,
        reason: str | None,
        *,
        score: float | None = None,
        rule: str | None = None,
        verdict: dict[Verdict, float] | None = None,
    ) -> Ballot:
        return Ballot(
            member=self.name,
            kind="community",
            candidate=candidate,
            rule=rule,
            score=score,
            verdict=verdict,
            label_mass=sum(read.masses) / len(read.masses),
            spread=spread,
            reason=reason,
            when=None,
        )


def _sampled(read: OrderReadings, places: Sequence[int]) -> list[str]:
    """Where shares are less than they seem."""
    notes = []
    if read.samples is not None:
        notes.append(f"Estimated from {read.samples} sampled replies: the model reports no log-probabilities.")
    if any(at in read.unread for at in places):
        notes.append("In some order too improbable for the endpoint to report, and counted as 0 there.")
    return notes


def cut_to_fit(texts: Sequence[str], most: int) -> list[str]:
    """The texts on one line each, the longest of them cut, all at the same length, so that all have `most` characters
    together; a cut one ends with an ellipsis."""
    lines = [one_line(text) for text in texts]
    longest, room, left = most, most, len(lines)
    for length in sorted(map(len, lines)):
        if length * left > room:
            longest = room // left
            break
        room, left = room - length, left - 1
    return [line if len(line) <= longest else f"{line[: max(0, longest - 1)].rstrip()}…" for line in lines]
