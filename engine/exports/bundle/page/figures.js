// Plotly's figures in the page's two themes, with a mark at the step that is played. Knows nothing of texts.
"use strict";
const drawn = [];

// Room for a legend of several lines, for names of axes, and for titles of panels that stand side by side.
function roomy(layout, data, width) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false).length;
  const more = layout.legend?.orientation === "h" ? 20 * (Math.ceil(named * 100 / Math.max(1, width - 60)) - 1) : 0;
  const changed = { ...layout };
  if (more > 0) Object.assign(changed, { height: layout.height + more, margin: { ...layout.margin, t: layout.margin.t + more } });
  if (width < 560 && layout.annotations) {
    changed.annotations = layout.annotations.map((note) => ({ ...note, text: note.text?.replace(" (n", "<br>(n") }));
  }
  return changed;
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), line = style.getPropertyValue("--line");
  const changed = {
    ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: text, family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: style.getPropertyValue("--raised"), font: { color: text } },
  };
  for (const name of Object.keys(layout).concat(["xaxis", "yaxis"])) {
    if (/^[xy]axis\d*$/.test(name)) {
      changed[name] = { ...layout[name], automargin: true, gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
    }
  }
  return changed;
}

// steps: 'step' marks a place on the axis, a list the cell of the last of them that was reached, null nothing.
function drawFigure(place, figure, label, steps = null) {
  const chart = document.createElement("div");
  chart.className = "chart";
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", label);
  place.append(chart);
  const one = { chart, figure, steps, own: figure.layout.shapes || [], seen: false, marked: null };
  drawn.push(one);
  new IntersectionObserver(([entry]) => {
    one.seen = entry.isIntersecting;
    if (one.seen) markStep(one, player.step);
  }, { rootMargin: "200px" }).observe(chart);
  // The first drawing waits until all places are there: they decide how wide each is.
  if (player.ready) render(one);
  return one;
}

function render(one) {
  one.marked = null;
  Plotly.react(one.chart, one.figure.data, themed(roomy(one.figure.layout, one.figure.data, one.chart.clientWidth)),
    { responsive: true, displaylogo: false, displayModeBar: false });
  markStep(one, player.step);
}

function renderAll() { for (const one of drawn) render(one); }

function changeFigure(one, figure) {
  one.figure = figure;
  one.own = figure.layout.shapes || [];
  render(one);
}

function markStep(one, step) {
  if (one.steps === null || !one.seen) return;
  const at = one.steps === "step" ? Math.round(step) : one.steps.findLastIndex((known) => known <= step);
  if (at === one.marked) return;
  one.marked = at;
  const line = { color: getComputedStyle(document.documentElement).getPropertyValue("--accent"), width: 2 };
  let marks = [];
  if (one.steps === "step") marks = [{ type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper", line }];
  else if (at >= 0) {
    marks = Object.keys(one.figure.layout).filter((name) => /^xaxis\d*$/.test(name)).map((name) => ({
      type: "rect", xref: name.replace("axis", ""), x0: at - 0.5, x1: at + 0.5, y0: 0, y1: 1, yref: "paper", line,
    }));
  }
  Plotly.relayout(one.chart, { shapes: [...one.own, ...marks] });
}
