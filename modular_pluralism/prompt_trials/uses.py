"""Where every prompt is used: in which graph or measure, and by which node of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Use(NamedTuple):
    """`graph` is a mode, a baseline, or "evaluation" and "optimise", which are no graphs; `node` is the part of it."""

    graph: str
    node: str


_COMMENT = ("comment", "comment_options", "plain_option")
_USED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "overton": {"community": ("comment",), "merge": ("merge", "numbered_comment")},
    "steerable": {
        "community": _COMMENT,
        "select": ("select", "numbered_comment"),
        "respond": ("respond", "respond_options", "option"),
    },
    "distributional": {
        "community": ("comment_options", "plain_option"),
        "score": ("score", "score_group", "score_text", "score_group_text", "option"),
        "vote": ("vote", "vote_group", "vote_text", "vote_group_text", "option"),
    },
    "vanilla": {"answer": ("vanilla", "vanilla_options", "option")},
    "prompting": {
        "answer": (
            *(
                f"prompting_{of}{options}"
                for of in ("overton", "steerable", "distributional", "group")
                for options in ("", "_options")
            ),
            "option",
        )
    },
    "moe": {
        "route": ("route", "numbered_expert"),
        "community": _COMMENT,
        "answer": ("moe", "moe_options", "option"),
    },
    "evaluation": {
        "entailment": ("judge_entailment", "option"),
        "pairs of answers": ("judge_pair", "option"),
        "ratings": (
            "judge_rating",
            *(f"judge_{name}" for name in ("helpfulness", "clarity", "factuality", "depth", "neutrality")),
        ),
        "--perspectives": ("perspectives",),
    },
    "optimise": {"reflect": ("reflect", "reflect_example", "reflect_again")},
}


def uses_of(name: str) -> list[Use]:
    """Every use of the prompt `name` (its file's name without the ending). A persona is used by communities of pools,
    and has none here."""
    return [Use(graph, node) for graph, nodes in _USED.items() for node, names in nodes.items() if name in names]
