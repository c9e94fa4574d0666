"""The council with this package."""

from __future__ import annotations

from langchain_core.language_models.chat_models import BaseChatModel

from benchmarks.alternatives.council import CHECK, MERGE, PERSONAS, Outcome
from modular_pluralism import Community, Heard, HeardComment, Pool, build_overton


def ask(question: str, models: dict[str, BaseChatModel], base: BaseChatModel) -> Outcome:
    communities = {name: Community(model=models[name], persona=persona) for name, persona in PERSONAS.items()}

    def check(heard: HeardComment) -> str:
        comment = heard["comment"]
        return models[comment["community"]].invoke(CHECK.format(comment=comment["text"])).text

    def merge(heard: Heard) -> str:
        comments = "\n".join(f"- {comment['text']}" for comment in heard["comments"])
        return base.invoke(MERGE.format(question=heard["question"], comments=comments)).text

    pool = Pool.of(base, communities).with_run(attempts=1, deadline=20.0)  # these models try again themselves
    graph = build_overton(pool, after_comments=[check], merge=merge).compile()
    state = graph.invoke({"question": question})
    comments = {name: comment["text"] for name, comment in state["comments"].items() if not comment["error"]}
    return Outcome(answer=state["answer"], comments=comments, missing=state["missing"])
