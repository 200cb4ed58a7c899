// Types into the real editor and reads its screen: node test/ui.mjs [--pictures FOLDER]
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CODEKIN, address, makePlace, openBrowser, startEditor } from "./editor.mjs";
import { LONG, SOON, screenOf } from "./screen.mjs";

const GHOST = ".ghost-text, .ghost-text-decoration, .suggest-preview-text";
const pictures = process.argv.includes("--pictures") ? process.argv[process.argv.indexOf("--pictures") + 1] : undefined;
const results = [];
const place = makePlace({
  "editor.minimap.enabled": false, "editor.quickSuggestions": "off", "workbench.colorTheme": "Default Light Modern",
  "breadcrumbs.enabled": false, "codekin.similar.lens_min_score": 0.2,
});
const { browser } = await openBrowser();

async function test(name, body, screen) {
  const began = Date.now();
  try {
    await body(screen);
    results.push(true);
    console.log(`passed ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    results.push(false);
    console.log(`FAILED ${name}\n${error.stack}`);
    await picture(screen, `failed-${results.length}`);
  }
}

/** The peek names the folder of the run, which is no concern of a picture. */
async function picture({ page }, name) {
  if (pictures) await page.addStyleTag({ content: ".peekview-title .dirname { display: none }" });
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
}

/** What `codekin` prints as JSON. */
function codekin(...words) {
  return JSON.parse(execFileSync(CODEKIN, [...words, "--json", "--data-dir", place.data]).toString());
}

async function until(what, holds) {
  const end = Date.now() + SOON.timeout;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((go) => setTimeout(go, 250));
  }
}

/** Opens a folder in a window of an editor and runs tests in it. */
async function inWindow(folder, { trusted = true }, tests) {
  const editor = await startEditor(place, { trusted });
  const page = await browser.newPage({ viewport: { width: 1180, height: 740 } });
  const screen = screenOf(page);
  try {
    await page.goto(address({ ...place, workspace: folder }, editor.port), LONG);
    await page.locator(".monaco-workbench").waitFor(LONG);
    await tests(screen);
  } finally {
    await page.close();
    editor.stop();
  }
}

async function workspace(screen) {
  const { page, command, goTo, openFile, ready, revert, rows, status } = screen;
  await openFile("retry.ex");
  await test("the status bar says that all is ready", ready, screen);

  await test("a lens over a function counts its kin, and opens them", async () => {
    const lens = page.locator(".codelens-decoration a", { hasText: /^[1-9]\d*\+? similar$/ }).first();
    await lens.click(SOON);
    await page.locator(".peekview-widget .monaco-list-row").first().waitFor(SOON);
    await page.keyboard.press("Escape");
    await page.locator(".peekview-widget").waitFor({ state: "detached", ...SOON });
  }, screen);

  await test("Find Similar Code opens a peek on the kin", async () => {
    await goTo(7);
    await page.keyboard.press("Control+Alt+K");
    await page.locator(".peekview-widget .monaco-list-row", { hasText: /retry/i }).first().waitFor(SOON);
    await page.locator(".peekview-widget .preview .view-line").first().waitFor(SOON);
    await picture(screen, "peek");
    await page.keyboard.press("Escape");
    await page.locator(".peekview-widget").waitFor({ state: "detached", ...SOON });
  }, screen);

  await test("the Kin view shows names and scores", async () => {
    await page.locator(".activitybar .action-item", { has: page.locator("[aria-label^='Codekin']") }).first().click(SOON);
    await page.locator(".sidebar .monaco-list-row", { hasText: /0\.\d\d/ }).first().waitFor(SOON);
    await picture(screen, "kin");
    await page.keyboard.press("Control+B");
  }, screen);

  await test("Search by Meaning answers as words are typed, and opens what was chosen", async () => {
    await command("Codekin: Search by Meaning");
    await page.locator("input[placeholder^='What does the code do']").pressSequentially("keep the latest values in a ring", { delay: 20 });
    await rows(/ring/i).first().waitFor(SOON);
    await picture(screen, "search");
    await page.keyboard.press("Enter");
    await page.locator(".tab.active", { hasText: /ring/i }).waitFor(SOON);
  }, screen);

  await test("ghost text appears as one types, Tab inserts it, and it counts as accepted", async () => {
    await openFile("lru_cache.ex");
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\ndefmodule Storehouse.Session do\n  use Gen", { delay: 50 });
    await page.locator(GHOST, { hasText: "Server" }).first().waitFor(SOON);
    await picture(screen, "ghost");
    await page.keyboard.press("Tab");
    await page.locator(".view-line", { hasText: /use\sGenServer/ }).last().waitFor(SOON);
    await until("one is accepted", () => (codekin("status", place.workspace).completion.accepted ?? 0) > 0);
    await revert("Storehouse.Session");
  }, screen);

  await test("a suggestion that is typed over counts as rejected", async () => {
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\ndefmodule Storehouse.Other do\n  use Gen", { delay: 50 });
    await page.locator(GHOST).first().waitFor(SOON);
    await page.keyboard.type("zz", { delay: 50 });
    await until("one is rejected", () => (codekin("status", place.workspace).completion.rejected ?? 0) > 0);
    await revert("Storehouse.Other");
  }, screen);

  await test("the status bar tells of a killed daemon and of its return", async () => {
    await ready();
    const told = status("error").waitFor(SOON);
    process.kill(codekin("daemon", "status").pid, "SIGKILL");
    await told;
    await ready();
  }, screen);

  await test("a server that is missing is told in a sentence, and a button looks for it again", async () => {
    rmSync(place.server);
    await command("Codekin: Restart the Server");
    await status("error").waitFor(SOON);
    await screen.notified("which is no program that can be started");
    await picture(screen, "missing");
    symlinkSync(CODEKIN, place.server);
    await screen.press("Try Again");
    await ready();
  }, screen);
}

async function nothingToIndex(screen) {
  await test("an empty index is told with its cause, and a button shows what is left out", async () => {
    await screen.status("warning").waitFor(LONG);
    await screen.notified("No file here is in a known language");
    await screen.press("Show What Is Left Out");
    await screen.page.locator(".tab.active", { hasText: "Codekin" }).waitFor(SOON);
  }, screen);
}

async function untrusted(screen) {
  await test("a workspace that is not trusted starts nothing of its own, and the menu mends it", async () => {
    await screen.openFile("retry.ex");
    await screen.ready();
    assert(!existsSync(join(place.base, "ran")), "the workspace's program was started");
    await screen.page.locator("[id*='codekin.status'] a").first().click(SOON);
    await screen.rows("Manage Workspace Trust").first().click(SOON);
    await screen.page.locator(".workspace-trust-editor").first().waitFor(SOON);
  }, screen);
}

/** A folder whose settings name a program of its own. */
function makeHostile() {
  const folder = join(place.base, "hostile");
  cpSync(place.workspace, folder, { recursive: true });
  mkdirSync(join(folder, ".vscode"));
  writeFileSync(join(folder, "evil"), `#!/bin/sh\ntouch ${join(place.base, "ran")}\n`, { mode: 0o755 });
  writeFileSync(join(folder, ".vscode/settings.json"), JSON.stringify({ "codekin.server.path": join(folder, "evil") }));
  return folder;
}

function makeEmpty() {
  const folder = join(place.base, "empty");
  mkdirSync(folder);
  writeFileSync(join(folder, "CMakeLists.txt"), "project(empty)\n");
  return folder;
}

try {
  const hostile = makeHostile();
  await inWindow(place.workspace, {}, workspace);
  await inWindow(makeEmpty(), {}, nothingToIndex);
  await inWindow(hostile, { trusted: false }, untrusted);
} finally {
  await browser.close();
  await place.remove();
}
console.log(`${results.filter(Boolean).length} passed, ${results.filter((ok) => !ok).length} failed`);
process.exitCode = results.every(Boolean) && results.length ? 0 : 1;
