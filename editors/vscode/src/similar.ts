// "Find Similar Code" at the cursor or for a selection: a peek, and the Kin view.
import * as vscode from "vscode";
import type { KinTree } from "./kinTree";
import type { Hit, Hits, ShowSimilar } from "./protocol";
import type { Server } from "./server";

export function registerSimilar(context: vscode.ExtensionContext, server: Server, kin: KinTree): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.findSimilar", () => findSimilar(server, kin)),
    vscode.commands.registerCommand("codekin.showSimilar", (asked: ShowSimilar) => showSimilar(server, kin, asked)),
  );
}

async function findSimilar(server: Server, kin: KinTree): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    void vscode.window.showInformationMessage("Open a file and put the cursor into a function first.");
    return;
  }
  const { document, selection } = editor;
  const where = selection.isEmpty ? { position: selection.active } : { range: { start: selection.start, end: selection.end } };
  await showSimilar(server, kin, { uri: document.uri.toString(), ...where });
}

async function showSimilar(server: Server, kin: KinTree, asked: ShowSimilar): Promise<void> {
  const hits = asked.hits ?? (await ask(server, asked))?.hits;
  if (!hits) return;
  const uri = vscode.Uri.parse(asked.uri);
  const at = asked.position ?? asked.range?.start ?? { line: 0, character: 0 };
  const origin = new vscode.Position(at.line, at.character);
  kin.show(`Like ${vscode.workspace.asRelativePath(uri)}:${origin.line + 1}`, hits, { uri, position: origin });
  if (!hits.length) {
    void vscode.window.showInformationMessage("There is no similar code in this workspace.");
    return;
  }
  await vscode.commands.executeCommand("editor.action.peekLocations", uri, origin, hits.map(location), "peek");
}

async function ask(server: Server, asked: ShowSimilar): Promise<Hits | undefined> {
  const { uri, ...where } = asked;
  const answer = await server.request<Hits>("codekin/similar", { textDocument: { uri }, ...where, hideNoise: true });
  if (answer?.degraded) void vscode.window.setStatusBarMessage(`Codekin: ${answer.degraded}`, 5000);
  return answer;
}

/** The place of a hit as the editor names it. */
export function location(hit: Hit): vscode.Location {
  const { start, end } = hit.range;
  return new vscode.Location(vscode.Uri.parse(hit.uri), new vscode.Range(start.line, start.character, end.line, end.character));
}
