"""The browser of the tests: Debian's chromium, driven by Playwright."""

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium on the PATH")

# As a container has it, and without what a browser asks its maker for.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--no-first-run",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
)  # fmt: skip
