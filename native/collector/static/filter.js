// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// Completion of the filter text. The server knows grammar and names; flows are never looked at.

export function filter() {
  const form = document.querySelector("form[data-complete]");
  const input = form?.querySelector("input[name=filter]");
  if (!input) return;
  const box = document.createElement("div");
  box.className = "pop";
  box.id = "filter-list";
  box.hidden = true;
  const list = document.createElement("ul");
  list.setAttribute("role", "listbox");
  list.id = "filter-options";
  list.setAttribute("aria-label", "Suggestions");
  const keys = document.createElement("p");
  keys.className = "keys";
  for (const [key, text] of [["↑ ↓", "choose"], ["Tab", "complete"], ["Enter", "apply"], ["Esc", "close"]]) {
    const kbd = document.createElement("kbd");
    kbd.textContent = key;
    keys.append(kbd, ` ${text}  `);
  }
  box.append(list, keys);
  form.append(box);
  for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", list.id], ["aria-autocomplete", "list"]]) input.setAttribute(name, value);

  let found = { from: 0, suggestions: [] };
  let chosen = -1;
  let serial = 0;

  const close = () => {
    box.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (at) => {
    chosen = at;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
    if (at >= 0) {
      input.setAttribute("aria-activedescendant", `filter-option-${at}`);
      list.children[at].scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  };
  const take = (at) => {
    const suggestion = found.suggestions[at];
    if (!suggestion) return;
    const chars = [...input.value];
    const cursor = [...input.value.slice(0, input.selectionStart)].length;
    const before = chars.slice(0, found.from).join("");
    const after = chars.slice(cursor).join("");
    const head = `${before}${suggestion.text} `;
    input.value = head + after.trimStart();
    input.setSelectionRange(head.length, head.length);
    input.focus();
    ask();
  };
  const draw = () => {
    list.replaceChildren(...found.suggestions.map((suggestion, at) => {
      const item = document.createElement("li");
      item.setAttribute("role", "option");
      item.id = `filter-option-${at}`;
      const text = document.createElement("span");
      text.className = "mono";
      text.textContent = suggestion.text;
      const about = document.createElement("span");
      about.className = "d";
      about.textContent = suggestion.about;
      item.append(text, about);
      item.addEventListener("mousedown", (event) => { event.preventDefault(); take(at); });
      return item;
    }));
    const any = found.suggestions.length > 0 && document.activeElement === input;
    box.hidden = !any;
    input.setAttribute("aria-expanded", String(any));
    mark(any && /[^\s(]$/.test(input.value.slice(0, input.selectionStart)) ? 0 : -1);
  };
  const ask = async () => {
    const mine = ++serial;
    const text = input.value.slice(0, input.selectionStart);
    const answer = await fetch(`${form.dataset.complete}?${new URLSearchParams({ text, v: "1" })}`).catch(() => null);
    if (!answer?.ok || mine !== serial) return;
    found = await answer.json();
    draw();
  };
  let timer = 0;
  input.addEventListener("input", () => {
    // What is shown belongs to the text before; nothing of it is chosen until the answer for this one is there.
    serial += 1;
    mark(-1);
    clearTimeout(timer);
    timer = setTimeout(ask, 60);
  });
  input.addEventListener("focus", ask);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const count = found.suggestions.length;
    if (box.hidden || !count) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark((chosen + (event.key === "ArrowDown" ? 1 : -1) + count) % count);
    } else if (event.key === "Tab" && chosen >= 0 && !event.shiftKey) {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
  });
}
