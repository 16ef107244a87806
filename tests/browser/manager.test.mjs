// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { browse, serve, signedIn } from "./server.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let server, empty, browser, stopBrowser;

before(async () => {
  [server, empty] = await Promise.all([serve(), serve("empty")]);
  ({ browser, stop: stopBrowser } = await browse());
});
after(async () => {
  await stopBrowser?.();
  await server?.stop();
  await empty?.stop();
});

const items = async (context, kind, from = server) => (await (await context.request.get(`${from.base}/api/v1/sites/${from.site}/topology/${kind}`)).json()).items;

async function places(context) {
  const [networks, routers, ports, hosts, groups, balancers, chains, rules] = await Promise.all(
    ["network", "router", "port", "host", "security_group", "load_balancer", "chain", "rule"].map((kind) => items(context, kind)));
  const flows = (await (await context.request.get(`${server.base}/api/v1/sites/${server.site}/flows?filter=result+%3D+dropped&limit=1`)).json()).flows;
  const network = networks.find((network) => !network.external);
  const vm = ports.find((port) => port.kind === "vm");
  return [
    "dashboard", "physical/hosts", "physical/tunnel-zones", "physical/vteps", "physical/gateways", "virtual", "virtual?view=list", `virtual?at=${Math.floor(Date.now() / 1000) - 3600}`,
    "virtual/tenants", "virtual/networks", "virtual/routers", "virtual/ports", "virtual/chains", "virtual/rules", "virtual/security-groups",
    "virtual/load-balancers", "virtual/floating-ips", "virtual/subnets",
    `d/network/${network.id}`, `d/network/${network.id}?view=list`, `d/network/${network.id}/traffic`, `d/network/${network.id}/traffic?unit=packets&scale=one`,
    `d/network/${network.id}/configuration`, `d/network/${network.id}/history`,
    `d/router/${routers[0].id}`, `d/port/${vm.id}`, `d/port/${vm.id}/rules`, `d/host/${hosts[0].id}`, `d/security_group/${groups[0].id}`,
    `d/load_balancer/${balancers[0].id}`, `d/chain/${chains[0].id}`,
    "flows", `flows?filter=result+%3D+dropped&flow=${flows[0].id}`, "flows?filter=src.prt+%3D+5", "flows?filter=ttl+%3D+1", "flows?period=2001-01-01",
    "flows/top", "flows/top?by=src.network,dst.network,dst.port&filter=proto+%3D+tcp", "flows/top?filter=src.prt+%3D+5",
    "reports", "reports?type=total", "reports?type=networks&top=5", "reports?period=2001-01-01", "events?kind=account", "events?kind=alert", "alerts", "alerts?view=history", "alerts?view=rules", "alerts?view=receivers", "alerts/1", "alerts/2",
    "alerts/rules/new", "alerts/rules/new?filter=result+%3D+dropped&amount=1&minutes=1", "alerts/rules/new?measure=bits", `alerts/rules/new?measure=packets_in&in=port:${vm.id}&amount=10`, "alerts/rules/new?filter=src.prt+%3D+5",
    "trace", `trace?port=${vm.id}&dst=203.0.113.9`, `trace?port=${vm.id}&dst=nobody`, `trace?flow=${flows[0].id}`, `what-if?rule=${rules[0].id}`, `what-if?rule=${rules[1].id}&edit=drop`,
    "events", "site", "site/gateways/aa000000-0000-4000-8000-000000000004", "search?q=vm", "search",
  ];
}

for (const [name, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
]) {
  test(`every page is whole, accessible and quiet: ${name}`, async () => {
    const { page, context, complaints, at } = await signedIn(browser, server, options);
    for (const place of [...await places(context), "/account", "/account/sessions", "/account/second-factor", "/account/tokens", "/account/audit", "/account/audit?kind=refused", "/account/delete", "/sign-in", "/sign-up", "/forgot", "/reset?token=x", "/sign-up/confirm?token=x"]) {
      const answer = await page.goto(place.startsWith("/") ? server.base + place : at(place));
      assert.equal(answer.status(), 200, place);
      await page.evaluate(axe);
      const violations = await page.evaluate(() => axe.run({ resultTypes: ["violations"] })
        .then((result) => result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`)));
      assert.deepEqual(violations, [], place);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth + 1), `${place} is wider than the window`);
      assert.equal(await page.locator("[style]").evaluateAll((all) => all.filter((element) => element.id !== "tip").length), 0, `${place} has inline styles`);
    }
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("a wrong password says so and nothing more", async () => {
  const page = await browser.newPage();
  for (const email of [server.email, "nobody@lab.example"]) {
    await page.goto(`${server.base}/sign-in`);
    await page.fill("input[name=email]", email);
    await page.fill("input[name=password]", "wrong");
    await page.click("button[type=submit]");
    assert.equal(await page.locator("[role=alert]").textContent(), "E-mail and password don’t belong together.");
  }
  await page.close();
});

test("a trial is asked for, and who has an account is not told", async () => {
  const page = await browser.newPage();
  const answers = [];
  for (const email of [server.email, "new@lab.example"]) {
    await page.goto(`${server.base}/sign-in`);
    await page.getByRole("link", { name: "Start a trial" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Your name").fill("Eve");
    await page.getByLabel(/Name of your cloud/).fill("eu-north");
    await page.getByRole("button", { name: "Send the mail" }).click();
    await page.getByRole("heading", { name: "Look into your mail" }).waitFor();
    answers.push(await page.locator("main").textContent());
  }
  assert.equal(answers[0], answers[1]);
  await page.goto(`${server.base}/reset?token=nonsense`);
  await page.getByLabel("Password").fill("long enough to be one");
  await page.getByRole("button", { name: "Set it" }).click();
  assert.match(await page.getByRole("alert").textContent(), /This link is not good/);
  await page.close();
});

test("the menu is named after the user and signs out", async () => {
  const { page, context, at } = await signedIn(browser, server);
  const menu = page.locator(".user-menu");
  await menu.locator("summary").click();
  assert.deepEqual((await menu.locator("a, button").allTextContents()).map((text) => text.trim()), ["Insights manager", "Manage account", "Sign out"]);
  assert.match(await menu.locator("summary").getAttribute("aria-label"), /Ada Okafor/);
  await menu.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/sign-in/);
  await page.goto(at("dashboard"));
  assert.match(page.url(), /sign-in\?next=/);
  await context.close();
});

test("sessions are seen and ended from another browser", async () => {
  const here = await signedIn(browser, server);
  const there = await signedIn(browser, server);
  await here.page.goto(`${server.base}/account/sessions`);
  assert.match(await here.page.locator("tr[aria-current]").textContent(), /Chrome on Linux.*this one.*127\.0\.0\.1.*now/);
  await here.page.getByRole("button", { name: "Sign out everywhere else" }).click();
  await here.page.getByRole("status").waitFor();
  assert.equal(await here.page.locator("#sessions tbody tr").count(), 1);
  await there.page.goto(there.at("dashboard"));
  assert.match(there.page.url(), /sign-in/);
  assert.deepEqual(here.complaints, []);
  await here.context.close();
  await there.context.close();
});

test("a token is made on the page, opens what it is for, and is revoked", async () => {
  const { page, context, complaints } = await signedIn(browser, server);
  await page.goto(`${server.base}/account/tokens`);
  await page.getByLabel(/^Name/).fill("report <job>");
  await page.getByLabel(/^reports/).check();
  await page.getByLabel("Password of the account").fill(server.password);
  await page.getByRole("button", { name: "Make it" }).click();
  const token = await page.locator("#made .secret").textContent();
  const program = await browser.newContext({ extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  const call = async (path) => program.request.get(`${server.base}/api/v1/sites/${server.site}/${path}`);
  const report = await (await call("reports/tenants")).json();
  assert.ok(report.tenants.length > 1 && report.tenants[0].ports.total_bytes > 0);
  const refused = await call("flows");
  assert.equal(refused.status(), 403);
  assert.equal((await refused.json()).needed, "flows");
  await page.evaluate(axe);
  assert.deepEqual(await page.evaluate(() => axe.run({ resultTypes: ["violations"] }).then((result) => result.violations.map((v) => v.id))), []);
  await page.goto(`${server.base}/account/tokens`);
  await page.getByRole("button", { name: "Revoke report <job>" }).click();
  await page.getByRole("status").waitFor();
  assert.equal((await call("reports/tenants")).status(), 401);
  assert.deepEqual(complaints, []);
  await program.close();
  await context.close();
});

test("the site of another account does not exist, whoever asks", async () => {
  const { context } = await signedIn(browser, server);
  const stranger = await browser.newContext();
  for (const path of ["dashboard", "physical/hosts", "virtual", "virtual/ports", "flows", "flows?format=csv", "flows/complete?text=s", "events", "alerts", "alerts/1", "site", "search?q=a"]) {
    assert.equal((await context.request.get(`${server.base}/s/${server.foreign}/${path}`)).status(), 404, path);
    assert.match((await stranger.request.get(`${server.base}/s/${server.site}/${path}`)).url(), /sign-in/, path);
  }
  for (const path of ["flows", "flows/histogram", "topology/counts", "topology/host", "alerts", "alerts/1"]) {
    assert.equal((await context.request.get(`${server.base}/api/v1/sites/${server.foreign}/${path}`)).status(), 404, path);
  }
  await context.close();
  await stranger.close();
});

test("a form of another origin, or without its token, is refused", async () => {
  const { context } = await signedIn(browser, server);
  const post = (headers, form) => context.request.post(`${server.base}/account/name`, { headers, form, maxRedirects: 0 });
  assert.equal((await post({}, { name: "Mallory" })).status(), 403);
  assert.equal((await post({ "sec-fetch-site": "cross-site" }, { name: "Mallory" })).status(), 403);
  await context.close();
});

test("a kind of data is switched off after a question, and on again", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("site"));
  const kind = page.locator("#replicated li", { hasText: "Flows" });
  await kind.locator("summary").click();
  await kind.getByText("can’t be had later").waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await kind.locator("details[open]").count(), 0);
  await kind.locator("summary").click();
  await kind.getByRole("button", { name: "Switch flows off" }).click();
  await page.getByRole("status").waitFor();
  await kind.getByRole("button", { name: "Flows: off, switch on" }).click();
  await kind.locator("summary.on").waitFor();
  await page.goto(at("events?find=account.settings&period=last+15+minutes"));
  assert.match(await page.locator(".rows.events").textContent(), /the site is to send topology, state, metering; meters.*ada@lab\.example/);
  await page.goto(at("site/gateways/aa000000-0000-4000-8000-000000000004"));
  await page.getByRole("button", { name: "Resend" }).click();
  assert.equal(await page.getByRole("alert").textContent(), "The gateway is not connected.");
  assert.deepEqual(complaints.filter((text) => !text.includes("422")), []);
  await context.close();
});

const table = (text) => text.trim().split("\r\n").map((line) => line.split(","));

test("reports, their files, the topology and the period before agree", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  const to = new Date(Date.now() - 3_600_000).toISOString().slice(0, 19);
  const period = `period=${new Date(Date.now() - 7_200_000).toISOString().slice(0, 19)}+-+${to}`;
  const report = async (type, rest = "") => {
    const [head, ...rows] = table(await (await context.request.get(at(`reports?type=${type}&format=csv&${period}${rest}`))).text());
    return rows.map((row) => Object.fromEntries(row.map((value, place) => [head[place], value])));
  };
  const [northSouth, total, networks] = [await report("north-south"), await report("total"), await report("networks")];
  assert.ok(northSouth.length > 1 && total.length > 1 && networks.length > 1);
  for (const row of northSouth) {
    const same = total.find((other) => other.id === row.id);
    assert.ok(Math.abs(same.north_south_bytes - row.total_bytes) <= 2, row.id);
    assert.ok(Math.abs(row.in_bytes - -row.out_bytes - row.total_bytes) <= 2);
    // The hour before has data, too.
    assert.ok(row.previous_total_bytes > 0);
  }
  const shares = total.reduce((sum, row) => sum + Number(row.share_percent), 0);
  assert.ok(Math.abs(shares - 100) < 1, String(shares));
  assert.deepEqual(total.map((row) => Number(row.total_bytes)), total.map((row) => Number(row.total_bytes)).sort((a, b) => b - a));
  const one = await report("total", `&tenant=${total[1].id}`);
  assert.deepEqual(one.map((row) => [row.id, row.total_bytes]), [[total[1].id, total[1].total_bytes]]);
  await page.goto(at(`reports?type=total&${period}`));
  assert.equal(await page.locator("#all tbody tr").count(), total.length);
  await page.locator("select[name=type]").selectOption("networks");
  await page.waitForURL(/type=networks/);
  assert.equal(await page.locator("#all tbody tr").count(), networks.length);
  assert.equal((await context.request.get(at("reports?type=nonsense"))).status(), 400);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("top flows add up to the records, and lead to them", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  const to = new Date(Date.now() - 3_600_000).toISOString().slice(0, 19);
  const query = `filter=proto+%3D+tcp&period=${new Date(Date.now() - 5_400_000).toISOString().slice(0, 19)}+-+${to}`;
  const flows = JSON.parse(await (await context.request.get(at(`flows?${query}&format=json`))).text());
  assert.ok(flows.length > 500);
  const counts = new Map();
  for (const flow of flows) counts.set(flow.dst.port, (counts.get(flow.dst.port) ?? 0) + 1);
  const [, ...rows] = table(await (await context.request.get(at(`flows/top?by=dst.port&${query}&format=csv`))).text());
  assert.deepEqual(rows.map((row) => [Number(row[0]), Number(row[1])]), [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]));
  await page.goto(at(`flows/top?by=src.vport&top=10&${query}`));
  const digits = async (locator) => (await locator.allTextContents()).map((text) => Number(text.replace(/\D/g, "")));
  const shown = await digits(page.locator("#top tbody td b"));
  assert.equal(shown.reduce((sum, count) => sum + count, 0), flows.length);
  await page.locator("#top tbody tr").first().locator("a").first().click();
  await page.waitForURL(/\/flows\?/);
  assert.equal((await digits(page.locator(".tbar b").first()))[0], shown[0]);
  await page.goto(at(`flows/top?by=src.vport&${query}`));
  await page.getByText("and by").click();
  await page.getByRole("link", { name: "Destination network", exact: true }).click();
  await page.waitForURL(/by=src.vport,dst.network/);
  assert.ok(await page.locator(".sankey .band").count() > 5);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("filters are saved, used and deleted; tenants are named and found by their name", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("flows?filter=result+%3D+dropped"));
  await page.locator("summary", { hasText: "Saved" }).click();
  await page.getByLabel("Save this filter as").fill("All <drops>");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.waitForLoadState();
  await page.goto(at("flows"));
  await page.locator("summary", { hasText: "Saved" }).click();
  await page.getByRole("link", { name: "All <drops>" }).click();
  await page.waitForURL(/dropped/);
  await page.locator("summary", { hasText: "Saved" }).click();
  await page.getByRole("button", { name: "Delete the saved filter All <drops>" }).click();
  await page.waitForLoadState();
  await page.locator("summary", { hasText: "Saved" }).click();
  assert.equal(await page.locator(".saved .kept").count(), 0);

  await page.goto(at("virtual/tenants"));
  await page.getByText("Name a tenant").click();
  const id = await page.locator("select[name=tenant] option").first().getAttribute("value");
  await page.getByLabel("Name, empty to take it away").fill("Blue team");
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForLoadState();
  assert.equal(await page.locator(`td [title="${id}"]`).textContent(), "Blue team");
  const count = async (filter) => (await (await context.request.get(`${server.base}/api/v1/sites/${server.site}/flows?limit=50&filter=${encodeURIComponent(filter)}`)).json()).flows?.map((flow) => flow.id);
  assert.deepEqual(await count('src.tenant = "blue team"'), await count(`src.tenant = "${id}"`));
  await page.goto(at("events?kind=account&period=last+15+minutes"));
  assert.match(await page.locator(".rows.events").textContent(), /was named Blue team/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("criteria and filter text keep in step", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  const text = () => page.inputValue("#filter");
  await page.goto(at("flows"));
  await page.locator('summary[aria-label="Add Source IP"]').click();
  await page.keyboard.type("10.0.0.0/8");
  await page.keyboard.press("Enter");
  await page.waitForURL(/filter=/);
  assert.equal(await text(), "src.ip in 10.0.0.0/8");
  await page.locator('summary[aria-label="Add Flow Result"]').click();
  await page.locator(".addmenu[open] select").selectOption("dropped");
  await page.locator(".addmenu[open] button").click();
  await page.waitForURL(/dropped/);
  assert.equal(await text(), "src.ip in 10.0.0.0/8 and result = dropped");
  assert.ok(await page.locator(".flowlist tbody tr").count() > 0);
  assert.deepEqual([...new Set(await page.locator(".flowlist .res .st span").allTextContents())], ["dropped"]);
  await page.getByRole("link", { name: "Swap source and destination" }).click();
  await page.waitForURL(/dst\.ip/);
  assert.equal(await text(), "dst.ip in 10.0.0.0/8 and result = dropped");
  await page.getByRole("link", { name: "Remove dst.ip in 10.0.0.0/8" }).click();
  await page.waitForURL((url) => !url.search.includes("dst.ip"));
  assert.equal(await text(), "result = dropped");
  // A click on a value narrows to it.
  await page.locator(".flowlist tbody tr").first().locator("td:nth-child(5) a").first().click();
  await page.waitForURL(/proto/);
  assert.match(await text(), /^result = dropped and proto = (tcp|udp)$/);
  // Completion by keyboard.
  await page.goto(at("flows"));
  await page.locator("#filter").pressSequentially("res");
  await page.locator("#filter-options [aria-selected=true]", { hasText: "result" }).waitFor();
  await page.keyboard.press("Tab");
  await page.locator("#filter").pressSequentially("= dr");
  await page.locator("#filter-options [aria-selected=true]", { hasText: "dropped" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal((await text()).trim(), "result = dropped");
  await page.keyboard.press("Enter");
  await page.waitForURL(/dropped/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("pages of flows follow each other without gap or repetition, and agree with the API and the file", async () => {
  const { page, context, at } = await signedIn(browser, server);
  const to = new Date(Date.now() - 3_600_000).toISOString().slice(0, 19);
  const from = new Date(Date.now() - 3_900_000).toISOString().slice(0, 19);
  const query = `filter=proto+%3D+tcp&period=${from}+-+${to}`;
  const seen = [];
  await page.goto(at(`flows?${query}`));
  for (;;) {
    seen.push(...await page.locator("tr[data-href]").evaluateAll((rows) => rows.map((row) => new URLSearchParams(row.dataset.href.split("?")[1]).get("flow"))));
    const older = page.locator("a[rel=next]");
    if (!await older.count()) break;
    await older.click();
    await page.waitForLoadState();
  }
  const api = (await (await context.request.get(`${server.base}/api/v1/sites/${server.site}/flows?${query}&limit=5000`)).json()).flows;
  const file = (await (await context.request.get(at(`flows?${query}&format=csv`))).text()).trim().split("\r\n").slice(1);
  assert.ok(api.length > 100, "more than one page");
  assert.deepEqual(seen, api.map((flow) => flow.id));
  assert.deepEqual(file.map((line) => line.split(",")[0]), seen);
  assert.equal((await page.goto(at(`flows?${query}`)), await page.locator(".tbar b").first().textContent()).replace(/\D/g, ""), String(api.length));
  await context.close();
});

test("a dropped flow tells the device, the chain and the rule that decided", async () => {
  const { page, context, at } = await signedIn(browser, server);
  await page.goto(at("flows?filter=result+%3D+dropped"));
  await page.locator("tr[data-href]").first().locator("td.tm").click();
  await page.waitForURL(/flow=/);
  assert.match(await page.locator(".why").textContent(), /dropped it\. In the outbound filter of the port, the rule “drop/);
  assert.equal(await page.locator(".rules li.hit").count(), 1);
  assert.match(await page.locator(".rules li.hit .r").textContent(), /DROP/);
  await page.keyboard.press("Escape");
  await page.waitForURL((url) => !url.search.includes("flow="));
  await context.close();
});

test("a dropped flow is traced over the topology of then, and a packet that is asked for over that of now", async () => {
  const { page, context, complaints, at } = await signedIn(browser, server);
  await page.goto(at("flows?filter=result+%3D+dropped"));
  await page.locator(".flowlist tbody tr a").first().click();
  await page.getByRole("link", { name: "Trace over the topology of then" }).click();
  await page.getByRole("heading", { name: "The way of the recorded packet" }).waitFor();
  assert.ok(await page.locator(".path > li").count() > 1, "devices are drawn");

  const vm = (await items(context, "port")).find((port) => port.kind === "vm" && port.addresses.length > 0);
  const network = (await items(context, "port")).find((port) => port.kind === "vm" && port.network === vm.network && port.id !== vm.id);
  await page.goto(at("trace"));
  await page.getByLabel("Sent by the port").fill(vm.id);
  await page.getByLabel("To", { exact: true }).fill(network.addresses[0]);
  await page.getByLabel("Service port").fill("22");
  await page.getByRole("button", { name: "Trace" }).click();
  await page.getByRole("heading", { name: "The way there" }).waitFor();
  const answer = await context.request.get(`${server.base}/api/v1/sites/${server.site}/trace?port=${vm.id}&dst=${network.addresses[0]}&dport=22`);
  const { there } = await answer.json();
  assert.equal((await page.locator("#there header .st").innerText()).toLowerCase(), there.verdict);
  const shown = await page.locator("#there .path > li .nm a").allInnerTexts();
  assert.deepEqual(shown, there.stops.map((stop) => stop.name));

  await page.goto(at("trace?port=nobody&dst=10.0.0.1"));
  await page.getByRole("alert").getByText("No port is called “nobody”").waitFor();
  assert.deepEqual(complaints, []);
});

test("a span drawn on the histogram becomes the period", async () => {
  const { page, context, at } = await signedIn(browser, server);
  await page.goto(at("flows"));
  const box = await page.locator("#histogram [data-chart] > svg").last().boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/period=\d{4}/);
  const [from, to] = new URL(page.url()).searchParams.get("period").split(" - ").map((text) => Date.parse(`${text.replace(" ", "T")}Z`));
  assert.ok(Math.abs(to - from - 90 * 60_000) < 3 * 60_000, `${from} to ${to}`);
  await context.close();
});

test("live parts change without a reload, and stand still while they are used", async () => {
  const { page, context, at } = await signedIn(browser, server);
  await page.goto(at("dashboard"));
  await page.evaluate(() => { window.here = true; });
  const before = await page.locator("#verdict .at").textContent();
  await page.waitForFunction((old) => document.querySelector("#verdict .at").textContent !== old, before, { timeout: 25_000 });
  assert.equal(await page.evaluate(() => window.here), true);
  await page.getByRole("link", { name: "Live is on, stop it" }).click();
  await page.waitForURL(/live=0/);
  assert.equal(await page.locator("html").getAttribute("data-live"), null);
  await context.close();
});

test("the topology of an hour ago is drawn as it was, and what differs is told", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("virtual"));
  const down = () => page.locator("#drawing .nd.bad").count();
  const now = await down();
  assert.ok(now > 0 && await page.locator("#drawing .ed.drop").count() > 0);
  assert.equal(await page.locator("#differences").count(), 0);
  await page.goto(at(`virtual?at=${Math.floor(Date.now() / 1000) - 3600}`));
  assert.ok(await down() < now, "the host was alive then");
  assert.match(await page.locator("#differences").textContent(), /vm-0-1-1 up then, down now/);
  assert.ok(await page.locator("#drawing .nd.differs").count() > 0);
  // Step by step to the change.
  await page.getByRole("link", { name: "The change after" }).click();
  await page.waitForURL(/at=/);
  await page.getByRole("link", { name: "Now", exact: true }).click();
  await page.waitForURL((url) => !url.search.includes("at="));
  assert.equal(await down(), now);
  assert.equal((await context.request.get(at("virtual?at=soon"))).status(), 400);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("search finds by name, UUID, IP and MAC; the slash key leads there", async () => {
  const { page, context, at } = await signedIn(browser, server);
  const port = (await items(context, "port")).find((port) => port.kind === "vm");
  for (const text of [port.name, port.id, port.addresses[0], port.mac]) {
    const hits = await (await context.request.get(at(`search?format=json&q=${encodeURIComponent(text)}`))).json();
    assert.ok(hits.some((hit) => hit.id === port.id), text);
  }
  await page.keyboard.press("/");
  await page.keyboard.type(port.id);
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`d/port/${port.id}`));
  await context.close();
});

test("everything is there without script", async () => {
  const { page, context, at } = await signedIn(browser, server, { javaScriptEnabled: false });
  await page.goto(at("flows"));
  await page.fill("#filter", "result = dropped");
  await page.getByRole("button", { name: "Apply" }).click();
  assert.ok(await page.locator(".flowlist tbody tr").count() > 0);
  await page.goto(at("dashboard"));
  assert.ok(await page.locator(".plot path").count() > 4);
  assert.ok(await page.locator("details.astable td").count() > 50);
  await context.close();
});

test("a site without data says what to do", async () => {
  const { page, context } = await signedIn(browser, empty);
  assert.match(await page.locator("main").textContent(), /mn-insights show/);
  await page.goto(`${empty.base}/s/${empty.site}/flows`);
  assert.match(await page.locator("main").textContent(), /agent\.flow_history\.enabled/);
  await context.close();
});

test("a link of a later version, and a period that is none, are refused with a reason", async () => {
  const { page, context, at } = await signedIn(browser, server);
  assert.equal((await page.goto(at("dashboard?v=99"))).status(), 400);
  assert.match(await page.locator("main").textContent(), /later version/);
  assert.equal((await page.goto(at("dashboard?period=soon"))).status(), 400);
  assert.match(await page.locator("main").textContent(), /last 6 hours/);
  await context.close();
});

test("an alert is acknowledged, silenced for a while, and led back to its moment", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  const open = async () => (await (await context.request.get(`${server.base}/api/v1/sites/${server.site}/alerts`)).json()).alerts;
  const [host] = (await open()).filter((alert) => alert.rule === "host-down");
  await page.goto(at("dashboard"));
  assert.match(await page.locator(".tile", { hasText: "Open alerts" }).textContent(), /3/);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: /Alerts/ }).click();
  await page.getByRole("heading", { name: "Alerts" }).waitFor();
  const row = page.locator(".alerts li", { hasText: host.text });
  assert.match(await page.locator(".alerts li").first().textContent(), /Host .* is down.*3 that follow from it/s);
  await row.getByRole("button", { name: /^Acknowledge/ }).click();
  await page.getByRole("status").waitFor();
  assert.match(await row.textContent(), /Acknowledged by ada@lab\.example/);
  await row.locator("summary").click();
  await row.getByLabel("Silent for").selectOption("4");
  await row.getByRole("button", { name: "Silence", exact: true }).click();
  await page.getByText("Silent until").first().waitFor();
  const after = (await open()).find((alert) => alert.id === host.id);
  assert.equal(after.acknowledged.by, "ada@lab.example");
  assert.ok(Math.abs(after.silenced.until_us / 1e3 - Date.now() - 4 * 3_600_000) < 600_000);
  await row.getByRole("link", { name: host.text }).click();
  await page.getByRole("heading", { name: host.text }).waitFor();
  assert.deepEqual((await page.locator("#acts li").allTextContents()).map((text) => text.split(/ until|:|\d/)[0].trim()), ["Opened", "Acknowledged", "Silenced"]);
  await page.getByRole("link", { name: "Topology then" }).click();
  await page.waitForURL(/virtual\?at=/);
  await page.goBack();
  await page.getByRole("button", { name: "Take the acknowledgement back" }).click();
  await page.getByRole("button", { name: "Acknowledge" }).waitFor();
  await page.goto(at("events?kind=alert&period=last+12+hours"));
  assert.match(await page.locator(".rows.events").textContent(), /resolved: VM port .* is down/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a rule that every site has is switched off and on", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("alerts?view=rules"));
  await page.getByRole("button", { name: "VTEP error: on, switch off" }).click();
  await page.getByRole("button", { name: "VTEP error: off, switch on" }).click();
  await page.getByRole("button", { name: "VTEP error: on, switch off" }).waitFor();
  await page.goto(at("events?kind=account&period=last+15+minutes"));
  assert.match(await page.locator(".rows.events").textContent(), /the rule VTEP error was switched off/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a filter of the flow history becomes a rule, which is changed and deleted", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("flows?filter=result+%3D+dropped"));
  await page.getByRole("link", { name: "Alert me on this" }).click();
  await page.getByRole("heading", { name: "New rule" }).waitFor();
  assert.equal(await page.getByLabel("Filter, for flow records").inputValue(), "result = dropped");
  assert.notEqual(await page.getByLabel("Figure, percent or times").inputValue(), "", "a threshold is proposed");
  assert.equal(await page.locator(".preview").count(), 2);
  await page.getByLabel("Name", { exact: true }).fill("Drops of the lab");
  await page.getByLabel("Figure, percent or times").fill("0");
  await page.getByLabel("For so many minutes").fill("1");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.waitForURL(/amount=0/);
  assert.match(await page.locator(".preview").first().textContent(), /[1-9]\d* alert/);
  assert.ok(await page.locator(".preview .alarm").count() > 0);
  await page.getByRole("button", { name: "Save the rule" }).click();
  assert.match(await page.getByRole("status").textContent(), /The rule is kept/);
  const row = page.locator("#own li", { hasText: "Drops of the lab" });
  assert.match(await row.textContent(), /Flow records of result = dropped: above 0 records a minute for 60.s/);
  await row.getByRole("button", { name: /switch off/ }).click();
  await row.getByRole("button", { name: /switch on/ }).click();
  await row.getByRole("button", { name: /switch off/ }).waitFor();
  await row.getByRole("link", { name: "Drops of the lab" }).click();
  await page.getByLabel("Trouble is when it").selectOption("absent");
  await page.getByLabel("It is").selectOption("critical");
  await page.getByRole("button", { name: "Preview" }).click();
  await page.waitForURL(/is=absent/);
  await page.getByRole("button", { name: "Save the rule" }).click();
  await page.getByRole("status").waitFor();
  assert.match(await row.textContent(), /critical.*none for 60.s/s);
  await row.getByRole("link", { name: "Drops of the lab" }).click();
  await page.locator(".head summary").click();
  await page.getByRole("button", { name: "Delete the rule" }).click();
  await page.getByText("None yet.").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a receiver of alerts is added, tested and deleted; a URL that is none is refused", async () => {
  const { page, context, at, complaints } = await signedIn(browser, server);
  await page.goto(at("alerts?view=receivers"));
  await page.getByText("told to nobody").waitFor();
  const webhook = page.locator("form", { has: page.getByLabel("URL") });
  await webhook.getByLabel("Name").fill("on-call");
  await webhook.getByLabel("URL").fill("https://ada:pw@hooks.example.org/x");
  await webhook.getByRole("button", { name: "Add the webhook" }).click();
  assert.match(await page.getByRole("alert").textContent(), /A URL begins with https/);
  await webhook.getByLabel("Name").fill("on-call");
  await webhook.getByLabel("URL").fill("https://hooks.example.org/services/secret");
  await webhook.getByLabel("Form").selectOption("slack");
  await webhook.getByRole("button", { name: "Add the webhook" }).click();
  await page.getByRole("status").waitFor();
  await page.getByRole("button", { name: "Add the e-mail" }).click();
  const rows = page.locator("#receivers li");
  await rows.nth(1).waitFor();
  assert.match(await rows.first().textContent(), /on-call.*Slack, Mattermost · https:\/\/hooks\.example\.org\/… · warnings and critical/s);
  assert.match(await rows.nth(1).textContent(), /e-mail · ada@lab\.example/);
  await rows.first().getByRole("button", { name: "Test on-call" }).click();
  await page.getByText("1 notices wait to be taken").waitFor();
  for (const name of ["on-call", "E-mail"]) {
    const row = rows.filter({ hasText: name }).first();
    await row.locator("summary").click();
    await row.getByRole("button", { name: `Delete ${name}` }).click();
    await page.getByRole("status").waitFor();
  }
  await page.getByText("told to nobody").waitFor();
  assert.deepEqual(complaints.filter((text) => !text.includes("422")), []);
  await context.close();
});
