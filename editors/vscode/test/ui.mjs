// Types into the real editor and reads its screen: node test/ui.mjs [--pictures FOLDER]
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { address, makePlace, openBrowser, startEditor } from "./editor.mjs";

const SLOW = { timeout: 180_000 };
const SOON = { timeout: 45_000 };
const pictures = process.argv.includes("--pictures") ? process.argv[process.argv.indexOf("--pictures") + 1] : undefined;

const place = makePlace({ "editor.minimap.enabled": false, "workbench.colorTheme": "Default Light Modern" });
const editor = await startEditor(place);
const { browser, page } = await openBrowser();
const results = [];

const ready = page.locator("#codekin\\.codekin\\.codekin\\.status .codicon-references, [id*='codekin.status'] .codicon-references");

async function command(title) {
  await page.keyboard.press("F1");
  await page.locator(".quick-input-widget input").first().fill(`>${title}`);
  await page.locator(".quick-input-list .monaco-list-row", { hasText: title }).first().waitFor(SOON);
  await page.keyboard.press("Enter");
}

async function openFile(name) {
  await page.keyboard.press("Control+P");
  await page.locator(".quick-input-widget input").first().fill(name);
  await page.locator(".quick-input-list .monaco-list-row", { hasText: name }).first().waitFor(SOON);
  await page.keyboard.press("Enter");
  await page.locator(".tab.active", { hasText: name }).waitFor(SOON);
  await page.locator(".monaco-editor .view-lines").first().click();
}

async function goTo(line) {
  await page.keyboard.press("Control+G");
  await page.locator(".quick-input-widget input").first().fill(`:${line}`);
  await page.keyboard.press("Enter");
}

async function test(name, body) {
  const began = Date.now();
  try {
    await body();
    results.push(true);
    console.log(`passed ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    results.push(false);
    console.log(`FAILED ${name}\n${error.stack}`);
    await picture("failed");
  }
}

async function picture(name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
}

async function lineOf(text) {
  return (await page.locator(".view-line", { hasText: text }).count()) > 0;
}

try {
  await page.goto(address(place, editor.port), SLOW);
  await page.locator(".monaco-workbench").waitFor(SLOW);
  await openFile("retry.ex");

  await test("the status bar says that all is ready", () => ready.first().waitFor(SLOW));

  await test("a lens over a function counts its kin", async () => {
    await page.locator(".codelens-decoration", { hasText: /\d+\+? similar/ }).first().waitFor(SOON);
  });

  await test("Find Similar Code opens a peek on the kin", async () => {
    await goTo(14);
    await command("Codekin: Find Similar Code");
    await page.locator(".peekview-widget .monaco-list-row").first().waitFor(SOON);
    await page.waitForTimeout(500);
    await picture("peek");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
  });

  await test("the Kin view shows names and scores", async () => {
    await page.locator(".activitybar .action-label[aria-label^='Codekin']").first().click();
    const row = page.locator(".sidebar .monaco-list-row", { hasText: /0\.\d\d/ });
    await row.first().waitFor(SOON);
    assert((await row.count()) > 0);
    await picture("kin");
    await page.keyboard.press("Control+B");
  });

  await test("Search by Meaning answers as words are typed", async () => {
    await command("Codekin: Search by Meaning");
    await page.locator(".quick-input-widget input").first().fill("keep the latest values in a ring");
    await page.locator(".quick-input-list .monaco-list-row", { hasText: /ring/i }).first().waitFor(SOON);
    await picture("search");
    await page.keyboard.press("Escape");
  });

  await test("ghost text appears and Tab inserts it", async () => {
    await openFile("lru_cache.ex");
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\ndefmodule Storehouse.Session do\n  use Gen", { delay: 40 });
    await page.locator(".ghost-text, .ghost-text-decoration").first().waitFor(SOON);
    await picture("ghost");
    await page.keyboard.press("Escape");
    await command("Codekin: Suggest Code Here");
    await page.locator(".ghost-text, .ghost-text-decoration").first().waitFor(SOON);
    await page.keyboard.press("Tab");
    await page.locator(".view-line", { hasText: /use\sGenServer/ }).first().waitFor(SOON);
    assert(await lineOf(/use\sGenServer/));
  });

  await test("the status bar tells of a killed daemon and of its return", async () => {
    const pid = JSON.parse(execFileSync("sh", ["-c", `"${process.env.CODEKIN}" daemon status --json --data-dir "${place.data}"`]).toString()).pid;
    process.kill(pid, "SIGKILL");
    await page.locator("[id*='codekin.status'] .codicon-error, [id*='codekin.status'] .codicon-sync, [id*='codekin.status'] .codicon-warning").first().waitFor(SOON);
    await ready.first().waitFor(SLOW);
  });
} finally {
  await browser.close();
  await editor.stop();
}
console.log(`${results.filter(Boolean).length} passed, ${results.filter((ok) => !ok).length} failed`);
process.exitCode = results.every(Boolean) && results.length ? 0 : 1;
