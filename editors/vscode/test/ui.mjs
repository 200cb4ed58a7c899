// Types into the real editor and reads its screen: node test/ui.mjs [--pictures FOLDER]
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CODEKIN, address, makePlace, openBrowser, startEditor } from "./editor.mjs";
import { LONG, SOON, screenOf } from "./screen.mjs";

const GHOST = ".ghost-text, .ghost-text-decoration, .suggest-preview-text";
/** How the editor's server forwards a port; its outer half, which is not here, would pass it on as this does. */
const PROXIED = /:\d+\/proxy\/(\d+)\//;
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
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((go) => setTimeout(go, 250));
  }
}

/** Opens a folder in a window of an editor and runs tests in it. */
async function inWindow(folder, { trusted = true }, tests) {
  const editor = await startEditor(place, { trusted });
  const page = await browser.newPage({ viewport: { width: 1180, height: 740 }, permissions: ["clipboard-read", "clipboard-write"] });
  const screen = screenOf(page);
  await page.context().route(PROXIED, async (route) => {
    const response = await route.fetch({ url: route.request().url().replace(PROXIED, ":$1/") }).catch(() => undefined);
    await (response ? route.fulfill({ response }) : route.abort()); // the page may be gone, or its server
  });
  try {
    await page.goto(address({ ...place, workspace: folder }, editor.port), LONG);
    await page.locator("[id*='codekin.status']").first().waitFor(LONG); // before that, keys are not yet heard
    await tests(screen);
  } finally {
    await page.close();
    editor.stop();
  }
}

async function finding(screen) {
  const { page, goTo, openFile, ready } = screen;
  await openFile("retry.ex");
  await test("the status bar says that all is ready", ready, screen);

  await test("a lens over a function counts similar code, and opens it", async () => {
    const lens = page.locator(".codelens-decoration a", { hasText: /^[1-9]\d*\+? similar$/ }).first();
    await lens.click(SOON);
    await page.locator(".peekview-widget .monaco-list-row").first().waitFor(SOON);
    await screen.closePeek();
  }, screen);

  await test("Find Similar Code opens a peek on similar code, with scores", async () => {
    await goTo(7);
    await page.keyboard.press("Control+Alt+K");
    await page.locator(".peekview-widget .monaco-list-row", { hasText: /retry/i }).first().waitFor(SOON);
    await page.locator(".peekview-widget .preview .codelens-decoration:visible", { hasText: /0\.\d\d.*(meaning|words|name)/ }).first().waitFor(SOON);
    await picture(screen, "peek");
    await screen.closePeek();
  }, screen);

  await test("the scores go when the cursor moves on", async () => {
    await page.locator(".editor-instance .codelens-decoration", { hasText: /0\.\d\d/ }).first().waitFor(SOON);
    await page.keyboard.press("ArrowDown");
    await page.locator(".editor-instance .codelens-decoration", { hasText: /0\.\d\d/ }).first().waitFor({ state: "detached", ...SOON });
  }, screen);

  await test("the context menu has it too", async () => {
    await goTo(14);
    await page.keyboard.press("Shift+F10");
    await page.locator(".context-view .action-label", { hasText: "Find Similar Code" }).first().hover(SOON);
    await page.keyboard.press("Enter");
    await page.locator(".peekview-widget .monaco-list-row").first().waitFor(SOON);
    await screen.closePeek();
  }, screen);

  await test("the Similar Code view shows score, reason and the language's icon, and compares the two functions", async () => {
    await page.locator(".activitybar .action-item", { has: page.locator("[aria-label^='Codekin']") }).first().click(SOON);
    const row = page.locator(".sidebar .monaco-list-row", { hasText: /0\.\d\d\s.*(meaning|words|name)/ }).first();
    await row.waitFor(SOON);
    await page.locator(".sidebar .monaco-list-row .cpp-lang-file-icon").first().waitFor(SOON);
    await picture(screen, "similar");
    await row.hover();
    await row.locator(".codicon-diff").first().click(SOON);
    await page.locator(".tab.active", { hasText: "↔" }).waitFor(SOON);
    await page.locator(".monaco-diff-editor .original .view-line", { hasText: "try_again" }).first().waitFor(SOON);
    assert.equal(await page.locator(".monaco-diff-editor .view-line", { hasText: "defmodule" }).count(), 0);
    await picture(screen, "compare");
    await page.keyboard.press("Control+B");
  }, screen);
}

async function searching({ page, command, paste, rows, ...screen }) {
  const box = page.locator("input[placeholder^='What does the code do']");

  await test("Search by Meaning answers as words are typed, and opens what was chosen", async () => {
    await command("Codekin: Search by Meaning");
    await box.pressSequentially("keep the latest values in a ring", { delay: 20 });
    await rows(/ring_buffer/i).first().waitFor(SOON);
    await picture({ page }, "search");
    await rows(/ring_buffer/i).first().click(SOON);
    await page.locator(".tab.active", { hasText: /ring/i }).waitFor(SOON);
  }, { page });

  await test("a piece of code of several lines can be pasted", async () => {
    await command("Codekin: Search by Meaning");
    await box.waitFor(SOON);
    await paste("def again(fun, attempts, delay) do\n  case fun.() do\n    {:error, _} -> Process.sleep(delay)\n  end\nend\n");
    await page.keyboard.press("Enter"); // before the list is there: what was pasted counts
    await page.locator(".tab.active", { hasText: /retry|circuit|carrier/i }).waitFor(SOON);
  }, { page });

  await test("a file can be left for another one and found again", () => screen.openFile("lru_cache.ex"), { page });
}

async function writing(screen) {
  const { page, command, revert } = screen;
  const ghost = (text) => page.locator(GHOST, { hasText: text }).first();
  const line = (text) => page.locator(".view-line", { hasText: text }).last();
  const told = (what) => until(`one is ${what}`, () => (codekin("status", place.workspace).completion[what] ?? 0) > 0);
  const type = async (text) => { await page.keyboard.press("Control+End"); await page.keyboard.type(`\n${text}`, { delay: 50 }); };
  await until("the repository has been read", () => codekin("status", place.workspace).completion.tokens > 0);

  await test("ghost text appears as one types, Tab inserts it, and it counts as accepted", async () => {
    await type("defmodule Storehouse.Session do\n  use Gen");
    await ghost("Server").waitFor(SOON);
    await picture(screen, "ghost");
    await page.keyboard.press("Tab");
    await line(/use\sGenServer/).waitFor(SOON);
    await told("accepted");
    await revert("Storehouse.Session");
  }, screen);

  await test("a suggestion can be taken by the word, and asked for by a command", async () => {
    await type("defmodule Storehouse.Words do\n  use GenServer\n\n  def start_link(");
    await page.keyboard.press("Escape");
    await command("Codekin: Suggest Code Here");
    await ghost(/\S/).waitFor(SOON);
    const before = await ghost(/\S/).innerText();
    await page.keyboard.press("Control+ArrowRight");
    await until("a word has left the ghost", async () => (await page.locator(GHOST).allInnerTexts()).join("") !== before);
    assert((await line(/start_link\(./).innerText()).length < before.length + 30);
    await told("partial");
    await revert("Storehouse.Words");
  }, screen);

  await test("other suggestions can be leafed through", async () => {
    await type("defmodule Storehouse.Others do\n  use GenServer\n\n  @impl true\n  def handle_"); // a call, a cast, an info
    await page.keyboard.press("Escape");
    await command("Codekin: Suggest Code Here");
    await ghost(/\S/).waitFor(SOON);
    const seen = new Set([await ghost(/\S/).innerText()]);
    await page.keyboard.press("Alt+]");
    await until("another one is shown", async () => seen.add((await page.locator(GHOST).allInnerTexts()).join("")).size > 1);
    await page.keyboard.press("Alt+[");
    await ghost([...seen][0]).waitFor(SOON);
    await revert("Storehouse.Others");
  }, screen);

  await test("a suggestion that is typed over counts as rejected", async () => {
    await type("defmodule Storehouse.Other do\n  use Gen");
    await ghost("Server").waitFor(SOON);
    await page.keyboard.type("zz", { delay: 50 });
    await told("rejected");
    await revert("Storehouse.Other");
  }, screen);
}

async function pages(screen) {
  const { page, command } = screen;

  await test("the dashboard shows its map inside the editor", async () => {
    await command("Codekin: Open the Dashboard");
    const view = page.frameLocator("iframe.webview").frameLocator("iframe#active-frame").frameLocator("iframe[title='Codekin dashboard']");
    await view.locator("#places li").first().waitFor(SOON);
    await view.locator("html[data-theme=light]").waitFor(SOON);
    await picture(screen, "dashboard");
    await view.getByRole("searchbox", { name: "Find" }).fill("ring_buffer.ex");
    await view.locator("#places button", { hasText: "lib/storehouse/ring_buffer.ex" }).first().click(SOON);
    await page.locator(".tab.active", { hasText: "ring_buffer.ex" }).waitFor(SOON);
    await command("View: Close All Editors");
  }, screen);

  await test("the dashboard opens in a browser", async () => {
    const opened = page.context().waitForEvent("page", SOON);
    await command("Codekin: Open the Dashboard in a Browser");
    const dashboard = await opened;
    await dashboard.locator("#places li").first().waitFor(SOON);
    await dashboard.close();
  }, screen);

  await test("the walkthrough of the first minute has its steps", async () => {
    await command("Welcome: Open Walkthrough...");
    await screen.rows("The First Minute with Codekin").first().click(SOON);
    for (const step of ["Install the server", "Find similar code", "Search by meaning", "Take a suggestion", "Fine-tune the model"]) {
      await page.locator(".gettingStartedContainer .step-title", { hasText: step }).first().waitFor(SOON);
    }
    await picture(screen, "walkthrough");
    await page.locator(".getting-started-step .monaco-button", { hasText: "Look for it" }).first().click(SOON);
    await page.locator(".tab.active", { hasText: "What the Doctor Found" }).waitFor(SOON);
    await page.keyboard.press("Control+W");
    await page.locator(".getting-started-step", { hasText: "Install the server" }).locator(".codicon.complete").waitFor(SOON);
    await page.keyboard.press("Control+W");
  }, screen);
}

async function failing(screen) {
  const { command, ready, status } = screen;
  await screen.openFile("retry.ex");

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

  await test("a server that is not installed is installed in the terminal by a button, and starts", async () => {
    const python = makePython();
    place.set({ "codekin.server.path": "", "codekin.interpreter": python });
    await screen.notified(`Codekin is not installed for ${python}: run`);
    await screen.press("Install in the Terminal");
    await ready();
    place.set({});
  }, screen);
}

/** A Python in which the server is not installed until pip has been asked for it. */
function makePython() {
  const [python, installed] = [join(place.base, "python"), join(place.base, "installed")];
  writeFileSync(python, `#!/bin/sh
case "$*" in
  "-m pip install codekin") touch ${installed} ;;
  "-m codekin "*) shift 2 && exec ${CODEKIN} "$@" ;;
  *) [ -e ${installed} ] && echo 3 12 1 || echo 3 12 0 ;;
esac
`, { mode: 0o755 });
  return python;
}

async function workspace(screen) {
  for (const part of [finding, searching, writing, pages, failing]) await part(screen);
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
