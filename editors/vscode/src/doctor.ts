// The doctor: the server's own check-up, shown as a document; and what to do when there is no server.
import { execFile } from "node:child_process";
import * as vscode from "vscode";
import { findProgram } from "./find";
import { installAnswer } from "./install";
import type { Server } from "./server";

export function registerDoctor(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(vscode.commands.registerCommand("codekin.doctor", () => examine(server)));
}

async function examine(server: Server): Promise<void> {
  try {
    const { command, arguments: before } = await findProgram();
    const text = await runDoctor(command, [...before, "doctor"]);
    const document = await vscode.workspace.openTextDocument({ content: text, language: "plaintext" });
    await vscode.window.showTextDocument(document, { preview: true });
  } catch (error) {
    await installAnswer(error instanceof Error ? error.message : String(error), server);
  }
}

/** What the doctor prints; it exits with an error when it finds one, and has said so by then. */
function runDoctor(command: string, args: string[]): Promise<string> {
  const cwd = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  return new Promise((resolve) => {
    execFile(command, args, { timeout: 60_000, ...(cwd ? { cwd } : {}) }, (error, stdout, stderr) => {
      resolve(`${stdout}${stderr}` || (error?.message ?? ""));
    });
  });
}
