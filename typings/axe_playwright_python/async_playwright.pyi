from typing import Any

from axe_playwright_python.base import AxeResults as AxeResults
from playwright.async_api import Page

class Axe:
    def __init__(self, axe_script: str = ...) -> None: ...
    async def run(
        self,
        page: Page,
        context: str | list[Any] | dict[str, Any] | None = None,
        options: dict[str, Any] | None = ...,
    ) -> AxeResults: ...
