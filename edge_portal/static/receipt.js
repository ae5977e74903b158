// A waiting receipt asks for its state, less and less often, and takes over the page's new text when it changed.
const first = 1000, most = 15000;
let wait = first;
async function look() {
  const shown = document.getElementById("receipt");
  if (!shown?.dataset.state) return;
  try {
    const answer = await fetch(`${location.pathname}/state`, { headers: { Accept: "application/json" } });
    if (answer.ok && (await answer.json()).state !== shown.dataset.state) {
      const page = await fetch(location.pathname);
      const parsed = new DOMParser().parseFromString(await page.text(), "text/html");
      const fresh = parsed.getElementById("receipt");
      if (page.ok && fresh) {
        for (const name of ["header", "title"]) document.querySelector(name).replaceWith(parsed.querySelector(name));
        shown.replaceChildren(...fresh.childNodes);
        if (fresh.dataset.state) shown.dataset.state = fresh.dataset.state; else delete shown.dataset.state;
        wait = first;
      }
    }
  } catch { /* Out of reach: the next look is later. */ }
  wait = Math.min(most, wait * 1.5);
  setTimeout(look, wait * (0.75 + Math.random() / 2));
}
setTimeout(look, wait);
