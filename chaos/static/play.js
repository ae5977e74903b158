// Keeps "Play an outage" current. Without scripts the page reloads itself instead.
const base = document.body.querySelector("[data-base]").dataset.base;

async function refresh() {
  try {
    const answer = await fetch(`${base}/now`, { signal: AbortSignal.timeout(3000) });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const here = document.getElementById(part.id);
      // Untouched parts keep their focus.
      if (here && here.outerHTML !== part.outerHTML) here.replaceWith(document.adoptNode(part));
    }
  } catch {
    document.getElementById("headline").textContent = "The demo does not answer. Was it stopped?";
  }
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.setAttribute("aria-disabled", "true");
  const body = new URLSearchParams({ action: button.value });
  try {
    await fetch(`${base}/core`, { method: "POST", body, headers: { Accept: "application/json" } });
  } finally {
    await refresh();
    const next = document.querySelector("#buttons button");
    if (next) next.focus();
  }
});

setInterval(refresh, 700);
