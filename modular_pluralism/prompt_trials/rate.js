"use strict";
// One pair at a time. Each choice is kept in this browser as it is made, under the comparison and the pair.

const KEYS = { 1: "first", 2: "second", "=": "neither", s: "skip" };
const main = document.querySelector("main");
const pairs = [...document.querySelectorAll("section")];
const buttons = [...document.querySelectorAll("[data-choice]")];
const [where, unkept, end, back, save] = ["place", "unkept", "end", "back", "save"].map((id) => document.getElementById(id));
const chosen = new Map();
let place = 0;

const keptAs = (pair) => `pluralism ${main.dataset.comparison} ${pair}`;

/** A browser may refuse to keep anything; that is told, and the page goes on. */
function withStore(use) {
  try {
    use(window.localStorage);
  } catch {
    unkept.hidden = false;
  }
}

function load() {
  withStore((store) => {
    for (const { dataset } of pairs) {
      const kept = store.getItem(keptAs(dataset.pair));
      if (Object.values(KEYS).includes(kept)) chosen.set(dataset.pair, kept);
    }
  });
}

/** The next pair without a choice from `from` on, then from the beginning; behind the last where there is none. */
function nextOpen(from) {
  const open = pairs.flatMap((pair, at) => (chosen.has(pair.dataset.pair) ? [] : [at]));
  return open.find((at) => at >= from) ?? open[0] ?? pairs.length;
}

function show(at) {
  place = at;
  pairs.forEach((pair, each) => (pair.hidden = each !== place));
  const pair = pairs[place];
  const [before, of] = [Number(main.dataset.rated), Number(main.dataset.rated) + pairs.length];
  where.textContent = pair ? `Pair ${before + place + 1} of ${of}` : `${of} of ${of}: every pair has its rating.`;
  end.hidden = Boolean(pair);
  for (const button of buttons) {
    button.disabled = !pair;
    button.setAttribute("aria-pressed", Boolean(pair) && chosen.get(pair.dataset.pair) === button.dataset.choice);
  }
  back.disabled = place === 0;
  save.disabled = chosen.size === 0;
  if (!pair) save.focus();
  window.scrollTo(0, 0);
}

function choose(choice) {
  const pair = pairs[place]?.dataset.pair;
  if (!pair) return;
  chosen.set(pair, choice);
  withStore((store) => store.setItem(keptAs(pair), choice));
  show(nextOpen(place + 1));
}

function download() {
  load(); // another tab may have rated, too
  const saved = { format: 1, comparison: main.dataset.comparison, ratings: Object.fromEntries(chosen) };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(saved, null, 1)}\n`], { type: "application/json" }));
  link.download = "ratings.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.choice));
back.addEventListener("click", () => show(place - 1));
save.addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  const choice = KEYS[event.key.toLowerCase()];
  if (choice && !event.repeat && !event.ctrlKey && !event.altKey && !event.metaKey) choose(choice);
});
load();
show(nextOpen(0));
