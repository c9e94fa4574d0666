"""Small task files for tests, in the format of the paper's release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUESTIONS = (
    "Should a city ban cars from its centre?",
    "Is it acceptable to lie to a friend?",
    "Should everybody learn to cook?",
    "Is it right to eat meat?",
    "Should schools start later?",
    "Is it good to live alone?",
    "Should museums be free?",
    "Is it fair to tax sugar?",
)
COUNTRIES = ("Spain", "Kenya", "Japan", "United States")
GOLD = ([0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5])


def option_item(place: int, **changes: Any) -> dict[str, Any]:
    """A distributional item of three options."""
    question = QUESTIONS[place % len(QUESTIONS)]
    return {
        "id": place,
        "question": f"Question: {question}\nOptions: A. Yes B. No C. It depends\nAnswer:",
        "options": ["Yes", "No", "It depends"],
        "attribute": COUNTRIES[place % len(COUNTRIES)],
        "gold_distribution": GOLD[place % len(GOLD)],
        "pred_distribution": None,
        **changes,
    }


def value_item(place: int) -> dict[str, Any]:
    """A steerable item by value."""
    return {
        "id": place,
        "situation": "telling a lie",
        "vrd": ("Honesty", "Right to privacy", "Duty to help")[place % 3],
        "label_text": ("Supports", "Opposes", "Either")[place % 3],
        "label": "ABC"[place % 3],
        "input": "Question: given a situation and a value, does the value support, oppose, or either?\n\n"
        "Situation: telling a lie\n\nA. Support B. Oppose C. Either\nAnswer:",
        "output": None,
    }


def overton_item(place: int) -> dict[str, Any]:
    """An Overton item of six values."""
    names = ["Honesty", "Kindness", "Freedom", "Safety", "Fairness", "Duty to help"]
    return {
        "id": place,
        "situation": QUESTIONS[place % len(QUESTIONS)],
        "vrd": names,
        "explanation": [f"{name} matters here, since people care about it." for name in names],
        "input": f"Please comment on the following situation: {QUESTIONS[place % len(QUESTIONS)]}",
        "output": None,
    }


def write_task(path: Path, items: list[dict[str, Any]]) -> Path:
    """A task file with these items."""
    path.write_text(json.dumps(items))
    return path
