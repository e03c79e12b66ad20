"""A page in a real browser, with a real API, worker and etcd behind it.

One browser, and so one event loop, serves all these tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from babygun.runtime.settings import Settings

if TYPE_CHECKING:
    from tests.browser.stage import Browser, Page, Stage

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="browser")
async def one_browser() -> AsyncIterator[Browser]:
    from tests.browser.stage import browser  # here: the import skips without a browser

    async with browser() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a desktop's size, in light colours. Any error of its scripts fails the test."""
    from tests.browser.stage import PATIENCE

    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme="light", timezone_id="UTC"
    )
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    await context.close()
    assert not failures, failures


@pytest_asyncio.fixture(loop_scope="session")
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """API, worker, mail server; tries ten minutes apart."""
    from tests.browser.stage import stage_for

    async with stage_for(settings) as stage:
        yield stage
