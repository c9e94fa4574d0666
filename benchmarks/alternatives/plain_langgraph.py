"""The council in plain LangGraph."""

from __future__ import annotations

import operator
from typing import Annotated

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from benchmarks.alternatives.council import CHECK, MERGE, PERSONAS, Outcome


class Asked(TypedDict):
    name: str
    question: str


class State(TypedDict, total=False):
    question: str
    comments: Annotated[dict[str, str], operator.or_]
    answer: str


def ask(question: str, models: dict[str, ChatOpenAI], base: ChatOpenAI) -> Outcome:
    def comment(state: Asked) -> State:
        name, model = state["name"], models[state["name"]]
        try:
            said = model.invoke([("system", PERSONAS[name]), ("user", state["question"])])
            checked = model.invoke(CHECK.format(comment=said.text))
        except Exception:  # a bug in this function would pass for a community that is missing
            return {}
        return {"comments": {name: checked.text}}

    def fan_out(state: State) -> list[Send]:
        return [Send("comment", {"name": name, "question": state["question"]}) for name in PERSONAS]

    def merge(state: State) -> State:
        comments = "\n".join(f"- {state['comments'][name]}" for name in PERSONAS if name in state["comments"])
        said = base.invoke(MERGE.format(question=state["question"], comments=comments))
        return {"answer": said.text}

    graph = StateGraph(State)
    graph.add_node("comment", comment)
    graph.add_node("merge", merge)
    graph.add_conditional_edges(START, fan_out, ["comment"])
    graph.add_edge("comment", "merge")
    graph.add_edge("merge", END)
    state = graph.compile().invoke({"question": question, "comments": {}})
    missing = [name for name in PERSONAS if name not in state["comments"]]
    return Outcome(answer=state["answer"], comments=state["comments"], missing=missing)
