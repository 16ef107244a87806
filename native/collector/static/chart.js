// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// Cursor and brush of the charts that the server drew. All charts of one time axis move their cursors in step.

const SVG = "http://www.w3.org/2000/svg";
const known = new WeakMap();

const two = (n) => String(n).padStart(2, "0");
const clock = (us) => { const d = new Date(us / 1000); return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`; };
const stamp = (us) => { const d = new Date(us / 1000); return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${clock(us)}`; };
const figure = (v) => {
  if (v === null || v === undefined) return "–";
  const size = Math.abs(v);
  if (size === 0) return "0";
  if (size >= 100) return Math.round(v).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  return v.toPrecision(3);
};

export function charts() {
  for (const plot of document.querySelectorAll("[data-chart]")) if (!known.has(plot)) set(plot);
}

function set(plot) {
  const data = JSON.parse(plot.dataset.chart);
  const mini = plot.classList.contains("mini");
  const canvas = mini ? plot : plot.lastElementChild;
  known.set(plot, { data, canvas });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return data.from + share * (data.to - data.from);
  };
  let begin = null;
  canvas.addEventListener("pointermove", (event) => {
    show(data, at(event), plot);
    if (begin !== null) brush(canvas, data, begin, at(event));
  });
  canvas.addEventListener("pointerleave", () => { if (begin === null) hide(data); });
  if (!plot.dataset.zoom) return;
  canvas.classList.add("brushable");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    begin = at(event);
    plot.dataset.busy = "";
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (begin === null) return;
    const [from, to] = [begin, at(event)].sort((a, b) => a - b);
    begin = null;
    delete plot.dataset.busy;
    const box = canvas.getBoundingClientRect();
    // A click is no span.
    if ((to - from) / (data.to - data.from) * box.width < 6) return canvas.querySelector(".brush")?.remove();
    const snap = (us, up) => (up ? Math.ceil(us / 1e6) : Math.floor(us / 1e6)) * 1e6;
    const link = plot.dataset.zoom.replace("{from}", encodeURIComponent(stamp(snap(from, false)))).replace("{to}", encodeURIComponent(stamp(Math.max(snap(to, true), snap(from, false) + 1e7))));
    location.assign(link);
  });
  canvas.addEventListener("pointercancel", () => { begin = null; delete plot.dataset.busy; canvas.querySelector(".brush")?.remove(); });
}

function brush(canvas, data, a, b) {
  let mark = canvas.querySelector(".brush");
  if (!mark) {
    mark = document.createElementNS(SVG, "rect");
    mark.setAttribute("class", "brush");
    mark.setAttribute("y", "0");
    mark.setAttribute("height", String(canvas.clientHeight - 30));
    canvas.append(mark);
  }
  const share = (us) => (us - data.from) / (data.to - data.from) * 100;
  mark.setAttribute("x", `${share(Math.min(a, b))}%`);
  mark.setAttribute("width", `${Math.abs(share(b) - share(a))}%`);
}

function same(a, b) { return a.from === b.from && a.to === b.to; }

function show(data, us, source) {
  for (const plot of document.querySelectorAll("[data-chart]")) {
    const state = known.get(plot);
    if (!state || !same(state.data, data)) continue;
    const share = (us - data.from) / (data.to - data.from) * 100;
    if (!state.line?.isConnected) {
      state.line = document.createElementNS(SVG, "line");
      state.line.setAttribute("class", "cursor");
      state.line.setAttribute("y1", "0");
      state.line.setAttribute("y2", String(plot.classList.contains("mini") ? 66 : state.canvas.clientHeight - 30));
      state.canvas.append(state.line);
    }
    state.line.setAttribute("x1", `${share}%`);
    state.line.setAttribute("x2", `${share}%`);
    if (plot === source) tip(plot, state, us, share);
  }
}

function tip(plot, state, us, share) {
  const { data } = state;
  const at = Math.floor((us - data.start) / data.step);
  let box = document.getElementById("tip");
  if (!box) {
    box = document.createElement("div");
    box.id = "tip";
    box.className = "tipbox";
    // Figures are read in the table beneath; a tip under the pointer would only disturb.
    box.setAttribute("aria-hidden", "true");
    document.body.append(box);
  }
  const from = data.start + at * data.step;
  const head = document.createElement("b");
  head.textContent = `${clock(from)} – ${clock(from + data.step)}`;
  const lines = data.series.map((series) => {
    const line = document.createElement("div");
    const swatch = document.createElement("i");
    swatch.className = `sw ${series.c}`;
    const name = document.createElement("span");
    name.textContent = series.n;
    const value = document.createElement("b");
    value.textContent = `${figure(series.v[at])} ${data.unit}`;
    line.append(swatch, name, value);
    return line;
  });
  box.replaceChildren(head, ...lines);
  box.hidden = false;
  const area = state.canvas.getBoundingClientRect();
  const x = area.left + area.width * share / 100;
  const left = share > 55 ? x - box.offsetWidth - 12 : x + 12;
  box.style.left = `${Math.max(4, left) + scrollX}px`;
  box.style.top = `${area.top + scrollY + 4}px`;
}

function hide(data) {
  for (const plot of document.querySelectorAll("[data-chart]")) {
    const state = known.get(plot);
    if (state && same(state.data, data)) state.line?.remove();
  }
  const box = document.getElementById("tip");
  if (box) box.hidden = true;
}
