// The index by hand: brought up to date, or built anew; by itself it follows the files.
import * as vscode from "vscode";
import type { Server } from "./server";

interface Indexed { files: number; chunks: number; embedded: number; reused: number; skipped: number; seconds: number }

export function registerIndexing(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.updateIndex", () => index(server, false)),
    vscode.commands.registerCommand("codekin.rebuildIndex", () => index(server, true)),
  );
}

async function index(server: Server, rebuild: boolean): Promise<void> {
  const options = { location: vscode.ProgressLocation.Notification, title: rebuild ? "Codekin builds the index anew" : "Codekin looks at every file" };
  const answer = await vscode.window.withProgress(options, () => server.request<Indexed>("codekin/index", { rebuild }));
  if (!answer) return;
  const { chunks, files, skipped, seconds } = answer;
  void vscode.window.showInformationMessage(`${chunks} chunks in ${files} files are indexed, ${skipped} files were left out (${seconds.toFixed(1)} s).`);
}
