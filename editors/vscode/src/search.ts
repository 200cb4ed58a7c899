// "Search by Meaning": a quick pick that searches as you type, and the clipboard as a snippet.
import * as vscode from "vscode";
import type { SimilarTree } from "./similarTree";
import { location, scored } from "./hits";
import type { Hit, Hits } from "./protocol";
import type { Server } from "./server";

const PAUSE_MS = 200;

interface HitItem extends vscode.QuickPickItem { hit: Hit }

export function registerSearch(context: vscode.ExtensionContext, server: Server, tree: SimilarTree): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.searchByMeaning", (text?: string) => { pick(server, tree, text ?? ""); }),
    vscode.commands.registerCommand("codekin.searchClipboard", async () => { pick(server, tree, await vscode.env.clipboard.readText()); }),
  );
}

function pick(server: Server, tree: SimilarTree, text: string): void {
  const box = vscode.window.createQuickPick<HitItem>();
  const source = { current: new vscode.CancellationTokenSource() };
  let timer: NodeJS.Timeout | undefined;
  let [shownQuery, isAccepted] = ["", false];
  box.placeholder = "What does the code do? Words, or a pasted piece of code";
  box.value = text;
  const search = async (): Promise<void> => {
    source.current.cancel();
    source.current = new vscode.CancellationTokenSource();
    const [query, { token }] = [box.value.trim(), source.current];
    await fill(box, query, server, token);
    if (token.isCancellationRequested) return;
    shownQuery = query;
    if (isAccepted) await accept(box, tree);
  };
  const searchNow = (): void => { clearTimeout(timer); void search(); };
  box.onDidChangeValue(() => { clearTimeout(timer); timer = setTimeout(searchNow, PAUSE_MS); });
  // Who presses Enter before the list has caught up means what was typed, not what is still shown.
  box.onDidAccept(() => {
    isAccepted = shownQuery !== box.value.trim() && box.selectedItems[0] === box.items[0];
    if (isAccepted) searchNow();
    else void accept(box, tree);
  });
  box.onDidHide(() => { clearTimeout(timer); source.current.cancel(); box.dispose(); });
  box.show();
  if (text) searchNow();
}

async function fill(box: vscode.QuickPick<HitItem>, text: string, server: Server, token: vscode.CancellationToken): Promise<void> {
  if (!text) {
    box.items = [];
    return;
  }
  box.busy = true;
  const answer = await server.request<Hits>("codekin/search", { text, near: vscode.window.activeTextEditor?.document.uri.toString() }, token);
  if (token.isCancellationRequested) return;
  box.busy = false;
  box.items = (answer?.hits ?? []).map(itemOf);
}

/** The list is already in order and already filtered: the editor shall show it all. */
function itemOf(hit: Hit): HitItem {
  return {
    hit,
    label: scored(hit),
    description: `${hit.path}:${hit.code_line}`,
    detail: [`${hit.language} ${hit.kind}`, ...hit.reasons].join(", "),
    alwaysShow: true,
  };
}

async function accept(box: vscode.QuickPick<HitItem>, tree: SimilarTree): Promise<void> {
  const chosen = box.selectedItems[0] ?? box.activeItems[0] ?? box.items[0];
  if (!chosen) return;
  tree.show(`Search: ${box.value.trim().slice(0, 60)}`, box.items.map((item) => item.hit));
  box.hide();
  const { uri, range } = location(chosen.hit);
  await vscode.window.showTextDocument(uri, { selection: new vscode.Range(range.start, range.start) });
}
