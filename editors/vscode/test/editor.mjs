// Runs the real editor: a server with the extension in development, and a headless browser at it.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const EXTENSION = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const REPOSITORY = resolve(EXTENSION, "../..");
const MAIN = join(REPOSITORY, ".editors/vscode/node_modules/code-server/lib/vscode/out/server-main.js");
export const CODEKIN = process.env.CODEKIN ?? join(REPOSITORY, ".venv/bin/codekin");
const NODE = join(REPOSITORY, ".editors/bin/node");
process.env.CODEKIN_BUILD ??= "0.1.0+0+test"; // an edited source file would have the daemon replaced
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A folder of its own for one run: a copy of the sample, a data folder, the editor's state, a link to the server. */
export function makePlace(settings = {}) {
  const base = mkdtempSync(join(tmpdir(), "codekin-vscode-"));
  const place = { base, workspace: join(base, "storehouse"), data: join(base, "data"), result: join(base, "result.json"), server: join(base, "codekin") };
  cpSync(join(REPOSITORY, "examples/mixed"), place.workspace, { recursive: true });
  symlinkSync(CODEKIN, place.server);
  cpSync(join(EXTENSION, "test/python"), join(base, "extensions/ms-python.python-1.0.0"), { recursive: true });
  mkdirSync(join(base, "user/Machine"), { recursive: true });
  /** Writes the user's settings, which the editor takes up at once. */
  place.set = (changes) => {
    writeFileSync(join(base, "user/Machine/settings.json"), JSON.stringify({
      "codekin.server.path": place.server, "codekin.server.arguments": ["--data-dir", place.data],
      "editor.inlineSuggest.enabled": true, "files.autoSave": "off", "workbench.startupEditor": "none", "telemetry.telemetryLevel": "off",
      "workbench.secondarySideBar.defaultVisibility": "hidden", "chat.disableAIFeatures": true,
      ...settings, ...changes,
    }));
  };
  place.set({});
  place.remove = async () => {
    await run(CODEKIN, ["daemon", "stop", "--data-dir", place.data]);
    rmSync(base, { recursive: true, force: true, maxRetries: 5 });
  };
  return place;
}

/** Starts the editor's server; `stop` ends it and its extension hosts. */
export async function startEditor(place, { trusted = true } = {}) {
  const port = await freePort();
  const server = spawn(NODE, [
    MAIN, "--host", "127.0.0.1", "--port", String(port), "--without-connection-token", "--accept-server-license-terms",
    "--server-data-dir", join(place.base, `server-${port}`), "--user-data-dir", join(place.base, "user"), "--extensions-dir", join(place.base, "extensions"),
    "--enable-smoke-test-driver", "--telemetry-level", "off", "--reconnection-grace-time", "2", ...(trusted ? ["--disable-workspace-trust"] : []),
  ], { env: { ...process.env, CODEKIN_DATA_DIR: place.data, CODEKIN_CONFIG_DIR: join(place.base, "config"), CODEKIN_TEST_RESULT: place.result }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  await new Promise((ready, failed) => {
    let text = "";
    const read = (part) => { text += part; if (text.includes("Extension host agent listening")) ready(); };
    server.stdout.on("data", read);
    server.stderr.on("data", read);
    server.on("exit", () => failed(new Error(`The editor's server ended: ${text}`)));
  });
  const stop = () => {
    try { process.kill(-server.pid, "SIGKILL"); } catch { /* gone already */ }
  };
  return { port, stop };
}

/** The editor's address with the extension loaded and, if asked, its tests run inside the extension host. */
export function address(place, port, { tests = false } = {}) {
  const authority = `vscode-remote://127.0.0.1:${port}`;
  const payload = [["extensionDevelopmentPath", `${authority}${EXTENSION}`]];
  if (tests) payload.push(["extensionTestsPath", `${authority}${join(EXTENSION, "out/test/index.js")}`]);
  return `http://127.0.0.1:${port}/?folder=${place.workspace}&payload=${encodeURIComponent(JSON.stringify(payload))}`;
}

export async function openBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  return { browser, page };
}

export function run(command, args) {
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: "ignore" });
    child.on("error", () => done(-1));
    child.on("exit", (code) => done(code));
  });
}

function freePort() {
  return new Promise((found) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => { const { port } = probe.address(); probe.close(() => found(port)); });
  });
}
