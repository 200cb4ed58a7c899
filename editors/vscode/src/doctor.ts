// The doctor: the server's own check-up, shown as a document; and what to do when there is no server.
import { execFile } from "node:child_process";
import * as vscode from "vscode";
import { findProgram } from "./find";
import { ServerMissing, offerInstall } from "./install";
import type { Server } from "./server";

/** Read-only, so that nobody is asked to save what was found. */
const FINDINGS = vscode.Uri.parse("codekin-doctor:/What the Doctor Found.txt");

export function registerDoctor(context: vscode.ExtensionContext, server: Server): void {
  let text = "";
  const changed = new vscode.EventEmitter<vscode.Uri>();
  const show = async (found: string): Promise<void> => {
    text = found;
    changed.fire(FINDINGS);
    await vscode.window.showTextDocument(FINDINGS, { preview: false }); // a preview would take the walkthrough's place
  };
  context.subscriptions.push(
    changed,
    vscode.workspace.registerTextDocumentContentProvider(FINDINGS.scheme, { onDidChange: changed.event, provideTextDocumentContent: () => text }),
    vscode.commands.registerCommand("codekin.doctor", () => examine(server, show)),
  );
}

async function examine(server: Server, show: (found: string) => Promise<void>): Promise<void> {
  try {
    const { command, arguments: before } = await findProgram();
    // The walkthrough's first step counts what comes true while it is open: what was true before does not tick it.
    await vscode.commands.executeCommand("setContext", "codekin.found", true);
    await show(await runDoctor(command, [...before, "doctor", ...folder(), ...dataFolder()]));
  } catch (error) {
    if (!(error instanceof ServerMissing)) throw error;
    await offerInstall(error, server);
  }
}

function folder(): string[] {
  return (vscode.workspace.workspaceFolders ?? []).slice(0, 1).map(({ uri }) => uri.fsPath);
}

/** The data folder that the server was told to use. */
function dataFolder(): string[] {
  const further = vscode.workspace.getConfiguration("codekin").get<string[]>("server.arguments", []);
  const at = further.indexOf("--data-dir");
  return at < 0 ? [] : further.slice(at, at + 2);
}

/** What the doctor prints; it exits with an error when it finds one, and has said so by then. */
function runDoctor(command: string, args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 120_000 }, (error, stdout, stderr) => {
      resolve(`${stdout}${stderr}` || (error?.message ?? ""));
    });
  });
}
