// Texts that people and models wrote, as text nodes and never as markup. Harmful ones are in the page only when revealed.
"use strict";
const revealing = { all: false, redraw: [] };
const LEFT_OUT = "(left out of this file)";

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// A model that falls apart writes empty lines by the hundred: they are counted.
function condensed(text) {
  return text.replace(/(?:[ \t]*\n){4,}/g, (lines) => `\n(${lines.split("\n").length - 2} empty lines)\n`);
}

function standIn(text) { return text.replace(/\S/gu, "▆"); }

// A card whose harmful texts can be revealed alone; draw(hidden) makes its parts.
function card(place, harmful, draw) {
  const box = element("article", "card");
  let own = null;
  const show = () => {
    const hidden = harmful && !(own ?? revealing.all);
    box.replaceChildren();
    if (harmful && content.harmful_text) {
      const button = element("button", "", hidden ? "Reveal" : "Hide");
      button.type = "button";
      button.onclick = () => { own = hidden; show(); box.querySelector("button").focus(); };
      box.append(button);
    }
    draw(box, hidden);
  };
  revealing.redraw.push(() => { own = null; show(); });
  place.append(box);
  show();
  return show;
}

function said(text, hidden) {
  if (text === null) return element("p", "said small", LEFT_OUT);
  const made = element("p", hidden ? "said hidden" : "said", hidden ? standIn(condensed(text)) : condensed(text) || "(nothing)");
  if (hidden) made.setAttribute("aria-hidden", "true");
  return made;
}

function tinted(tokens, trip, hidden) {
  const made = element("p", hidden ? "said hidden" : "said");
  if (hidden) made.setAttribute("aria-hidden", "true");
  tokens.forEach(([text, cosine], place) => {
    const token = element("span", place === trip ? "token trips" : "token", hidden ? standIn(text) : text);
    token.style.background = `rgba(var(--tint), ${(0.72 * (1 - Math.min(1, Math.max(0, cosine)))).toFixed(2)})`;
    token.title = `answer token ${place + 1}: cosine ${cosine.toFixed(2)}${place === trip ? ", the breaker trips" : ""}`;
    made.append(token);
  });
  return made;
}

function drawChats(place) {
  for (const one of content.chats.exchanges) {
    card(place, one.harmful, (box, hidden) => {
      box.append(element("h3", "", one.harmful ? "Harmful request" : "Request"), said(one.asked, hidden));
      if (one.tools.length) box.append(element("p", "small", `Tools on offer: ${one.tools.join(", ")}`));
      const columns = element("div", "columns");
      for (const column of one.columns) {
        const side = element("div", "card");
        const name = element("h3", "", column.name);
        if (column.verdict) name.append(" ", element("span", "badge", column.verdict));
        side.append(name);
        side.append(column.tokens.length ? tinted(column.tokens, column.trip, hidden) : said(column.text, hidden));
        if (column.ended && column.ended !== "end") side.append(element("p", "small", `ended by: ${column.ended}`));
        columns.append(side);
      }
      box.append(columns);
    });
  }
}

// The base model's answer beside the last one that was kept up to the step that is played.
function drawAnswers(place) {
  for (const one of content.answers.prompts) {
    let shown = -1;
    const last = () => one.answers.findLastIndex((answer) => answer.step <= player.step);
    const redraw = card(place, one.harmful, (box, hidden) => {
      shown = last();
      box.append(element("h3", "", one.harmful ? "Harmful request" : "Request"), said(one.asked, hidden));
      const columns = element("div", "columns");
      const first = one.answers.findIndex((answer) => answer.step === 0);
      for (const at of new Set([first, shown])) {
        if (at < 0) continue;
        const side = element("div", "card");
        side.append(element("h3", "", at === first ? "before training" : `after step ${one.answers[at].step}`));
        side.append(said(one.answers[at].text, hidden));
        columns.append(side);
      }
      box.append(columns);
    });
    player.follow.push(() => { if (last() !== shown) redraw(); });
  }
}

function drawTokens(place) {
  const views = content.tokens.views;
  const choice = element("select");
  choice.setAttribute("aria-label", "Prompt");
  views.forEach((view, at) => choice.append(new Option(`${view.prompt} (${view.group}), step ${view.step}`, at)));
  const box = element("div");
  place.append(choice, box);
  let chart = null;
  const show = () => {
    if (chart) { drawn.splice(drawn.indexOf(chart), 1); Plotly.purge(chart.chart); chart = null; }
    box.replaceChildren();
    const view = views[choice.value];
    card(box, view.harmful, (inside, hidden) => {
      inside.append(said(view.text, hidden), element("p", "", view.told));
      const figure = hidden || view.figure === null ? view.numbers : view.figure;
      if (chart) { drawn.splice(drawn.indexOf(chart), 1); }
      const wide = element("div", "wide");
      wide.tabIndex = 0;
      inside.append(wide);
      chart = drawFigure(wide, figure, "Cosine and norm by token and block");
    });
  };
  choice.onchange = show;
  show();
}
