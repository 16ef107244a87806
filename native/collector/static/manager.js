// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// What pages do beyond links and forms: theme, menus, keys, copying, rows that open, and the live update. Each part stands alone.
import { charts } from "./chart.js";
import { filter } from "./filter.js";

const root = document.documentElement;

function theme() {
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    const say = () => button.setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
    say();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* keep for this page only */ }
      say();
    });
  }
}

// Menus are <details>: one open at a time, closed by Escape, a click elsewhere, or leaving with Tab.
function menus() {
  const open = () => document.querySelectorAll("details.menu[open]");
  document.addEventListener("toggle", (event) => {
    const menu = event.target;
    if (!menu.matches?.("details.menu") || !menu.open) return;
    for (const other of open()) if (other !== menu && !other.contains(menu)) other.open = false;
    menu.querySelector(".menu-pop input:not([type=hidden]), .menu-pop select")?.focus();
  }, true);
  document.addEventListener("click", (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("focusout", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of open()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      document.getElementById("search")?.focus();
    }
    if (event.key === "Escape" && !typing && !document.querySelector("details.menu[open]")) document.querySelector("[data-close]")?.click();
    // In the list of flows: j and k open the next and the one before.
    if ((event.key === "j" || event.key === "k") && !typing) {
      const rows = [...document.querySelectorAll("tr[data-href]")];
      const at = rows.findIndex((row) => row.getAttribute("aria-selected") === "true");
      rows[event.key === "j" ? at + 1 : Math.max(0, at - 1)]?.querySelector("a")?.click();
    }
  });
}

function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      const label = button.getAttribute("aria-label");
      button.setAttribute("aria-label", "Copied");
      button.classList.add("done");
      setTimeout(() => { button.setAttribute("aria-label", label); button.classList.remove("done"); }, 1500);
    } catch { /* without a secure origin there is no clipboard; the text can be marked */ }
  });
}

// A row opens its flow, unless a link in it was meant or text is being marked.
function rows() {
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (!row || event.target.closest("a, button") || getSelection().toString()) return;
    row.querySelector("a").click();
  });
}

// Exchanges the parts of the page that are news. A part that is being used (pointer on its chart, focus in it, menu or details open) waits.
function live() {
  const seconds = Number(root.dataset.live);
  if (!seconds) return;
  let failed = 0;
  const busy = (part) => part.contains(document.activeElement) && document.activeElement !== document.body
    || part.querySelector("[data-busy], details[open]") !== null || part.matches(":hover:has([data-chart]:hover)");
  const update = async () => {
    if (document.hidden || document.querySelector("details.menu[open]")) return;
    const answer = await fetch(location.href, { headers: { "x-live": "1" }, redirect: "error", cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live-part][id]")) {
      const news = fresh.getElementById(part.id);
      if (!news || news.outerHTML === part.outerHTML || busy(part)) continue;
      part.replaceWith(document.adoptNode(news));
    }
    charts();
  };
  const again = async () => {
    try {
      await update();
      failed = 0;
    } catch {
      failed += 1;
    }
    root.classList.toggle("stale", failed > 1);
    // A service that does not answer is asked less and less often.
    setTimeout(again, seconds * 1000 * Math.min(2 ** failed, 12));
  };
  setTimeout(again, seconds * 1000);
}

// Choosing in a form of controls is asking; a button prints.
function controls() {
  document.addEventListener("change", (event) => { if (event.target.matches?.("[data-submit]")) event.target.form.requestSubmit(); });
  document.addEventListener("click", (event) => { if (event.target.closest("[data-print]")) print(); });
}

// Suggestions under the search field.
function search() {
  const input = document.getElementById("search");
  if (!input) return;
  const box = document.createElement("div");
  box.className = "menu-pop suggest";
  box.hidden = true;
  input.form.append(box);
  let timer = 0;
  let asked = "";
  const close = () => { box.hidden = true; };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    const text = input.value.trim();
    if (text.length < 2) return close();
    timer = setTimeout(async () => {
      asked = text;
      const query = new URLSearchParams({ q: text, format: "json", v: "1" });
      const answer = await fetch(`${input.form.action}?${query}`).catch(() => null);
      if (!answer?.ok || asked !== text) return;
      const hits = await answer.json();
      box.replaceChildren(...hits.map((hit) => {
        const link = document.createElement("a");
        link.href = hit.href;
        const name = document.createElement("b");
        name.textContent = hit.name;
        const about = document.createElement("span");
        about.className = "d";
        about.textContent = hit.kind;
        link.append(name, about);
        return link;
      }));
      box.hidden = hits.length === 0;
    }, 150);
  });
  input.form.addEventListener("keydown", (event) => {
    const links = [...box.querySelectorAll("a")];
    if (event.key === "Escape") { close(); input.focus(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp" || box.hidden) return;
    event.preventDefault();
    const at = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    (links[at] ?? input).focus();
  });
  input.form.addEventListener("focusout", (event) => { if (!input.form.contains(event.relatedTarget)) close(); });
}

theme();
menus();
keys();
copying();
rows();
controls();
search();
charts();
filter();
live();
