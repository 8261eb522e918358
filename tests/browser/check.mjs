// Drives Chromium over a built site and prints what it saw as JSON. Nothing is judged here: the tests in Python do that.
// usage: node check.mjs SITE HOSTILE_SITE CHROMIUM
import { createRequire } from "node:module";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [site, hostile, executablePath] = process.argv.slice(2);
const require = createRequire(join(process.env.NODE_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const address = (path, root = site) => pathToFileURL(join(root, path)).href;
const only = (folder) => join(folder, readdirSync(join(site, folder)).sort()[0]);
const seen = { requests: [], errors: [] };

const open = async (path, { root = site, hash = "", ...options } = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!/^(file|blob|data):/.test(request.url())) seen.requests.push(request.url());
  });
  page.on("pageerror", (error) => seen.errors.push(`${path}: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") seen.errors.push(`${path}: ${message.text()}`);
  });
  await page.goto(address(path, root) + hash);
  return page;
};
const column = (page, table, key) =>
  page.$$eval(`#${table} thead th`, (cells, wanted) => cells.findIndex((cell) => cell.dataset.key === wanted), key).then((at) =>
    page.$$eval(`#${table} tbody tr:not(.group):not([hidden])`, (rows, place) => rows.map((row) => row.cells[place].textContent.trim()), at));

// Sorting, filtering, columns, permalinks, downloads.
let page = await open("index.html");
seen.before = await column(page, "board", "model");
await page.click('#board th[data-key="model"] button');
seen.byName = await column(page, "board", "model");
await page.click('#board th[data-key="model"] button');
seen.byNameDown = await column(page, "board", "model");
seen.ariaSort = await page.getAttribute('#board th[data-key="model"]', "aria-sort");
await page.fill('.controls input[type="search"]', "org/m");
seen.filtered = await column(page, "board", "model");
seen.status = await page.textContent('.controls [role="status"]');
await page.click(".controls summary");
const winRate = '#board th[data-key="wins"]';
seen.optionalAtFirst = await page.isVisible(winRate);
await page.check('.controls input[value="wins"]');
seen.optionalChosen = await page.isVisible(winRate);
await page.keyboard.press("Escape");
seen.pickerClosed = !(await page.isVisible(".controls fieldset"));
for (const kind of ["CSV", "JSON"]) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(`.controls button:has-text("${kind}")`)]);
  seen[`download${kind}`] = readFileSync(await download.path(), "utf-8");
}
seen.hash = new URL(page.url()).hash;
const again = await open("index.html", { hash: seen.hash });
seen.permalink = { models: await column(again, "board", "model"), optional: await again.isVisible(winRate) };

// Keyboard only: the skip link comes first, and a header can be pressed.
page = await open("index.html");
await page.keyboard.press("Tab");
seen.firstFocus = await page.evaluate(() => document.activeElement.textContent);
for (let i = 0; i < 60; i += 1) {
  const here = await page.evaluate(() => document.activeElement.closest("th")?.dataset.key);
  if (here === "model") break;
  await page.keyboard.press("Tab");
}
await page.keyboard.press("Enter");
seen.keyboardSorted = await column(page, "board", "model");

// Docs and answers: all pages of many docs.
const viewer = only("docs");
page = await open(viewer);
await page.waitForFunction(() => document.getElementById("viewer-status").textContent !== "");
seen.viewer = { status: await page.textContent("#viewer-status"), docs: await page.$$eval(".doc", (docs) => docs.length) };
const started = Date.now();
await page.click('button:has-text("Next")');
await page.waitForFunction(() => document.getElementById("viewer-status").textContent.startsWith("Docs 21"));
seen.viewer.next = { ms: Date.now() - started, first: await page.textContent(".doc h2") };
await page.selectOption("select >> nth=0", "w");
await page.waitForFunction(() => document.getElementById("viewer-status").textContent.includes("in all"));
seen.viewer.wrong = await page.textContent("#viewer-status");
seen.viewer.marks = await page.$$eval(".doc", (docs) => docs.map((doc) => doc.querySelector("dd").textContent.trim()[0]));
await page.selectOption("select >> nth=0", "gain");
await page.waitForFunction(() => !document.getElementById("viewer-status").textContent.startsWith("Searching"));
const marksOf = (docs) => docs.map((doc) => [...doc.querySelectorAll("dd")].map((answer) => answer.textContent.trim()[0]).join(""));
seen.viewer.gained = await page.$$eval(".doc", marksOf);
await page.selectOption("select >> nth=0", "hard");
seen.viewer.hard = await page.$$eval(".doc", marksOf);
seen.viewer.address = await page.evaluate(() => location.hash);

// Without JavaScript.
page = await open("index.html", { javaScriptEnabled: false });
seen.plain = { rows: await page.locator("#board tbody tr").count(), controls: await page.isVisible(".controls") };
page = await open(viewer, { javaScriptEnabled: false });
seen.plain.docs = await page.locator(".doc").count();

// Time until the overview can be used; sideways scrolling of the page on a phone.
const times = [];
for (let i = 0; i < 3; i += 1) {
  page = await open("index.html");
  times.push(await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd));
}
seen.loadMs = times.sort((a, b) => a - b)[1];
seen.sideways = [];
for (const width of [400, 1280, 2560]) {
  for (const path of ["index.html", "tasks.html", "methods.html", only("tasks"), only("models"), only("sweeps"), viewer]) {
    page = await open(path, { viewport: { width, height: 900 } });
    if (await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)) seen.sideways.push(`${path} at ${width}`);
    await page.context().close();
  }
}

// axe, light and dark.
seen.axe = [];
for (const colorScheme of ["light", "dark"]) {
  for (const path of ["index.html", "tasks.html", "sweeps.html", "reported.html", "methods.html", only("tasks"), only("models"), only("sweeps"), viewer]) {
    page = await open(path, { colorScheme, bypassCSP: true });
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    for (const one of found.violations) seen.axe.push(`${path} ${colorScheme}: ${one.id} ${one.nodes[0].html.slice(0, 160)}`);
    await page.context().close();
  }
}

// Hostile names and answers, on every page; then the same text as markup, which must be noticed.
seen.hacked = [];
for (const path of readdirSync(hostile, { recursive: true }).filter((name) => name.endsWith(".html")).sort()) {
  page = await open(path, { root: hostile });
  await page.waitForTimeout(20);
  if (await page.evaluate(() => window.hacked !== undefined)) seen.hacked.push(path);
  if (path.startsWith("docs")) {
    const next = page.locator('button:has-text("Next")');
    while (await next.isEnabled()) { await next.click(); await page.waitForTimeout(10); }
    if (await page.evaluate(() => window.hacked !== undefined)) seen.hacked.push(`${path} (paged)`);
  }
  await page.context().close();
}
const quiet = { requests: seen.requests.length, errors: seen.errors.length };
page = await open("index.html", { root: hostile, bypassCSP: true });
await page.evaluate(() => { document.querySelector("main").innerHTML += "<img src=x onerror=window.hacked=1>"; });
await page.waitForTimeout(200);
seen.control = await page.evaluate(() => window.hacked === 1);
page = await open("index.html", { root: hostile });
await page.evaluate(() => { document.querySelector("main").innerHTML += "<img src=data:, onerror=window.hacked=1>"; });
await page.waitForTimeout(200);
seen.policyHolds = await page.evaluate(() => window.hacked === undefined);
seen.requests.length = quiet.requests;
seen.errors.length = quiet.errors;
await browser.close();
console.log(JSON.stringify(seen));
