// The part of the minutes that answers "what if": every change is counted anew by `choice`, on the ballots of the run.

{
  const table = JSON.parse(document.getElementById("table").textContent);
  const rules = JSON.parse(document.getElementById("of-rules").textContent);
  const byId = (id) => document.getElementById(id);
  const [section, rule, normalise, reset] = ["what-if", "rule", "normalise", "reset"].map(byId);
  const sliders = [...section.querySelectorAll("input[type=range]")];
  const numbers = [...section.querySelectorAll("input[type=number]")];
  const rows = [...byId("used").tBodies[0].rows];
  const heads = [...byId("used").tHead.rows[0].cells].slice(1);
  const weights = [...table.weights];
  const before = choice.tally(table, table.rule, table.normalise);
  const shades = 10;

  const said = (value) => value.toFixed(3);
  const typed = (weight) => String(Number(weight.toFixed(3)));
  const named = (places) => places.map((at) => table.candidates[at]).join(", ");

  function element(tag, text, kind) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  /** What stands beside a member's highest score, for eyes and for ears. */
  function marks() {
    const seen = element("span", " ▲", "best");
    seen.setAttribute("aria-hidden", "true");
    return [seen, element("span", " (its highest)", "hidden")];
  }

  function changed() {
    const moved = weights.some((weight, at) => weight !== table.weights[at]);
    return moved || rule.value !== table.rule || normalise.value !== table.normalise;
  }

  /** Who wins under how many rules, and who under the others. */
  function byRules(now) {
    const under = (at) => Object.keys(now.winners).filter((name) => now.winners[name] === at);
    const others = [...new Set(Object.values(now.winners))].filter((at) => at !== now.winner);
    const all = Object.keys(now.winners).length;
    const rest = others.map((at) => `; ${table.candidates[at]} by ${under(at).join(", ")}`).join("");
    return `It wins under ${under(now.winner).length} of ${all} rules${rest}.`;
  }

  function sentence(now) {
    const winner = table.candidates[now.winner];
    const level = now.level.length > 1 ? ` Level: ${named(now.level)}; the first of them wins.` : "";
    if (!changed()) return `${winner} is chosen, as it was.${level}`;
    if (now.winner === before.winner) return `${winner} is still chosen.${level}`;
    return `${winner} is chosen instead of ${table.candidates[before.winner]}.${level}`;
  }

  function showScores(now) {
    const high = Math.max(...now.used.flat());
    now.used.forEach((scores, member) => {
      const best = Math.max(...scores);
      rows[member].classList.toggle("uncounted", !(weights[member] > 0));
      scores.forEach((score, at) => {
        const cell = rows[member].cells[at + 1];
        cell.replaceChildren(said(score), ...(score === best ? marks() : []));
        cell.className = `figure shade-${high > 0 ? Math.round((shades * score) / high) : 0}`;
      });
    });
    heads.forEach((head, at) => head.classList.toggle("won", at === now.winner));
  }

  function show() {
    const now = choice.tally({ ...table, weights }, rule.value, normalise.value);
    const told = rules.find((each) => each.name === rule.value);
    byId("of-rule").textContent = `${told.chooses} Assumes of the scores: ${told.assumes}. ${told.weighs}`;
    reset.disabled = !changed();
    section.classList.toggle("other", now !== null && now.winner !== before.winner);
    if (now === null) {
      byId("now").textContent = "Nobody has a weight, so nothing can be chosen.";
      byId("ranking").replaceChildren();
      for (const id of ["worst", "others"]) byId(id).textContent = "";
      return;
    }
    byId("now").textContent = sentence(now);
    byId("ranking").replaceChildren(
      ...now.ranking.map((at) => {
        const line = element("li", table.candidates[at], at === now.winner ? "won" : "");
        line.value = now.places[at] + 1;
        return line;
      }),
    );
    const mean = now.price > 0 ? `${Math.round(100 * now.price)} % below the largest one` : "the largest one";
    byId("worst").textContent =
      `Worst off: ${table.members[now.worstOff]}, at ${said(now.worstScore)}. ` +
      `Gini ${now.gini.toFixed(2)}; the mean score is ${mean}.`;
    byId("others").textContent = byRules(now);
    showScores(now);
  }

  function weigh(member, given, others) {
    const weight = given.valueAsNumber;
    const usable = Number.isFinite(weight) && weight >= 0;
    given.setAttribute("aria-invalid", String(!usable));
    if (!usable) return; // what was there before still counts
    weights[member] = weight;
    others[member].value = others === numbers ? typed(weight) : String(weight);
    show();
  }

  function asItWas() {
    rule.value = table.rule;
    normalise.value = table.normalise;
    table.weights.forEach((weight, member) => {
      weights[member] = weight;
      sliders[member].value = String(weight);
      numbers[member].value = typed(weight);
      numbers[member].setAttribute("aria-invalid", "false");
    });
    show();
  }

  sliders.forEach((slider, member) => slider.addEventListener("input", () => weigh(member, slider, numbers)));
  numbers.forEach((number, member) => number.addEventListener("input", () => weigh(member, number, sliders)));
  for (const list of [rule, normalise]) list.addEventListener("change", show);
  reset.addEventListener("click", asItWas);
  section.hidden = false;
  asItWas(); // a browser may have kept what was typed before the page was loaded again
}
