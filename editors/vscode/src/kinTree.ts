// The "Kin" view: what was found last, with score and reason, and a diff against where it was asked.
import * as vscode from "vscode";
import type { Hit } from "./protocol";
import { location } from "./similar";

/** Where the question was asked. */
export interface Origin { uri: vscode.Uri; position: vscode.Position }

const ICONS: Record<string, string> = { elixir: "symbol-function", cpp: "symbol-method", c: "symbol-method", python: "symbol-namespace" };

export class KinTree implements vscode.TreeDataProvider<Hit>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly view: vscode.TreeView<Hit>;
  hits: readonly Hit[] = [];
  origin: Origin | undefined;

  constructor(context: vscode.ExtensionContext) {
    this.view = vscode.window.createTreeView("codekin.kin", { treeDataProvider: this });
    context.subscriptions.push(
      vscode.commands.registerCommand("codekin.kin.clear", () => { this.show("", []); }),
      vscode.commands.registerCommand("codekin.compareWithTwin", (hit: Hit, origin?: Origin) => compare(hit, origin ?? this.origin)),
    );
  }

  /** Replaces what the view shows. */
  show(title: string, hits: readonly Hit[], origin?: Origin): void {
    this.hits = hits;
    this.origin = origin;
    this.view.description = title;
    this.changed.fire(undefined);
  }

  getChildren(parent?: Hit): Hit[] {
    return parent ? [] : [...this.hits];
  }

  getTreeItem(hit: Hit): vscode.TreeItem {
    const item = new vscode.TreeItem(hit.name || hit.path);
    item.description = `${hit.score.toFixed(2)}  ${hit.path}:${hit.start_line}`;
    item.tooltip = new vscode.MarkdownString(`**${hit.score.toFixed(2)}** ${hit.language} ${hit.kind}\n\n${hit.reasons.map((reason) => `- ${reason}`).join("\n")}`);
    item.iconPath = new vscode.ThemeIcon(ICONS[hit.language] ?? "symbol-misc");
    item.contextValue = this.origin ? "kin.compared" : "kin";
    item.command = { title: "Open", command: "vscode.open", arguments: [vscode.Uri.parse(hit.uri), { selection: location(hit).range, preview: true }] };
    return item;
  }

  dispose(): void {
    this.view.dispose();
  }
}

/** The diff of a hit against the function where the question was asked. */
async function compare(hit: Hit, origin: Origin | undefined): Promise<void> {
  if (!origin) return;
  const there = location(hit);
  await vscode.commands.executeCommand(
    "vscode.diff", origin.uri, there.uri, `${vscode.workspace.asRelativePath(origin.uri)} ↔ ${hit.name || hit.path}`,
    { selection: there.range, preview: true },
  );
}
