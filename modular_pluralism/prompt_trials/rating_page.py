"""Rating pairs of answers in a page of its own, and the file that the page saves."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from jinja2 import Environment
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.report.pages import allowed, page_templates
from modular_pluralism.prompt_trials.ratings import Choice, Ratings
from modular_pluralism.prompt_trials.result_models import CUT_OFF

RATING_PAGE = "rate.html"


class SavedRatings(BaseModel):
    """What the page saves: choices by the pairs' ids, in the comparison with this digest."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal[1]
    comparison: str
    ratings: dict[str, Choice]


def pages() -> Environment:
    """The templates of a comparison's pages."""
    environment = page_templates(__package__)
    environment.globals["CUT_OFF"] = CUT_OFF
    return environment


def rating_page(ratings: Ratings, comparison: str) -> str:
    """One page that loads nothing, and shows the pairs that nobody has rated without a word on which is which."""
    script = files(__package__).joinpath("rate.js").read_text(encoding="utf-8")
    waiting = ratings.waiting()
    page = pages().get_template("rate.html.jinja")
    return page.render(
        comparison=comparison,
        waiting=waiting,
        rated=len(ratings.pairs()) - len(waiting),
        nothing_waits=ratings.nothing_waits(),
        script=Markup(script),
        script_hash=allowed(script),
    ).lstrip()


def read_ratings(path: Path, comparison: str) -> dict[str, Choice]:
    """The choices, by the pairs' ids, in a file that the page of the comparison with that digest has saved.

    Raises:
        InputError: it cannot be read, is no such file, or is of another comparison.
    """
    try:
        saved = SavedRatings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the file that {RATING_PAGE} saved with --ratings."
        ) from None
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise InputError(
            f"{path} is not as {RATING_PAGE} saves it ({f'{where}: ' if where else ''}{wrong['msg']}); save it there "
            "again."
        ) from None
    if saved.comparison != comparison:
        raise InputError(
            f"{path} has ratings of another comparison; give the questions, prompts and settings that these were rated "
            f"with, or the file that this one's {RATING_PAGE} saved."
        )
    return saved.ratings
