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

/** Shows the sentence with what mends it. */
export async function installAnswer({ message, command }: ServerMissing, server: { restart(): Promise<void> }): Promise<void> {
  const mends = [...(command ? [INSTALL, COPY] : []), SETTINGS, RETRY, ...(vscode.workspace.isTrusted ? [] : [TRUST])];
  switch (await vscode.window.showErrorMessage(message, ...mends)) {
    case INSTALL:
      installInTerminal(command ?? "");
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

function installInTerminal(command: string): void {
  const terminal = vscode.window.createTerminal("Install Codekin");
  terminal.show();
  terminal.sendText(command);
}
