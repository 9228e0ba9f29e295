// The page of one run: its parts, the player that leads them along the steps, and the two themes.
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const SECONDS = 10;
const player = { step: 0, end: 0, plays: false, ready: false, follow: [] };
const byId = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

function part(id, draw) {
  const place = byId(id), found = content[id];
  if (found.missing) place.append(element("p", "missing", found.missing));
  else draw(place, found);
}

function drawHead() {
  const about = content.about;
  byId("name").textContent = about.name;
  byId("status").textContent = about.status;
  byId("sentence").textContent = `${about.outcome[0].toUpperCase()}${about.outcome.slice(1)}. ${about.sentence}`;
  byId("source").textContent = about.source;
  byId("written").textContent = about.written;
  for (const [name, value] of Object.entries(about.facts)) {
    const row = element("div");
    row.append(element("dt", "", name), element("dd", "", value));
    byId("facts").append(row);
  }
}

function drawCurves(place, curves) {
  const grid = element("div", "grid");
  place.append(grid);
  for (const figure of curves.figures) drawFigure(grid, figure, figure.layout.title?.text || "curve", "step");
}

function drawFilm(place, film) {
  // Drawn by the workbench from numbers alone: no text of a prompt is in it.
  place.append(element("p", "", film.finding));
  const legend = element("div", "legend"), plot = element("div", "plot");
  legend.innerHTML = film.legend;
  plot.innerHTML = film.svg;
  place.append(legend, plot, element("p", "small",
    `Block ${film.block}, held-out prompts, captured at steps ${film.steps.join(", ")}; between them the way is straight.`));
  const arrows = [...plot.querySelectorAll(".arrow")].map((group) => ({
    prompt: Number(group.dataset.prompt), line: group.querySelector("line"), mark: group.querySelector(".is"),
  }));
  const last = film.steps.length - 1;
  player.follow.push((step) => {
    const reached = film.steps.findIndex((known) => known >= step);
    const next = reached < 0 ? last : Math.max(1, reached);
    const low = film.steps[next - 1], share = Math.min(1, Math.max(0, (step - low) / (film.steps[next] - low)));
    for (const { prompt, line, mark } of arrows) {
      const from = film.places[next - 1][prompt], to = film.places[next][prompt];
      const x = from[0] + (to[0] - from[0]) * share, y = from[1] + (to[1] - from[1]) * share;
      line.setAttribute("x2", x); line.setAttribute("y2", y);
      mark.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    }
  });
}

function drawMovement(place, movement) {
  place.append(element("p", "small", movement.words));
  drawFigure(place, movement.figure, "Cosine by block and step", movement.steps);
}

function drawEvaluations(place, found) {
  for (const sentence of found.findings) place.append(element("p", "", sentence));
  place.append(element("p", "small", found.limits));
  // Tables of counts and names, written and escaped by the workbench.
  const tables = element("div");
  tables.innerHTML = found.key + found.tables.map((table) => `<div class="wide" tabindex="0">${table}</div>`).join("");
  const grid = element("div", "grid large");
  place.append(tables, grid);
  for (const figure of found.figures) drawFigure(grid, figure, "Harm broken and requests kept");
}

function drawSpec(place) {
  const versions = Object.entries(content.about.versions).map(([name, version]) => `${name} ${version}`).join(" · ");
  const spec = element("pre", "", JSON.stringify(content.spec, null, 2));
  spec.tabIndex = 0;
  place.append(element("p", "small", versions ? `Trained with ${versions}` : "Versions are not known."), spec);
}

function nowWords(step) {
  const { steps, heldout } = content.curves;
  if (!steps) return "";
  const number = (value) => (value === null || value === undefined ? "–" : value.toPrecision(3));
  const at = steps.step.findLastIndex((known) => known <= step), held = heldout.step.findLastIndex((known) => known <= step);
  const losses = at < 0 ? "" : `rerouting loss ${number(steps.reroute_loss[at])}, retain loss ${number(steps.retain_loss[at])}`;
  const measured = held < 0 ? "" : `held-out cosine ${number(heldout.cosine[held])}, drift ${number(heldout.drift[held])} (step ${heldout.step[held]})`;
  return [losses, measured].filter(Boolean).join(" · ");
}

let marked = 0;
function goTo(step, { settled = true } = {}) {
  player.step = Math.min(player.end, Math.max(0, step));
  byId("scrubber").value = Math.round(player.step);
  byId("step").textContent = `step ${Math.round(player.step)} of ${player.end}`;
  byId("now").textContent = nowWords(player.step);
  for (const follow of player.follow) follow(player.step);
  const now = performance.now();
  if (settled || now - marked > 150) {
    marked = now;
    for (const one of drawn) markStep(one, player.step);
  }
}

function play(plays) {
  player.plays = plays && player.end > 0;
  byId("play").textContent = player.plays ? "Pause" : "Play";
  if (!player.plays) return goTo(player.step);
  let at = player.step >= player.end ? 0 : player.step, before = performance.now(), waited = 0;
  const tick = (now) => {
    if (!player.plays) return;
    const passed = now - before;
    before = now;
    at += player.end * passed / (1000 * SECONDS);
    waited += passed;
    // Where the system asks for less motion the run goes on in ten jumps.
    if (!still.matches || waited > 100 * SECONDS) { waited = 0; goTo(at, { settled: false }); }
    if (at >= player.end) { goTo(player.end); return play(false); }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function turn(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  renderAll();
}
const otherTheme = () => turn(document.documentElement.dataset.theme === "dark" ? "light" : "dark");

function revealAll(reveals) {
  revealing.all = reveals;
  byId("reveal").textContent = reveals ? "Hide harmful text" : "Reveal harmful text";
  byId("reveal").setAttribute("aria-pressed", String(reveals));
  for (const redraw of revealing.redraw) redraw();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = event.target.closest("button, select, summary, pre, .wide");
  const keys = {
    ArrowRight: () => goTo(Math.round(player.step) + 1), ArrowLeft: () => goTo(Math.round(player.step) - 1),
    Home: () => goTo(0), End: () => goTo(player.end), " ": () => play(!player.plays),
    r: () => content.harmful_text && revealAll(!revealing.all), d: otherTheme,
  };
  const does = keys[event.key];
  if (!does || (inside && event.key.length > 1) || (inside && event.key === " ")) return;
  event.preventDefault();
  if (event.key.length > 1) play(false);
  does();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
player.end = Math.max(content.about.step, content.film.steps?.at(-1) ?? 0);
drawHead();
part("curves", drawCurves);
part("film", drawFilm);
part("movement", drawMovement);
part("tokens", drawTokens);
part("answers", drawAnswers);
part("chats", drawChats);
part("evaluations", drawEvaluations);
drawSpec(byId("spec"));
byId("scrubber").max = player.end;
byId("scrubber").oninput = (event) => {
  const chosen = Number(event.target.value);
  play(false);
  goTo(chosen);
};
byId("play").onclick = () => play(!player.plays);
byId("theme").onclick = otherTheme;
byId("reveal").hidden = !content.harmful_text;
byId("reveal").onclick = () => revealAll(!revealing.all);
document.addEventListener("keydown", pressed);
dark.addEventListener("change", (event) => turn(event.matches ? "dark" : "light"));
player.ready = true;
turn(document.documentElement.dataset.theme);
goTo(player.end);
