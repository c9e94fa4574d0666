"""What every page has that is written into a file: templates that escape, and the digest of what it may use."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from modular_pluralism.evaluation.report.plain_text import fact_text, plain_text


def page_templates(package: str) -> Environment:
    """The templates in a package's folder. Texts of models and users are made `plain` there, and escaped."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain_text, "fact": fact_text}
    return environment


def allowed(text: str) -> str:
    """The one style or script that a page's content security policy lets in."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
