// The status bar item: what Codekin does, or what is wrong; a click offers what can be done.
import * as vscode from "vscode";
import type { Status } from "./protocol";
import type { Server } from "./server";

export function registerStatusBar(context: vscode.ExtensionContext, server: Server): vscode.StatusBarItem {
  const item = vscode.window.createStatusBarItem("codekin.status", vscode.StatusBarAlignment.Right, 90);
  item.name = "Codekin";
  item.command = "codekin.showMenu";
  const show = (status: Status): void => {
    item.text = `$(${icon(status)}) ${label(status)}`;
    item.tooltip = tooltip(status, server);
    item.backgroundColor = background(status);
  };
  show(server.status);
  item.show();
  context.subscriptions.push(item, server.onStatus(show));
  return item;
}

function icon(status: Status): string {
  if (status.kind === "Error") return "error";
  if (status.kind === "Warning") return "warning";
  return status.busy ? "sync~spin" : "references";
}

function label(status: Status): string {
  const done = sum(status, "done"), total = sum(status, "total");
  if (status.kind === "Normal" && total > 0) return `Codekin ${Math.floor((100 * done) / total)}%`;
  if (status.kind === "Normal" && finetuning(status)) return "Codekin is fine-tuning";
  return "Codekin";
}

function tooltip(status: Status, server: Server): vscode.MarkdownString {
  const lines = [status.message, finetuning(status) ?? ""].filter(Boolean);
  for (const { name, about } of status.folders ?? []) {
    if (about?.chunks) lines.push(`${name}: ${about.chunks} chunks in ${about.files ?? 0} files`);
  }
  const models = new Set((status.folders ?? []).map((folder) => folder.about?.model?.name).filter(Boolean));
  if (models.size) lines.push(`Model: ${[...models].join(", ")}`);
  if (!vscode.workspace.isTrusted) lines.push("Restricted Mode: settings of this workspace that could start a program do not count.");
  if (server.program) lines.push(`Server: \`${server.program.command}\` (${server.program.origin})`);
  return new vscode.MarkdownString(lines.join("\n\n"));
}

function finetuning(status: Status): string | undefined {
  const running = (status.folders ?? []).map((folder) => folder.about?.finetune).find((about) => about?.running);
  return running && `Fine-tuning: ${running.phase ?? "waiting"}, ${running.done ?? 0} of ${running.total ?? 0}.`;
}

function background(status: Status): vscode.ThemeColor | undefined {
  if (status.kind === "Error") return new vscode.ThemeColor("statusBarItem.errorBackground");
  return status.kind === "Warning" ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
}

function sum(status: Status, key: "done" | "total"): number {
  return (status.folders ?? []).reduce((all, folder) => all + folder[key], 0);
}
