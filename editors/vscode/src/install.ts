// What is offered when there is no server that can be started.
import * as vscode from "vscode";

const INSTALL = "Install in the Terminal";
const COPY = "Copy Install Command";
const SETTINGS = "Open Settings";
const RETRY = "Try Again";
const TRUST = "Manage Workspace Trust";

/** Why there is no server: one sentence for the user; `command` installs it, where that is what mends it. */
export class ServerMissing extends Error {
  constructor(message: string, readonly command?: string) {
    super(message);
  }
}

interface Restarted { restart(): Promise<void> }

/** Shows the sentence with what mends it. */
export async function offerInstall(missing: ServerMissing, server: Restarted): Promise<void> {
  const { message, command } = missing;
  const mends = [...(command ? [INSTALL, COPY] : []), SETTINGS, RETRY, ...(vscode.workspace.isTrusted ? [] : [TRUST])];
  switch (await vscode.window.showErrorMessage(message, ...mends)) {
    case INSTALL:
      if ((await inTerminal(command ?? "")) === 0) await server.restart();
      else await offerInstall(missing, server);
      break;
    case COPY:
      await vscode.env.clipboard.writeText(command ?? "");
      break;
    case SETTINGS:
      await vscode.commands.executeCommand("workbench.action.openSettings", "codekin.server.path codekin.interpreter");
      break;
    case RETRY:
      await server.restart();
      break;
    case TRUST:
      await vscode.commands.executeCommand("workbench.trust.manage");
      break;
  }
}

/** Runs a command where the user can see it; gives its exit code once it has ended, undefined if it was ended. */
async function inTerminal(command: string): Promise<number | undefined> {
  const task = new vscode.Task({ type: "codekin" }, vscode.TaskScope.Workspace, "Install Codekin", "Codekin", new vscode.ShellExecution(command));
  const execution = await vscode.tasks.executeTask(task);
  return await new Promise((ended) => {
    const listening = vscode.tasks.onDidEndTaskProcess((event) => {
      if (event.execution !== execution) return;
      listening.dispose();
      ended(event.exitCode);
    });
  });
}
