// The entry: starts the server and puts the features together. What each does stands in its own file.
import * as vscode from "vscode";
import { Server } from "./server";
import { SimilarTree } from "./similarTree";
import { registerCompare } from "./compare";
import { registerDashboard } from "./dashboard";
import { registerDoctor } from "./doctor";
import { registerDuplicates } from "./duplicates";
import { registerIndexing } from "./indexing";
import { registerFinetune } from "./finetune";
import { registerMenu } from "./menu";
import { NextEditView } from "./nextEdit";
import { registerProblems } from "./problems";
import { registerSearch } from "./search";
import { registerSimilar } from "./similar";
import { registerStatusBar } from "./statusBar";
import { Suggestions, registerSuggestionCommands } from "./suggestions";

/** What the extension offers to its own tests and to other extensions. */
export interface Api {
  readonly server: Server;
  readonly tree: SimilarTree;
  readonly statusBar: vscode.StatusBarItem;
  readonly suggestions: Suggestions;
  readonly nextEdit: NextEditView;
}

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const suggestions = new Suggestions();
  const server = new Server(suggestions.middleware);
  suggestions.notify = (method, params) => { void server.notify(method, params); };
  const tree = new SimilarTree(context);
  const nextEdit = new NextEditView(server);
  context.subscriptions.push(server, suggestions, tree, nextEdit);
  const statusBar = registerStatusBar(context, server);
  registerMenu(context, server);
  registerSimilar(context, server, tree);
  registerSearch(context, server, tree);
  registerCompare(context, server, () => tree.origin);
  registerDuplicates(context, server, tree);
  registerSuggestionCommands(context);
  registerIndexing(context, server);
  registerFinetune(context, server);
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
  return { server, tree, statusBar, suggestions, nextEdit };
}
