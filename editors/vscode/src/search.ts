// "Search by Meaning": a quick pick that searches as you type, and the clipboard as a snippet.
import * as vscode from "vscode";
import type { KinTree } from "./kinTree";
import { scored } from "./names";
import type { Hit, Hits } from "./protocol";
import type { Server } from "./server";
import { location } from "./similar";

const PAUSE_MS = 200;

interface HitItem extends vscode.QuickPickItem { hit: Hit }

export function registerSearch(context: vscode.ExtensionContext, server: Server, kin: KinTree): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.searchByMeaning", (text?: string) => { pick(server, kin, text ?? ""); }),
    vscode.commands.registerCommand("codekin.searchClipboard", async () => { pick(server, kin, await vscode.env.clipboard.readText()); }),
  );
}

function pick(server: Server, kin: KinTree, text: string): void {
  const box = vscode.window.createQuickPick<HitItem>();
  const source = { current: new vscode.CancellationTokenSource() };
  let timer: NodeJS.Timeout | undefined;
  let [answered, isAccepted] = ["", false];
  box.placeholder = "What does the code do? Words, or a pasted piece of code";
  box.value = text;
  const search = async (): Promise<void> => {
    source.current.cancel();
    source.current = new vscode.CancellationTokenSource();
    const [asked, { token }] = [box.value.trim(), source.current];
    await fill(box, asked, server, token);
    if (token.isCancellationRequested) return;
    answered = asked;
    if (isAccepted) await accept(box, kin);
  };
  const searchNow = (): void => { clearTimeout(timer); void search(); };
  box.onDidChangeValue(() => { clearTimeout(timer); timer = setTimeout(searchNow, PAUSE_MS); });
  // Who presses Enter before the list has caught up means what was typed, not what is still shown.
  box.onDidAccept(() => {
    isAccepted = answered !== box.value.trim() && box.selectedItems[0] === box.items[0];
    if (isAccepted) searchNow();
    else void accept(box, kin);
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
  const answer = await server.request<Hits>("codekin/search", { text }, token);
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

async function accept(box: vscode.QuickPick<HitItem>, kin: KinTree): Promise<void> {
  const chosen = box.selectedItems[0] ?? box.activeItems[0] ?? box.items[0];
  if (!chosen) return;
  kin.show(`Search: ${box.value.trim().slice(0, 60)}`, box.items.map((item) => item.hit));
  box.hide();
  const { uri, range } = location(chosen.hit);
  await vscode.window.showTextDocument(uri, { selection: new vscode.Range(range.start, range.start) });
}
