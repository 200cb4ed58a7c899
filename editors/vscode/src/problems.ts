// Problems that last are reported once, each with what mends it; what heals by itself shows in the status bar alone.
import * as vscode from "vscode";
import type { Status } from "./protocol";
import type { Server } from "./server";

const LASTING_MS = 10_000;
const DOCTOR = "Find Out What Is Wrong";
const REASONS = "Show What Is Left Out";
const RESTART = "Restart";

export function registerProblems(context: vscode.ExtensionContext, server: Server): void {
  const reported = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  const look = (status: Status): void => {
    clearTimeout(timer);
    const { kind, message } = status;
    if ((kind !== "Warning" && kind !== "Error") || !server.running || reported.has(message)) return;
    timer = setTimeout(() => { reported.add(message); void report(server, status); }, kind === "Error" ? LASTING_MS : 0);
  };
  context.subscriptions.push(server.onStatus(look), { dispose: () => { clearTimeout(timer); } });
}

async function report(server: Server, { kind, message, folders }: Status): Promise<void> {
  const empty = (folders ?? []).some(({ about }) => about?.state === "ready" && !about.chunks);
  const mend = kind === "Error" ? RESTART : empty ? REASONS : DOCTOR;
  const chosen = await vscode.window.showWarningMessage(message, mend, ...(mend === DOCTOR ? [] : [DOCTOR]));
  if (chosen === RESTART) await server.restart();
  if (chosen === REASONS) await vscode.commands.executeCommand("codekin.openDashboard");
  if (chosen === DOCTOR) await vscode.commands.executeCommand("codekin.doctor");
}
