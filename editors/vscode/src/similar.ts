// "Find Similar Code" at the cursor or for a selection: a peek, and the Similar Code view.
import * as vscode from "vscode";
import { location } from "./hits";
import type { Hits, ShowSimilar } from "./protocol";
import type { Server } from "./server";
import type { SimilarTree } from "./similarTree";

export function registerSimilar(context: vscode.ExtensionContext, server: Server, tree: SimilarTree): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.findSimilar", () => findSimilar(server, tree)),
    vscode.commands.registerCommand("codekin.showSimilar", (request: ShowSimilar) => showSimilar(server, tree, request)),
  );
}

async function findSimilar(server: Server, tree: SimilarTree): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    void vscode.window.showInformationMessage("Open a file and put the cursor into a function first.");
    return;
  }
  const { document, selection } = editor;
  const where = selection.isEmpty ? { position: selection.active } : { range: { start: selection.start, end: selection.end } };
  await showSimilar(server, tree, { uri: document.uri.toString(), ...where });
}

async function showSimilar(server: Server, tree: SimilarTree, request: ShowSimilar): Promise<void> {
  const hits = request.hits ?? (await requestSimilar(server, request))?.hits;
  if (!hits) return;
  const uri = vscode.Uri.parse(request.uri);
  const at = request.position ?? request.range?.start ?? { line: 0, character: 0 };
  const origin = new vscode.Position(at.line, at.character);
  tree.show(`Like ${vscode.workspace.asRelativePath(uri)}:${origin.line + 1}`, hits, { uri, position: origin });
  if (!hits.length) {
    void vscode.window.showInformationMessage("There is no similar code in this workspace.");
    return;
  }
  await vscode.commands.executeCommand("editor.action.peekLocations", uri, origin, hits.map(location), "peek");
}

async function requestSimilar(server: Server, request: ShowSimilar): Promise<Hits | undefined> {
  const { uri, ...where } = request;
  const answer = await server.request<Hits>("codekin/similar", { textDocument: { uri }, ...where, hideNoise: true });
  if (answer?.degraded) void vscode.window.setStatusBarMessage(`Codekin: ${answer.degraded}`, 5000);
  return answer;
}
