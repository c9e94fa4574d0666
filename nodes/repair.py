"""Assembly: the base LLM mends an answer that breaks a contract (after section 4.3 of Stańczak et al., arXiv
2503.00069)."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.draft import drafted, written_candidates
from modular_pluralism.nodes.render import fill, one_line, quoted
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.nodes.under_contract import rules_of
from modular_pluralism.prompts import PromptSet
from modular_pluralism.societal.rule import Rule
from modular_pluralism.societal.standing import RuleStanding
from modular_pluralism.types import Repair


@step_maker(prompts=["repair", "broken_rule"])
def repair(models: PoolModels, prompts: PromptSet, *, drafts: Sequence[str], max_tokens: int) -> Body:
    """Step that writes one more candidate, the answer without what breaks the contract, and its entry in `repairs`.

    The base LLM is told the broken musts, each with what has been said against the answer. Where nothing is to be
    mended, it writes nothing.
    """

    def step(state: State) -> Steps:
        if not state.get("rounds_left"):
            return {}
        repairs: list[Repair] = list(state.get("repairs") or [])
        of, texts = state["candidate"], written_candidates(state, drafts)
        standing = state["standing"][of]
        broken, rules = list(standing["broken"]), rules_of(state)
        lines = [
            prompts["broken_rule"].render_text(rule=one_line(_words(name, rules)), reason=one_line(reason))
            for name in broken
            for reason in [_reason(standing["rules"][name])]
        ]
        name = f"{of.partition('+')[0]}+{len(repairs) + 1}"
        messages = fill(prompts["repair"], state, answer=quoted(texts[of]), rules="\n".join(lines))
        seed = derive_seed(state.get("seed") or 0, "repair", name)
        rests_on = list(state["candidates"][of]["rests_on"])
        update = yield from drafted(models.base(), messages, name, rests_on, max_tokens=max_tokens, seed=seed)
        entry = Repair(of=of, candidate=name, broken=broken, accepted=None, why=None)
        return {**update, "repairs": [*repairs, entry]}

    return step


def _words(name: str, rules: dict[str, Rule]) -> str:
    """The rule as the base LLM is told it: its words, or else its name, to which the reason says the rest."""
    return rules[name].text or name.replace("_", " ")


def _reason(standing: RuleStanding) -> str:
    """What has been said against the answer, by those who say that it breaks the rule."""
    against = [said for said in standing["said"] if said["verdict"] == "broken"]
    verified = [said["reason"] for said in against if said["kind"] == "verifier" and said["reason"]]
    return "; ".join(verified) or f"say {', '.join(said['member'] for said in against) or 'its members together'}"
