// The tests that run inside the extension host, with the whole API of the editor: `run` is called by the host.
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";
import type { Api } from "../../src/extension";
import type { History, Run, Status } from "../../src/protocol";

interface Result { name: string; ms: number; error?: string }
type Test = (api: Api) => Promise<void>;

const tests: [string, Test][] = [];
const test = (name: string, body: Test): number => tests.push([name, body]);

export async function run(): Promise<void> {
  const results: Result[] = [];
  const file = process.env["CODEKIN_TEST_RESULT"] ?? "";
  const keep = (result: Result): void => {
    results.push(result);
    fs.writeFileSync(`${file}.part`, JSON.stringify(results));
  };
  try {
    const api = await start();
    for (const [name, body] of tests) keep(await one(name, () => body(api)));
  } catch (error) {
    keep({ name: "the extension starts", ms: 0, error: String(error) });
  }
  fs.renameSync(`${file}.part`, file);
}

async function one(name: string, body: () => Promise<void>): Promise<Result> {
  const began = Date.now();
  try {
    await body();
    return { name, ms: Date.now() - began };
  } catch (error) {
    return { name, ms: Date.now() - began, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

async function start(): Promise<Api> {
  const extension = vscode.extensions.getExtension<Api>("codekin.codekin");
  assert(extension, "the extension is there");
  const api = await extension.activate();
  await until(() => `the workspace is indexed, but: ${JSON.stringify(api.server.status)}`, () => isReady(api.server.status), 180_000);
  return api;
}

function isReady(status: Status): boolean {
  return status.kind === "Normal" && !status.busy;
}

async function until(what: string | (() => string), holds: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not in time: ${typeof what === "string" ? what : what()}`);
    await new Promise((go) => setTimeout(go, 100));
  }
}

async function open(pattern: string, text: string): Promise<vscode.TextEditor> {
  const [uri] = await vscode.workspace.findFiles(pattern);
  assert(uri, pattern);
  const document = await vscode.workspace.openTextDocument(uri);
  const editor = await vscode.window.showTextDocument(document);
  const offset = document.getText().indexOf(text);
  assert(offset >= 0, `${text} in ${uri.path}`);
  const position = document.positionAt(offset);
  editor.selection = new vscode.Selection(position, position);
  return editor;
}

async function setting(key: string, value: unknown): Promise<void> {
  await vscode.workspace.getConfiguration("codekin").update(key, value, vscode.ConfigurationTarget.Workspace);
}

function script(line: string): string {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "codekin-python-")), "python");
  fs.writeFileSync(file, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  return file;
}

/** Runs a command and takes the first of what it offers. */
async function takeFirst(command: string): Promise<void> {
  let hasEnded = false;
  const ended = vscode.commands.executeCommand(command).then(() => { hasEnded = true; });
  await until(`${command} has ended`, async () => {
    await vscode.commands.executeCommand("workbench.action.acceptSelectedQuickOpenItem");
    return hasEnded;
  });
  await ended;
}

function daemon(codekin: string): number {
  const about = JSON.parse(execFileSync(codekin, ["daemon", "status", "--json"]).toString()) as { pid: number };
  return about.pid;
}

test("every command of package.json is registered", async () => {
  const extension = vscode.extensions.getExtension("codekin.codekin");
  const manifest = extension?.packageJSON as { contributes: { commands: { command: string }[] } };
  const known = new Set(await vscode.commands.getCommands(true));
  const missing = manifest.contributes.commands.map(({ command }) => command).filter((command) => !known.has(command));
  assert.deepEqual(missing, []);
});

test("the status bar item says that all is well", ({ server, statusBar }) => {
  assert.match(statusBar.text, /Codekin/);
  assert.equal(statusBar.backgroundColor, undefined, JSON.stringify(server.status));
  return Promise.resolve();
});

test("Elixir files are Elixir without another extension", async () => {
  const editor = await open("**/*.ex", "defmodule");
  assert.equal(editor.document.languageId, "elixir");
});

test("Find Similar Code fills the Similar Code view, with scores, reasons and the other language", async ({ tree }) => {
  await open("**/*retry*.ex", "def ");
  await vscode.commands.executeCommand("codekin.findSimilar");
  assert(tree.hits.length > 0);
  assert(tree.hits.every((hit) => hit.score >= 0 && hit.score <= 1 && hit.reasons.length > 0));
  assert(tree.hits.some((hit) => hit.language === "cpp"), "similar code across the languages");
  await vscode.commands.executeCommand("closeReferenceSearch");
});

test("a selection is a question too", async ({ tree }) => {
  const editor = await open("**/*.cpp", "{");
  tree.show("", []);
  editor.selection = new vscode.Selection(0, 0, editor.document.lineCount - 1, 0);
  await vscode.commands.executeCommand("codekin.findSimilar");
  assert(tree.hits.length > 0);
  await vscode.commands.executeCommand("closeReferenceSearch");
});

test("a hit of the Similar Code view is compared with the function where it was asked, and with nothing around it", async ({ tree }) => {
  await open("**/*retry*.ex", "def with_backoff");
  await vscode.commands.executeCommand("codekin.findSimilar");
  const hit = tree.hits.find(({ name }) => name.includes("retry_with_backoff"));
  assert(hit, tree.hits.map(({ name }) => name).join(", "));
  assert.equal(tree.getTreeItem(hit).contextValue, "similar.compared");
  assert.match(tree.getTreeItem(hit).label as string, /^0\.\d\d {2}retry_with_backoff$/);
  assert.match(String(tree.getTreeItem(hit).description), /^\S+\.hpp:\d+ {2}\S/);
  await vscode.commands.executeCommand("codekin.compareSimilar", hit);
  const diff = (): vscode.TabInputTextDiff | undefined => {
    const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
    return input instanceof vscode.TabInputTextDiff ? input : undefined;
  };
  await until("the diff is open", () => diff() !== undefined);
  const textOf = async (uri: vscode.Uri | undefined): Promise<string> => uri ? (await vscode.workspace.openTextDocument(uri)).getText() : "";
  const [here, there] = [await textOf(diff()?.original), await textOf(diff()?.modified)];
  assert(here.includes("def with_backoff") && !here.includes("defmodule"), here);
  assert(there.includes("retry_with_backoff") && !there.includes("#include"), there);
});

test("the scores stand over the hits until the view is cleared", async ({ tree }) => {
  const editor = await open("**/*retry*.ex", "def with_backoff");
  await vscode.commands.executeCommand("codekin.findSimilar");
  const scores = async (): Promise<string[]> => {
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>("vscode.executeCodeLensProvider", editor.document.uri, 50);
    return lenses.map(({ command }) => command?.title ?? "").filter((title) => /^0\.\d\d {2}\S/.test(title));
  };
  assert((await scores()).length > 0);
  await vscode.commands.executeCommand("codekin.similarView.clear");
  assert.deepEqual([await scores(), tree.hits], [[], []]);
  await vscode.commands.executeCommand("closeReferenceSearch");
});

test("search answers in words", async ({ server }) => {
  const answer = await server.request<{ hits: { name: string }[] }>("codekin/search", { text: "retry with backoff" });
  assert(answer && answer.hits.length > 0);
  assert(answer.hits.slice(0, 3).some((hit) => /retr/i.test(hit.name)), JSON.stringify(answer.hits.slice(0, 3)));
});

test("a lens over a function counts similar code", async () => {
  const editor = await open("**/*retry*.ex", "def ");
  await until("a lens counts", async () => {
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>("vscode.executeCodeLensProvider", editor.document.uri, 20);
    return lenses.some((lens) => /^\d+\+? similar$/.test(lens.command?.title ?? ""));
  });
});

test("a code action offers Find similar code", async () => {
  const editor = await open("**/*retry*.ex", "def ");
  const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>("vscode.executeCodeActionProvider", editor.document.uri, editor.selection);
  assert(actions.some((action) => action.title === "Find similar code"));
});

test("workspace symbols are found by meaning", async () => {
  const symbols = await vscode.commands.executeCommand<vscode.SymbolInformation[]>("vscode.executeWorkspaceSymbolProvider", "retry with backoff");
  assert(symbols.length > 0);
});

test("a new function is found without saving it", async ({ server }) => {
  const editor = await open("**/*retry*.ex", "def ");
  const end = editor.document.lineAt(editor.document.lineCount - 1).range.end;
  await editor.edit((edit) => { edit.insert(end, "\ndefmodule Zebra.Quagga do\n  def gallop(herd, speed) do\n    Enum.map(herd, fn zebra -> {zebra, speed * 2} end)\n  end\nend\n"); });
  await until("the unsaved function is found", async () => {
    const answer = await server.request<{ hits: { name: string }[] }>("codekin/search", { text: "zebra herd gallop" });
    return answer?.hits.some((hit) => hit.name.includes("Zebra")) ?? false;
  });
  await vscode.commands.executeCommand("workbench.action.files.revert");
});

test("a near-duplicate gets a hint that compares it with its duplicate", async () => {
  const [original] = await vscode.workspace.findFiles("**/retry.ex");
  assert(original);
  const copy = vscode.Uri.joinPath(original, "../second_retry.ex");
  const text = (await vscode.workspace.openTextDocument(original)).getText().replace("Storehouse.Retry", "Storehouse.SecondRetry");
  await vscode.workspace.fs.writeFile(copy, Buffer.from(text));
  await setting("similar.duplicate_hints", true);
  await vscode.window.showTextDocument(copy);
  const hint = (): vscode.Diagnostic | undefined => vscode.languages.getDiagnostics(copy).find(({ code }) => code === "near-duplicate");
  await until("a hint is there", () => hint() !== undefined);
  const range = hint()?.range;
  const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>("vscode.executeCodeActionProvider", copy, range);
  const compare = actions.find((action) => action.title.startsWith("Compare with its duplicate"))?.command;
  assert(compare, actions.map((action) => action.title).join(", "));
  await vscode.commands.executeCommand(compare.command, ...(compare.arguments as unknown[]));
  await until("the diff is open", () => vscode.window.tabGroups.activeTabGroup.activeTab?.input instanceof vscode.TabInputTextDiff);
  await setting("similar.duplicate_hints", undefined);
  await until("the hints are gone", () => hint() === undefined);
  await vscode.workspace.fs.delete(copy);
});

test("near-duplicates are offered, and the chosen ones compared", async ({ tree }) => {
  const [original] = await vscode.workspace.findFiles("**/retry.ex");
  assert(original);
  const copy = vscode.Uri.joinPath(original, "../third_retry.ex");
  const text = (await vscode.workspace.openTextDocument(original)).getText().replace("Storehouse.Retry", "Storehouse.ThirdRetry");
  await vscode.workspace.fs.writeFile(copy, Buffer.from(text));
  tree.show("", []);
  await vscode.commands.executeCommand("codekin.updateIndex");
  await takeFirst("codekin.findDuplicates");
  assert(tree.hits.length > 0);
  await until("the diff is open", () => vscode.window.tabGroups.activeTabGroup.activeTab?.input instanceof vscode.TabInputTextDiff);
  await vscode.workspace.fs.delete(copy);
});

test("the index is brought up to date, and built anew", async ({ server }) => {
  await vscode.commands.executeCommand("codekin.updateIndex");
  await vscode.commands.executeCommand("codekin.rebuildIndex");
  const answer = await server.request<{ files: number; chunks: number }>("codekin/index", {});
  assert(answer && answer.files > 20 && answer.chunks > 50, JSON.stringify(answer));
});

test("fine-tuning now leaves a run in the history, with its decision", async ({ server }) => {
  assert.deepEqual(await server.request("codekin/history", {}), { runs: [], active: "base" });
  await vscode.commands.executeCommand("codekin.finetuneNow");
  let runs: Run[] = [];
  await until(() => `the run has ended: ${JSON.stringify(runs)}`, async () => {
    runs = (await server.request<History>("codekin/history", {}))?.runs ?? [];
    return runs[0] !== undefined && runs[0].decision !== "running";
  }, 180_000);
  assert(runs[0]?.reason, JSON.stringify(runs));
  await takeFirst("codekin.history");
});

test("the way back is offered, and leads to the model as it came", async ({ server }) => {
  await takeFirst("codekin.rollback");
  assert.equal((await server.request<History>("codekin/history", {}))?.active, "base");
});

test("the menu of the status bar does what is chosen", async ({ tree }) => {
  await open("**/*retry*.ex", "def with_backoff");
  tree.show("", []);
  await takeFirst("codekin.showMenu");
  assert(tree.hits.length > 0, "the first entry finds similar code");
  await vscode.commands.executeCommand("closeReferenceSearch");
});

test("the logs open", async () => {
  await vscode.commands.executeCommand("codekin.showLogs");
  await until("they are visible", () => vscode.window.visibleTextEditors.some(({ document }) => document.uri.scheme === "output" && document.fileName.includes("Codekin")));
});

test("the messages to and from the server are written to the trace channel when the setting asks for it, and only then", async ({ server }) => {
  const lines: string[] = []; // this build of the editor has no writer of logs: what would be written is taken here
  Object.assign(server["trace"]["output"], { info: (line: string) => lines.push(line) });
  await server.request("codekin/history", {});
  assert.deepEqual(lines, []);
  await setting("trace.server", "verbose");
  await until(() => `it is written, but: ${lines.join("\n")}`, async () => {
    await server.request("codekin/history", {});
    return lines.some((line) => /Sending request 'codekin\/history[^]*Params: /.test(line));
  });
  await setting("trace.server", undefined);
  await until("nothing more is written", async () => {
    lines.length = 0;
    await server.request("codekin/history", {});
    return lines.length === 0;
  });
  await vscode.commands.executeCommand("codekin.showTrace");
  await until("the channel is visible", () => vscode.window.visibleTextEditors.some(({ document }) => document.uri.scheme === "output" && document.fileName.includes("Codekin Trace")));
});

test("the doctor's findings open as a document", async () => {
  await vscode.commands.executeCommand("codekin.doctor");
  const document = vscode.window.activeTextEditor?.document;
  assert.match(document?.getText() ?? "", /ok +daemon/);
  assert.equal(document?.isDirty, false, "nobody shall be asked to save it");
});

test("the dashboard opens inside the editor", async () => {
  await vscode.commands.executeCommand("codekin.openDashboard");
  await until("its tab is open", () => vscode.window.tabGroups.activeTabGroup.activeTab?.input instanceof vscode.TabInputWebview);
  await vscode.commands.executeCommand("workbench.action.closeActiveEditor");
});

test("after an edit the next one is shown as a diff; one command goes there, the next takes it, and one undo takes it back", async ({ nextEdit, server }) => {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  assert(folder);
  const uri = vscode.Uri.joinPath(folder, "lib", "next_edit.ex");
  const text = ["defmodule NextEdit do", "  def load_everything(path), do: path", "", ...Array<string>(40).fill("  # far away"), "  def go(path), do: load_everything(path)", "end", ""].join("\n");
  await vscode.workspace.fs.writeFile(uri, Buffer.from(text));
  const editor = await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri));
  const { document } = editor;
  const name = document.lineAt(1).range.with(new vscode.Position(1, 6), new vscode.Position(1, 21));
  editor.selection = new vscode.Selection(name.start, name.start);
  await editor.edit((builder) => { builder.replace(name, "read_everything"); });
  await until(() => `it is shown, but: ${JSON.stringify(server.status)}`, () => nextEdit.current !== undefined);
  assert.equal(nextEdit.current?.text, "  def go(path), do: read_everything(path)");
  await vscode.commands.executeCommand("codekin.nextEdit.accept");
  await until("the cursor is there", () => editor.selection.active.line === nextEdit.current?.range.start.line);
  const before = document.getText();
  await vscode.commands.executeCommand("codekin.nextEdit.accept");
  await until("it is taken", () => document.getText().includes("do: read_everything(path)"));
  await vscode.commands.executeCommand("undo");
  assert.equal(document.getText(), before);
  await vscode.commands.executeCommand("workbench.action.revertAndCloseActiveEditor");
  await vscode.workspace.fs.delete(uri);
});

test("switching suggestions off and on again is kept in the settings", async () => {
  const enabled = (): boolean => vscode.workspace.getConfiguration("codekin").get<boolean>("completion.enabled", true);
  await vscode.commands.executeCommand("codekin.inlineCompletion.toggle");
  assert.equal(enabled(), false);
  await vscode.commands.executeCommand("codekin.inlineCompletion.toggle");
  assert.equal(enabled(), true);
});

test("suggestions of one language are switched off and on again", async () => {
  await open("**/*.ex", "defmodule");
  const off = (): string[] => vscode.workspace.getConfiguration("codekin").get<string[]>("completion.languages_off", []);
  const before = off();
  await vscode.commands.executeCommand("codekin.inlineCompletion.toggleLanguage");
  assert.deepEqual(off(), [...before, "elixir"]);
  await vscode.commands.executeCommand("codekin.inlineCompletion.toggleLanguage");
  assert.deepEqual(off(), before);
});

test("the status bar item tells how far the index is, that it is fine-tuning, and what is wrong", ({ server, statusBar }) => {
  const before = server.status;
  const folder = { name: "x", root: "/x", done: 0, total: 0 };
  const states: [Status, RegExp, boolean][] = [
    [{ busy: true, kind: "Normal", message: "m", folders: [{ ...folder, done: 42, total: 100 }] }, /sync~spin.* Codekin 42%$/, false],
    [{ busy: false, kind: "Normal", message: "m", folders: [{ ...folder, about: { finetune: { running: true, phase: "training", done: 1, total: 3 } } }] }, /Codekin is fine-tuning$/, false],
    [{ busy: false, kind: "Error", message: "It is gone.", folders: [] }, /error.* Codekin$/, true],
    [{ busy: false, kind: "Warning", message: "It is empty.", folders: [] }, /warning.* Codekin$/, true],
  ];
  for (const [status, text, coloured] of states) {
    server["setStatus"](status);
    assert.match(statusBar.text, text);
    assert.equal(statusBar.backgroundColor !== undefined, coloured);
    assert((statusBar.tooltip as vscode.MarkdownString).value.includes(status.message));
  }
  server["setStatus"](before);
  return Promise.resolve();
});

test("a killed daemon is told of, and comes back", async ({ server }) => {
  const told: string[] = [];
  const listening = server.onStatus((status) => told.push(status.kind));
  process.kill(daemon(server.program?.command ?? ""), "SIGKILL");
  await until("it is told of", () => told.includes("Error"));
  await until("it is ready again", () => isReady(server.status), 180_000);
  listening.dispose();
});

const broken: [string, string, string | undefined, RegExp][] = [
  ["a program that is not there", "server.path", "/nowhere/codekin", /server\.path names \/nowhere\/codekin, which is no program/],
  ["a Python that is too old", "interpreter", "echo 3 9 0", /is Python 3\.9, and Codekin needs 3\.11 or newer/],
  ["a Python without the package", "interpreter", 'exec python3 -I "$@"', /Codekin is not installed for .*: run `.* -m pip install codekin`/],
  ["no Python at all", "interpreter", "exit 1", /is no Python that can be started/],
];
for (const [what, key, value, sentence] of broken) {
  test(`${what} is told in one sentence, and mended by the setting`, async ({ server }) => {
    if (key === "interpreter") await setting("server.path", "");
    await setting(key, key === "interpreter" ? script(value ?? "") : value);
    await until(() => `the sentence, but: ${server.status.message}`, () => sentence.test(server.status.message));
    assert.equal(server.status.kind, "Error");
    await vscode.commands.executeCommand("notifications.clearAll");
    await setting(key, undefined);
    await setting("server.path", undefined);
    await until(() => `it is ready again, but: ${server.status.message}`, () => isReady(server.status), 180_000);
  });
}

test("without a setting, the selected interpreter serves, then the PATH; without both, one sentence says how to install it", async ({ server }) => {
  const folder = path.dirname(fs.realpathSync(server.program?.command ?? ""));
  const search = process.env["PATH"] ?? "";
  process.env["CODEKIN_TEST_PYTHON"] = path.join(folder, "python");
  await setting("server.path", "");
  await until(() => `the interpreter serves, but: ${server.status.message}`, () => server.program?.origin === "the selected Python interpreter" && isReady(server.status), 180_000);
  delete process.env["CODEKIN_TEST_PYTHON"];
  process.env["PATH"] = `${folder}${path.delimiter}${search}`;
  await server.restart();
  await until(() => `the PATH serves, but: ${server.status.message}`, () => server.program?.origin === "the PATH" && isReady(server.status), 180_000);
  process.env["PATH"] = search.split(path.delimiter).filter((part) => !fs.existsSync(path.join(part, "codekin"))).join(path.delimiter);
  await server.restart();
  assert.match(server.status.message, /Codekin's server is not installed: run `pip install codekin`/);
  await vscode.commands.executeCommand("notifications.clearAll");
  process.env["PATH"] = search;
  await setting("server.path", undefined);
  await until(() => `it is ready again, but: ${server.status.message}`, () => isReady(server.status), 180_000);
});

test("the server can be restarted", async ({ server }) => {
  await vscode.commands.executeCommand("codekin.restart");
  await until("it is ready again", () => isReady(server.status));
});
