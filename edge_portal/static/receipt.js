// A waiting receipt looks for news of itself and takes over the page's new words, without a reload.
//
// It asks for a short answer, less and less often, and not while nobody sees the page. A question that gets no answer
// is given up. It stops for good when the receipt is settled, or when the session has ended, and says so then.
const first = 1000, most = 30_000, patience = 8000;
const receipt = document.getElementById("receipt");
const news = document.getElementById("news");
let wait = first, timer, asking = false, over = false;

class SignedOut extends Error {}

async function get(address) {
  const given = new AbortController();
  const late = setTimeout(() => given.abort(), patience);
  try {
    const answer = await fetch(address, { redirect: "manual", signal: given.signal });
    // Nothing here leads elsewhere but to the sign-in page.
    if (answer.type === "opaqueredirect" || answer.status === 401) throw new SignedOut();
    if (!answer.ok) throw new Error(answer.statusText);
    return await answer.text();
  } finally {
    clearTimeout(late);
  }
}

function told() {
  return ["r1", "r2"].map((id) => document.getElementById(id).textContent.trim()).join(". ");
}

function say(which) {
  for (const part of receipt.querySelectorAll("[data-say]")) part.hidden = part.dataset.say !== which;
}

// Whoever reads by keyboard stays where they were; at the heading, where that is gone.
function keepingFocus(change) {
  const held = document.activeElement, address = held?.getAttribute("href");
  change();
  if (!held || held.isConnected) return;
  const same = address && [...document.links].find((link) => link.getAttribute("href") === address);
  const heading = document.getElementById("r1");
  heading.tabIndex = -1;
  (same || heading).focus({ preventScroll: true });
}

function takeBand(fresh) {
  const here = document.querySelector("header"), there = fresh.querySelector("header");
  const message = (header) => [...header.children].filter((part) => !part.matches(".mast"));
  const text = (header) => message(header).map((part) => part.outerHTML).join();
  if (text(here) === text(there)) return;
  here.className = there.className;
  message(here).forEach((part) => part.remove());
  here.append(...message(there));
}

function take(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const found = fresh.getElementById("receipt"), before = told();
  if (!found) throw new Error("not a receipt");
  keepingFocus(() => {
    document.title = fresh.title;
    takeBand(fresh);
    receipt.replaceChildren(...found.childNodes);
  });
  over = !found.dataset.words;
  receipt.dataset.words = found.dataset.words ?? "";
  // Read out only what is new: the band has its own voice, and dates change without a word of the payment's.
  if (told() !== before) news.textContent = told();
}

async function look() {
  if (document.hidden || asking || over) return;
  asking = true;
  try {
    const state = JSON.parse(await get(`${location.pathname}/state`));
    if (state.words !== receipt.dataset.words) {
      take(await get(location.pathname));
      wait = first;
    }
    say("looking");
  } catch (trouble) {
    over = trouble instanceof SignedOut;
    say(over ? "ended" : "away");
    if (over) news.textContent = receipt.querySelector('[data-say="ended"]').textContent;
  } finally {
    asking = false;
  }
  if (!over) later();
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(look, wait * (0.75 + Math.random() / 2));
  wait = Math.min(most, wait * 1.5);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  wait = first;
  look();
});
later();
