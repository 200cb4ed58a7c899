// The entry: starts the server and puts the features together. What each does stands in its own file.
import * as vscode from "vscode";
import { Server } from "./server";
import { KinTree } from "./kinTree";
import { registerCompare } from "./compare";
import { registerDashboard } from "./dashboard";
import { registerDoctor } from "./doctor";
import { registerDuplicates } from "./duplicates";
import { registerIndexing } from "./indexing";
import { registerLearning } from "./learning";
import { registerMenu } from "./menu";
import { registerProblems } from "./problems";
import { registerSearch } from "./search";
import { registerSimilar } from "./similar";
import { registerStatusBar } from "./statusBar";
import { Suggestions, registerSuggestionCommands } from "./suggestions";

/** What the extension offers to its own tests and to other extensions. */
export interface Api {
  readonly server: Server;
  readonly kin: KinTree;
  readonly statusBar: vscode.StatusBarItem;
  readonly suggestions: Suggestions;
}

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const suggestions = new Suggestions();
  const server = new Server(suggestions.middleware);
  suggestions.tell = (method, params) => { void server.notify(method, params); };
  const kin = new KinTree(context);
  context.subscriptions.push(server, suggestions, kin);
  const statusBar = registerStatusBar(context, server);
  registerMenu(context, server);
  registerSimilar(context, server, kin);
  registerSearch(context, server, kin);
  registerCompare(context, server, () => kin.origin);
  registerDuplicates(context, server, kin);
  registerSuggestionCommands(context);
  registerIndexing(context, server);
  registerLearning(context, server);
  registerDashboard(context, server);
  registerDoctor(context, server);
  registerProblems(context, server);
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.restart", () => server.restart()),
    vscode.commands.registerCommand("codekin.showLogs", () => { server.showLogs(); }),
    vscode.commands.registerCommand("codekin.showTrace", () => { server.showTrace(); }),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (["codekin.server", "codekin.interpreter"].some((key) => event.affectsConfiguration(key))) void server.restart();
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => server.restart()),
  );
  await server.start();
  return { server, kin, statusBar, suggestions };
}
