// Fine-tune now, the history of runs, and the way back.
import * as vscode from "vscode";
import type { History, Run } from "./protocol";
import type { Server } from "./server";

interface RunItem extends vscode.QuickPickItem { run?: Run }

export function registerFinetune(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.finetuneNow", () => finetune(server)),
    vscode.commands.registerCommand("codekin.history", () => history(server)),
    vscode.commands.registerCommand("codekin.rollback", () => rollback(server)),
  );
}

async function finetune(server: Server): Promise<void> {
  const answer = await server.request<{ message: string }>("codekin/finetune", {});
  if (answer) void vscode.window.showInformationMessage(answer.message);
}

async function history(server: Server): Promise<void> {
  const answer = await server.request<History>("codekin/history", {});
  if (!answer) return;
  if (!answer.runs.length) {
    const choice = await vscode.window.showInformationMessage("No fine-tuning run yet; the first is scheduled for tonight.", "Fine-Tune Now");
    if (choice) await finetune(server);
    return;
  }
  await vscode.window.showQuickPick(answer.runs.map(itemOf), { title: "Fine-tuning runs, newest first", matchOnDetail: true });
}

async function rollback(server: Server): Promise<void> {
  const answer = await server.request<History>("codekin/history", {});
  if (!answer) return;
  const base: RunItem = { label: "$(home) The model as it came", description: answer.active === "base" ? "active" : "" };
  const kept = answer.runs.filter((run) => run.checkpoint).map(itemOf);
  const chosen = await vscode.window.showQuickPick([base, ...kept], { title: "Go back to which model?" });
  if (!chosen) return;
  const done = await server.request<{ message: string }>("codekin/rollback", { checkpoint: chosen.run?.checkpoint ?? "base" });
  if (done) void vscode.window.showInformationMessage(done.message);
}

function itemOf(run: Run): RunItem {
  const gain = run.before && run.after ? `MAP ${run.before.map.toFixed(3)} → ${run.after.map.toFixed(3)}` : "";
  return { run, label: `${run.active ? "$(check) " : ""}${run.started.slice(0, 16)}  ${run.decision}`, description: gain, detail: run.reason };
}
