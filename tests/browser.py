"""A real browser that looks at a page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real Chromium; where there is none the test says how to get it, and fails in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        advice = "This test needs a browser; on Debian: apt-get install chromium, and pip install playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # root in a container
        yield browser
        browser.close()


def assert_nothing_overflows(shown: Page, width: int) -> None:
    """What is wider than the page stands where it can be scrolled."""
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    outside = shown.evaluate(
        """[...document.querySelectorAll('body *')]
            .filter(each => !each.closest('.scroll') && each.getBoundingClientRect().right > innerWidth + 1)
            .map(each => each.tagName)"""
    )
    assert outside == []
    scrolled = shown.evaluate("[...document.querySelectorAll('.scroll')].map(each => getComputedStyle(each).overflowX)")
    assert set(scrolled) == {"auto"}


def contrast(front: str, back: str) -> float:
    """The ratio of WCAG 2 for two opaque colours as the browser names them."""

    def luminance(colour: str) -> float:
        red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(front), luminance(back)))
    return (light + 0.05) / (dark + 0.05)
