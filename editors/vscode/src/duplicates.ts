// Near-duplicates of the whole workspace: groups to choose from, then compared side by side.
import * as vscode from "vscode";
import { chunkOf } from "./compare";
import type { Origin } from "./compare";
import type { SimilarTree } from "./similarTree";
import { shortName } from "./hits";
import type { Groups, Hit } from "./protocol";
import type { Server } from "./server";

interface GroupItem extends vscode.QuickPickItem { group: Hit[] }

export function registerDuplicates(context: vscode.ExtensionContext, server: Server, tree: SimilarTree): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.findDuplicates", () => show(server, tree)),
    vscode.languages.registerCodeActionsProvider({ scheme: "file" }, { provideCodeActions }, { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] }),
  );
}

/** A hint on a near-duplicate carries its duplicate: the two can be seen side by side. */
function provideCodeActions(document: vscode.TextDocument, _range: vscode.Range, context: vscode.CodeActionContext): vscode.CodeAction[] {
  return context.diagnostics.flatMap((hint) => {
    const duplicate = duplicateOf(hint);
    if (!duplicate) return [];
    const title = `Compare with its duplicate ${shortName(duplicate)}`;
    const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
    const origin: Origin = { uri: document.uri, position: hint.range.start };
    action.command = { title, command: "codekin.compareSimilar", arguments: [duplicate, origin] };
    action.diagnostics = [hint];
    return [action];
  });
}

function duplicateOf(hint: vscode.Diagnostic & { data?: { duplicate?: Hit } }): Hit | undefined {
  return hint.source === "codekin" ? hint.data?.duplicate : undefined;
}

async function show(server: Server, tree: SimilarTree): Promise<void> {
  const answer = await server.request<Groups>("codekin/duplicates", {});
  if (!answer) return;
  if (!answer.groups.length) {
    void vscode.window.showInformationMessage("There are no near-duplicates in this workspace.");
    return;
  }
  const chosen = await vscode.window.showQuickPick(answer.groups.map(itemOf), { placeHolder: "Places that say nearly the same" });
  const [first, second] = chosen?.group ?? [];
  if (!chosen || !first) return;
  const chunk = chunkOf(first);
  const origin = { ...chunk, position: chunk.range.start };
  tree.show(`Like ${shortName(first)}`, chosen.group.slice(1), origin);
  if (second) await vscode.commands.executeCommand("codekin.compareSimilar", second, origin);
}

function itemOf(group: Hit[]): GroupItem {
  const [first] = group;
  return { group, label: first?.name ?? "", description: `${group.length} places`, detail: group.map((hit) => `${hit.path}:${hit.code_line}`).join("  ") };
}
