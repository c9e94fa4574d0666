"""What an endpoint says is wrong with a request, in whichever shape it says so."""

from __future__ import annotations

import html
import json
import re
from typing import Any

_SAYING = ("message", "error", "detail", "msg", "error_description", "errors", "title")
"""Keys under which endpoints put their reason, the likeliest first."""
_LONGEST = 300
_DEEPEST = 6
_INVISIBLE = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_REFUSING = (400, 403, 404, 405, 422, 500, 501)
"""Statuses with which endpoints refuse a parameter."""
_SETTINGS = re.compile(
    r"\b(top_?logprobs|top_n_tokens|log_?probs|log[ -]?probabilit(?:y|ies)|max_completion_tokens|max_tokens"
    r"|temperature|top_p|seed|stream_options)\b",
    re.IGNORECASE,
)


def reason(body: object, depth: int = 0) -> str:
    """The readable part of an error's body: of nested tables and lists, JSON in text, plain text, or a web page."""
    if isinstance(body, str):
        return _of_text(body.strip(), depth)
    if depth > _DEEPEST:
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, (reason(each, depth + 1) for each in body[:3])))
    if isinstance(body, dict):
        said = next(filter(None, (reason(body.get(key), depth + 1) for key in _SAYING)), "")
        where = body.get("loc")
        at = ".".join(str(part) for part in where if part != "body") if isinstance(where, list | tuple) else ""
        return f"{at}: {said}" if at and said else said
    return ""


def _of_text(text: str, depth: int) -> str:
    if depth <= _DEEPEST and text[:1] in ("{", "["):
        try:
            return reason(json.loads(text), depth + 1) or text
        except (ValueError, RecursionError):
            return text
    if text[:1] == "<":
        text = _INVISIBLE.sub(" ", text[:100_000])
        title = _TITLE.search(text)
        return html.unescape(" ".join((title[1] if title and title[1].strip() else _TAG.sub(" ", text)).split()))
    return text


def shortened(text: str) -> str:
    """A text in one line of bearable length, without a full stop at its end."""
    line = " ".join(text.split()).rstrip(" .")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def refused_setting(error: BaseException) -> str | None:
    """The setting of a request that an endpoint's error is about, by its name in OpenAI's API; None if it is about
    none, or about no setting that can be left out or called otherwise."""
    if getattr(error, "status_code", None) not in _REFUSING:
        return None
    body: Any = getattr(error, "body", None)
    said = reason(body) or str(error)
    named = body.get("param") if isinstance(body, dict) else None
    found = (_SETTINGS.search(named) if isinstance(named, str) else None) or _SETTINGS.search(said)
    if found is None:
        return None
    name = re.sub(r"_?top_?logprobs|top_n_tokens", "top_logprobs", found[1].lower())
    if name in ("temperature", "top_p") and _ONE_OF_TWO.search(said):
        return "top_p"
    if name.startswith(("log", "top_log")):
        return name if name == "top_logprobs" else "logprobs"
    # A value that is too large is no reason to do without the setting: only what there is no place for is left out.
    # (The package's own top_p of 1 and temperature of 0 are values that some take for none.)
    unknown = _UNKNOWN.search(said) or (_RANGE.search(said) if name == "top_p" else _POSITIVE.search(said))
    return name if unknown else None


def refuses_schema(error: BaseException | None) -> bool:
    """Whether an endpoint's error says that it keeps no reply to a JSON schema."""
    if error is None or getattr(error, "status_code", None) not in _REFUSING:
        return False
    body: Any = getattr(error, "body", None)
    named = body.get("param") if isinstance(body, dict) else None
    return bool(_SCHEMA.search(f"{named or ''} {reason(body) or str(error)}"))


_SCHEMA = re.compile(r"response_?format|json_?schema|structured|guided|grammar", re.IGNORECASE)
_ONE_OF_TWO = re.compile(r"temperature.*top_p.*(both|only one)|both.*temperature.*top_p", re.IGNORECASE | re.DOTALL)
_POSITIVE = re.compile(r"temperature.*strictly positive", re.IGNORECASE | re.DOTALL)
_UNKNOWN = re.compile(
    r"support|permitted|unrecogni[sz]ed|unknown|unexpected|cannot find|deprecated|not allowed|forbidden|instead"
    r"|not enabled|not available|only the default|no such|incompatible",
    re.IGNORECASE,
)
_RANGE = re.compile(r"[<>≤≥]|greater|less|max(?:imum)?\b|at most|between|exceed|range|too (?:large|many|high)", re.I)


def highest_allowed(error: BaseException, asked: int) -> int | None:
    """How many alternatives an endpoint would report that refused `asked` of them; None where it does not speak of a
    number, but of the thing itself."""
    said = reason(getattr(error, "body", None)) or str(error)
    if not _RANGE.search(said):
        return None
    below = [number for each in re.findall(r"\d{1,4}", said) if 0 < (number := int(each)) < asked]
    return max(below) if below else 5 if asked > 5 else None
