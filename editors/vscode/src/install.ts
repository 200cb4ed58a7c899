// What is offered when the server is missing.
import * as vscode from "vscode";

const SETTINGS = "Open Settings";
const COPY = "Copy Install Command";
const RETRY = "Try Again";

/** Shows the sentence with what mends it. */
export async function installAnswer(message: string, server: { restart(): Promise<void> }): Promise<void> {
  switch (await vscode.window.showErrorMessage(message, COPY, SETTINGS, RETRY)) {
    case COPY:
      await vscode.env.clipboard.writeText("pip install codekin");
      break;
    case SETTINGS:
      await vscode.commands.executeCommand("workbench.action.openSettings", "codekin.server");
      break;
    case RETRY:
      await server.restart();
      break;
  }
}
