// Learn now, the history of what was learned, and the way back.
import * as vscode from "vscode";
import type { History, Run } from "./protocol";
import type { Server } from "./server";

interface RunItem extends vscode.QuickPickItem { run?: Run }

export function registerLearning(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.learnNow", () => learn(server)),
    vscode.commands.registerCommand("codekin.history", () => history(server)),
    vscode.commands.registerCommand("codekin.rollback", () => rollback(server)),
  );
}

async function learn(server: Server): Promise<void> {
  const answer = await server.request<{ message: string }>("codekin/learn", {});
  if (answer) void vscode.window.showInformationMessage(answer.message);
}

async function history(server: Server): Promise<void> {
  const answer = await server.request<History>("codekin/history", {});
  if (!answer) return;
  if (!answer.runs.length) {
    const choice = await vscode.window.showInformationMessage("Nothing has been learned yet: the first run is tonight.", "Learn Now");
    if (choice) await learn(server);
    return;
  }
  await vscode.window.showQuickPick(answer.runs.map(itemOf), { title: "What was learned, newest first", matchOnDetail: true });
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
