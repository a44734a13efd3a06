// Opens a page in headless Chromium, light and dark, and prints what it finds as JSON.
//
//   node browser.cjs PAGE.html [SCREENSHOT-PREFIX]
//
// Needs playwright-core and axe-core on NODE_PATH; CHROMIUM names the browser.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");
const { pathToFileURL } = require("url");
const { chromium } = require("playwright-core");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [file, prefix] = process.argv.slice(2);
const flags = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

(async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "kvplace-page-"));
  const result = { errors: [], requests: [], schemes: {} };
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: flags,
    viewport: { width: 1280, height: 900 },
  });
  try {
    const page = context.pages()[0] || (await context.newPage());
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) result.errors.push(message.text());
    });
    page.on("pageerror", (error) => result.errors.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("data:")) result.requests.push(request.url());
    });
    const url = pathToFileURL(path.resolve(file)).href;
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      const start = Date.now();
      await page.goto(url, { waitUntil: "load" });
      const loaded = Date.now() - start;
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
      result.schemes[scheme] = {
        loaded,
        background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
        violations: found.violations.map((one) => ({
          id: one.id, help: one.help, nodes: one.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)),
          count: one.nodes.length,
        })),
      };
      if (prefix) {
        await page.screenshot({ path: `${prefix}-${scheme}.png` });
        await page.screenshot({ path: `${prefix}-${scheme}-full.png`, fullPage: true,
          clip: { x: 0, y: 0, width: 1280, height: Math.min(4000,
            await page.evaluate(() => document.documentElement.scrollHeight)) } });
      }
    }
    result.value = await page.getAttribute("#value", "data-value");
    result.shown = await page.textContent("#value");
    result.proof = await page.textContent("#proof");
    result.rows = await page.$$eval("table.gpus tbody tr", (rows) =>
      rows.map((row) => [...row.children].map((cell) => cell.textContent.trim())));
    result.nodes = await page.$$eval("details.node, ul.nodes > li", (all) => all.length);
    result.listed = await page.$$eval("#rows tr", (all) => all.length);
    // The keyboard reaches everything that can be operated, and nothing is a trap.
    const wanted = await page.$$eval("a[href], input, summary, [tabindex='0']", (all) =>
      all.filter((one) => one.checkVisibility({ contentVisibilityAuto: false })).length);
    await page.evaluate(() => { document.body.focus(); window.seen = new Set(); });
    for (let at = 0; at < Math.min(wanted, 300) + 1; at += 1) {
      await page.keyboard.press("Tab");
      await page.evaluate(() => window.seen.add(document.activeElement));
    }
    result.focus = await page.evaluate(() =>
      [...window.seen].filter((one) => one !== document.body).length);
    result.wanted = wanted;
    const query = await page.evaluate(() =>
      JSON.parse(document.getElementById("data").textContent).models.at(-1)[0]);
    await page.fill("#search", query);
    await page.waitForFunction(() => document.getElementById("found").textContent.includes("found"));
    result.search = { query, first: await page.textContent("#rows tr:first-child th"),
      words: await page.textContent("#found") };
    // On a phone nothing sticks out of the page, nor a GPU out of its table.
    await page.setViewportSize({ width: 390, height: 844 });
    const narrow = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
    result.phone = await page.evaluate(() => ({
      page: document.documentElement.scrollWidth,
      over: [...document.querySelectorAll("table.gpus")].filter((one) =>
        one.checkVisibility() && one.scrollWidth > one.parentElement.clientWidth).length,
    }));
    result.phone.violations = narrow.violations.map((one) => one.id);
    await page.emulateMedia({ media: "print" });
    result.pdf = (await page.pdf({ printBackground: true })).length;
  } finally {
    await context.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
  process.stdout.write(JSON.stringify(result));
})().catch((error) => { console.error(error); process.exit(1); });
