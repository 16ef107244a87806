// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// The manager with data (`cargo build -p insights-collector --example manager_fixture`), and Debian's Chromium.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const root = join(import.meta.dirname, "../..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");

export async function serve(...args) {
  const child = spawn(join(target, "debug/examples/manager_fixture"), args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const ready = line.match(/^ready (\S+) site=(\S+) foreign=(\S+) e-mail=(\S+) password=(.*)$/);
    if (ready) {
      const [, base, site, foreign, email, password] = ready;
      return { base, site, foreign, email, password, stop: async () => { child.kill("SIGKILL"); await once(child, "exit"); } };
    }
  }
  throw new Error("the manager ended before it was ready");
}

export async function browse() {
  const profile = mkdtempSync(join(tmpdir(), "insights-browser-"));
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args, env: { ...process.env, HOME: profile } });
  return { browser, stop: async () => { await browser.close(); rmSync(profile, { recursive: true, force: true }); } };
}

/// A page that fails the test at its end when the browser complained: console errors, exceptions, violations of the content policy.
export async function signedIn(browser, server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`${server.base}/sign-in`);
  await page.fill("input[name=email]", server.email);
  await page.fill("input[name=password]", server.password);
  await page.click("button[type=submit]");
  await page.waitForURL(/\/dashboard/);
  return { page, context, complaints, at: (path) => `${server.base}/s/${server.site}/${path}` };
}
