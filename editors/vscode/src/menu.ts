// What a click on the status bar item offers.
import * as vscode from "vscode";
import type { Server } from "./server";

interface Entry extends vscode.QuickPickItem { command: string }

const ENTRIES: readonly Entry[] = [
  { label: "$(references) Find Similar Code", command: "codekin.findSimilar" },
  { label: "$(search) Search by Meaning", command: "codekin.searchByMeaning" },
  { label: "$(lightbulb) Switch Suggestions On or Off", command: "codekin.inlineCompletion.toggle" },
  { label: "$(mortar-board) Fine-Tune Now", command: "codekin.finetuneNow" },
  { label: "$(history) Fine-Tuning History", command: "codekin.history" },
  { label: "$(graph) Dashboard", command: "codekin.openDashboard" },
  { label: "$(pulse) Find Out What Is Wrong", command: "codekin.doctor" },
  { label: "$(refresh) Restart the Server", command: "codekin.restart" },
  { label: "$(output) Show Logs", command: "codekin.showLogs" },
];

const TRUST: Entry = {
  label: "$(shield) Manage Workspace Trust", command: "workbench.trust.manage",
  description: "settings of this workspace that could start a program do not count yet",
};

export function registerMenu(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.showMenu", async () => {
      const chosen = await vscode.window.showQuickPick(vscode.workspace.isTrusted ? ENTRIES : [TRUST, ...ENTRIES], { title: server.status.message });
      if (chosen) await vscode.commands.executeCommand(chosen.command);
    }),
  );
}
