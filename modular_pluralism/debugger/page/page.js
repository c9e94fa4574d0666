// Light, dark, or as the system has it. The browser remembers the choice; the server never learns of it.
window.pluralismTheme = (() => {
  const key = "pluralism-theme";
  const order = ["auto", "light", "dark"];
  const read = () => { try { return localStorage.getItem(key) || "auto"; } catch { return "auto"; } };
  const show = (name) => {
    if (!window.Quasar) { setTimeout(() => show(name), 30); return; }
    Quasar.Dark.set(name === "auto" ? "auto" : name === "dark");
    document.documentElement.style.colorScheme = name === "auto" ? "light dark" : name;
    const button = document.querySelector(".theme");
    const words = { auto: "as the system", light: "light", dark: "dark" }[name];
    if (button) { button.title = `Colours: ${words}`; button.setAttribute("aria-label", `Colours: ${words}. Change`); }
  };
  const turn = () => {
    const next = order[(order.indexOf(read()) + 1) % order.length];
    try { localStorage.setItem(key, next); } catch { /* a browser that keeps nothing forgets at the next visit */ }
    show(next);
    return next;
  };
  addEventListener("load", () => show(read()));
  return { turn };
})();
// The arrow keys move within a choice of one, as in a group of radio buttons.
addEventListener("keydown", (event) => {
  const group = event.target.closest?.("[role=radiogroup]");
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!group || !step) return;
  const all = [...group.querySelectorAll("[role=radio]")];
  const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
  event.preventDefault();
  next.focus();
  next.click();
});
