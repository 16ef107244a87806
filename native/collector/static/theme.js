// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// Runs before the first paint, so that a page never flashes in the other theme. Without a choice the system decides.
(() => {
  let choice = new URLSearchParams(location.search).get("theme");
  try { choice ??= localStorage.getItem("theme"); } catch { /* storage may be off */ }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
})();
