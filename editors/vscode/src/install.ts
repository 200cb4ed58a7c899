// What is offered when there is no server that can be started.
import * as vscode from "vscode";

const SETTINGS = "Open Settings";
const COPY = "Copy Install Command";
const RETRY = "Try Again";
const TRUST = "Manage Workspace Trust";

/** Why there is no server: one sentence for the user; `command` installs it. */
export class ServerMissing extends Error {
  constructor(message: string, readonly command = "pip install codekin") {
    super(message);
  }
}

/** Shows the sentence with what mends it. */
export async function installAnswer(error: ServerMissing, server: { restart(): Promise<void> }): Promise<void> {
  const trust = vscode.workspace.isTrusted ? [] : [TRUST];
  switch (await vscode.window.showErrorMessage(error.message, COPY, SETTINGS, RETRY, ...trust)) {
    case COPY:
      await vscode.env.clipboard.writeText(error.command);
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
