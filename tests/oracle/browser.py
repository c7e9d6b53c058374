"""A page in headless Chromium; tests that need it skip where it or Playwright is absent."""

import contextlib
import shutil

import pytest


@contextlib.contextmanager
def chromium_page():
    """Gives a page and the list of the problems that it has told of."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as tools:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = tools.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 900, "height": 1400})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else 0)
        yield page, problems
        browser.close()
