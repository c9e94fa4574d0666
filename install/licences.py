"""Write docs/licences.md: the licence of every package that each extra brings, from what is installed: `make licences`.

Fails where a package that users install is under the GPL or the AGPL, or says nothing of its licence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
PROJECT = "modular-pluralism"
OURS = ("dev", "docs")
"""Extras that nobody needs who uses the package."""
KNOWN = {"agent-client-protocol": "Apache-2.0"}
"""Licences of packages whose metadata say none, read in the packages' licence files."""
ALLOWED = {"docutils": "the GPL is that of a mode for Emacs, which is not installed"}
"""Packages under the GPL that are no hindrance, and why."""

_GPL = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License", re.IGNORECASE)
_LONGEST = 60
_HEAD = """# Licences of what is installed

`make licences` writes this page from the metadata of the packages that `requirements.lock` names, on Linux, and fails
where one that users install is under the GPL or the AGPL. A package stands under the first group that brings it. What
only contributors install (the extras `dev` and `docs`) is left out. `make sbom` lists an environment, as
CycloneDX. PyTorch is the build for CPUs here: the one for NVIDIA's GPUs brings packages under NVIDIA's own licences.
"""


class LicenceError(Exception):
    """A package cannot be told, or is not to be had."""


def main() -> int:
    """Write the page, and return the exit code."""
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except LicenceError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Written: {PAGE.relative_to(ROOT)}")
    return 0


def page() -> str:
    """The page's text. Raises LicenceError."""
    parts, seen, versions = [_HEAD], {PROJECT}, locked()
    project = _found(PROJECT)
    for extra in ("", *sorted(set(project.metadata.get_all("Provides-Extra") or ()) - set(OURS))):
        found = sorted(set(_needed(project, {extra})) - seen)
        seen.update(found)
        title = f"The extra `{extra}`" if extra else "Without any extra"
        rows = [f"| {name} | {versions.get(name, 'any')} | {licence(_found(name))} |\n" for name in found]
        table = "".join(["| package | version | licence |\n|---|---|---|\n", *rows])
        parts.append(f"## {title}\n\n{table}")
    return "\n".join(parts)


def locked() -> dict[str, str]:
    """The versions in requirements.lock."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins if "+" not in version}  # builds of a version


def licence(package: Distribution) -> str:
    """What a package says of its licence: an SPDX expression, or else its own words.

    Raises:
        LicenceError: it says nothing, or that is the GPL.
    """
    name, told = canonicalize_name(package.metadata["Name"]), package.metadata
    named = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or () if each.startswith("License ::")]
    title, _, text = (told.get("License") or "").strip().partition("\n")  # some put the whole text there
    short = "" if len(title) > _LONGEST or title.upper() == "UNKNOWN" else title
    ways = (told.get("License-Expression"), KNOWN.get(name), not text and short, "; ".join(sorted(named)), short)
    said = next(filter(None, ways), None)
    if not said:
        raise LicenceError(f"{name} says nothing of its licence; read it, and name it in KNOWN.")
    if name not in ALLOWED and any(map(_GPL.search, (said, *named))):
        raise LicenceError(f"{name} is under {said}; do without it, or say in ALLOWED why it is no hindrance.")
    return " ".join(said.split()).replace("|", "\\|") + (f" ({ALLOWED[name]})" if name in ALLOWED else "")


def _needed(package: Distribution, extras: Iterable[str], seen: set[tuple[str, str]] | None = None) -> Iterator[str]:
    """The names of what a package with these extras needs, and of what that needs."""
    seen = set() if seen is None else seen
    wanted = {*extras, ""}
    for text in package.requires or ():
        needed = Requirement(text)
        if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        name = canonicalize_name(needed.name)
        new = {(name, extra) for extra in (*needed.extras, "")} - seen
        if new:
            seen |= new
            yield name
            yield from _needed(_found(name), needed.extras, seen)


def _found(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise LicenceError(f"{name} is not installed; run `make licences`, which installs it.") from None


if __name__ == "__main__":
    sys.exit(main())
