"""A waiting receipt in a real browser whose clock stands still until a test moves it."""

from playwright.sync_api import Page

from tests.integration.edge_fleet import wait_until

# Counts what the page asks for, so that a test need not wait in order to see that nothing is asked.
_COUNTING = """
window.asked = 0;
window.answered = 0;
const ask = window.fetch;
window.fetch = async (...given) => {
  window.asked += 1;
  try { return await ask(...given); } finally { window.answered += 1; }
};
"""
_HIDING = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
LONG_MILLISECONDS = 600_000
_STEP_MILLISECONDS = 1000
_STEPS_MAX = 100


class LivePage:
    """A page with a receipt that waits; opening it asks for news once."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.clock.install(time=0)
        page.add_init_script(_COUNTING)
        page.goto(address)
        page.clock.pause_at(LONG_MILLISECONDS / 1000)
        self.pass_time_until_it_asks(0)
        self.hear()

    @property
    def asked(self) -> int:
        """How often it has asked."""
        return int(self.page.evaluate("window.asked"))

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass on the page."""
        self.page.clock.run_for(milliseconds)

    def pass_time_until_it_asks(self, before: int) -> int:
        """Let time pass until it has asked more often than ``before``; returns how long that was."""
        for step in range(_STEPS_MAX):
            if self.asked > before:
                return step * _STEP_MILLISECONDS
            self.pass_time(_STEP_MILLISECONDS)
        raise AssertionError("it asks no more")

    def hear(self) -> None:
        """Wait, while the page's clock stands, for the answer to what it asked."""
        wait_until("answered", lambda: self.page.evaluate("window.answered === window.asked"))

    def look(self) -> int:
        """Let it ask once more and hear the answer; returns how long that was after the last one."""
        waited = self.pass_time_until_it_asks(self.asked)
        self.hear()
        return waited

    def hide(self, *, hidden: bool) -> None:
        """Turn to another tab, or back."""
        self.page.evaluate(_HIDING, hidden)
