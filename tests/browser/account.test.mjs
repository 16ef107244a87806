// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

// What changes an account: on a manager of its own, since other tests sign in to theirs.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { browse, serve, signedIn } from "./server.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.SHOTS;
let server, browser, stopBrowser;

before(async () => {
  server = await serve("empty");
  ({ browser, stop: stopBrowser } = await browse());
});
after(async () => {
  await stopBrowser?.();
  await server?.stop();
});

/// What an app shows for a secret at a step of half a minute.
function appCode(secret, step) {
  const bits = [...secret.replace(/\s/g, "")].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const hash = createHmac("sha1", key).update(counter).digest();
  return String((hash.readUInt32BE(hash[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const now = () => Math.floor(Date.now() / 30_000);

/// Whole, accessible and within the window, in each scheme and on a phone; with SHOTS, a picture of each.
async function look(page, name) {
  const size = page.viewportSize();
  for (const [look, colorScheme, viewport] of [["light", "light", size], ["dark", "dark", size], ["phone", "light", { width: 390, height: 844 }]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    await page.evaluate(axe);
    const violations = await page.evaluate(() => axe.run({ resultTypes: ["violations"] })
      .then((result) => result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`)));
    assert.deepEqual(violations, [], `${name} ${look}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth + 1), `${name} is wider than the window: ${look}`);
    if (shots) {
      mkdirSync(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `${name}-${look}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: "light" });
}

test("the log of the account shows a failed sign-in, and is searched", async () => {
  const stranger = await browser.newPage();
  await stranger.goto(`${server.base}/sign-in`);
  await stranger.fill("input[name=email]", server.email);
  await stranger.fill("input[name=password]", "a guess");
  await stranger.getByRole("button", { name: "Sign in" }).click();
  await stranger.getByRole("alert").waitFor();
  await stranger.close();
  const { page, context, complaints } = await signedIn(browser, server);
  await page.goto(`${server.base}/account`);
  await page.getByRole("link", { name: "Audit log" }).click();
  await look(page, "audit");
  await page.getByRole("link", { name: "Refused" }).click();
  // The answer to the stranger did not wait for it.
  while (!await page.locator("#audit li").count()) await page.reload();
  assert.match(await page.locator("#audit li").first().textContent(), /refused.*a wrong password was typed in Chrome on Linux.*from 127\.0\.0\.1/);
  await page.getByLabel("Text or address of an entry").fill("no such thing");
  await page.getByLabel("Text or address of an entry").press("Enter");
  await page.getByText("No entry of the log matches.").waitFor();
  assert.match(page.url(), /kind=refused/);
  await look(page, "audit-none");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a second factor is set up, asked for and taken away", async () => {
  const { page, context, complaints } = await signedIn(browser, server);
  await page.goto(`${server.base}/account`);
  await page.getByRole("link", { name: "Second factor" }).click();
  await look(page, "factor-off");
  await page.getByLabel("Password of the account").fill(server.password);
  await page.getByRole("button", { name: "Set it up" }).click();
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  await look(page, "factor-setup");
  const secret = await page.locator(".secret code").textContent();
  const step = now();
  await page.getByLabel("Code of the app").fill(appCode(secret, step));
  await page.getByRole("button", { name: "Switch it on" }).click();
  await page.getByRole("heading", { name: "Recovery codes", exact: true }).waitFor();
  await look(page, "factor-codes");
  const codes = await page.locator(".codes code").allTextContents();
  assert.equal(new Set(codes).size, 10);
  await page.goto(`${server.base}/account/second-factor`);
  assert.equal(await page.locator(".codes").count(), 0, "codes are shown once");
  await look(page, "factor-on");
  for (const place of ["/account", "/account/tokens", "/account/delete"]) {
    await page.goto(server.base + place);
    await look(page, `factor-on${place.replaceAll("/", "-")}`);
  }

  const other = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
  await other.goto(`${server.base}/sign-in?next=/account/second-factor`);
  await other.fill("input[name=email]", server.email);
  await other.fill("input[name=password]", server.password);
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("heading", { name: "Second factor" }).waitFor();
  await look(other, "sign-in-code");
  await other.getByLabel("Code").fill("abc");
  await other.getByRole("button", { name: "Sign in" }).click();
  assert.match(await other.getByRole("alert").textContent(), /not good now/);
  await look(other, "sign-in-code-wrong");
  // The step that set it up is used up; the one after it is good already.
  await other.getByLabel("Code").fill(appCode(secret, Math.max(now(), step + 1)));
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.waitForURL(/second-factor/);

  const off = other.locator("form[action$=disable]");
  await off.getByLabel("Password of the account").fill(server.password);
  await off.getByLabel(/Code of your app/).fill(codes[0]);
  await off.getByRole("button", { name: "Switch it off" }).click();
  assert.match(await other.getByRole("status").textContent(), /second factor is off/);
  await other.context().close();
  assert.deepEqual(complaints, []);
  await context.close();
});
