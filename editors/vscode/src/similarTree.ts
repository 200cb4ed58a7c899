// The Similar Code view: what was found last, with score and reason. While its peek is open, the places carry their scores too.
import * as path from "node:path";
import * as vscode from "vscode";
import type { Origin } from "./compare";
import { location, scored } from "./hits";
import type { Hit } from "./protocol";

const { Keyboard, Mouse } = vscode.TextEditorSelectionChangeKind;

export class SimilarTree implements vscode.TreeDataProvider<Hit>, vscode.CodeLensProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly marksChanged = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.marksChanged.event;
  private readonly view: vscode.TreeView<Hit>;
  private marked: readonly Hit[] = [];
  hits: readonly Hit[] = [];
  origin: Origin | undefined;

  constructor(context: vscode.ExtensionContext) {
    this.view = vscode.window.createTreeView("codekin.similarView", { treeDataProvider: this });
    context.subscriptions.push(
      vscode.commands.registerCommand("codekin.similarView.clear", () => { this.show("", []); }),
      vscode.languages.registerCodeLensProvider({ scheme: "file" }, this),
      vscode.window.onDidChangeTextEditorSelection(({ kind }) => { if (kind === Keyboard || kind === Mouse) this.mark([]); }),
    );
  }

  /** Replaces what the view shows. */
  show(title: string, hits: readonly Hit[], origin?: Origin): void {
    this.hits = hits;
    this.origin = origin;
    this.view.description = title;
    this.changed.fire(undefined);
    this.mark(hits);
  }

  getChildren(parent?: Hit): Hit[] {
    return parent ? [] : [...this.hits];
  }

  getTreeItem(hit: Hit): vscode.TreeItem {
    const uri = vscode.Uri.parse(hit.uri);
    const item = new vscode.TreeItem(scored(hit));
    item.description = `${path.posix.basename(hit.path)}:${hit.code_line}  ${hit.reasons.join(", ")}`;
    item.tooltip = tooltip(hit);
    item.resourceUri = uri;
    item.iconPath = vscode.ThemeIcon.File; // of the language, as the user's icons show it
    item.contextValue = this.origin ? "similar.compared" : "similar";
    const { start } = location(hit).range;
    item.command = { title: "Open", command: "vscode.open", arguments: [uri, { selection: new vscode.Range(start, start), preview: true }] };
    return item;
  }

  /** A peek has no room for a score of its own: it stands over the code, and a click compares. */
  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const here = this.marked.filter((hit) => vscode.Uri.parse(hit.uri).toString() === document.uri.toString());
    return here.map((hit) => {
      const title = `${hit.score.toFixed(2)}  ${hit.reasons.join(", ")}`;
      const { start } = location(hit).range;
      return new vscode.CodeLens(new vscode.Range(start, start), { title, tooltip: "Compare the two", command: "codekin.compareSimilar", arguments: [hit, this.origin] });
    });
  }

  dispose(): void {
    this.view.dispose();
  }

  /** Whoever moves the cursor in a file has left the peek: the scores would be in the way. */
  private mark(hits: readonly Hit[]): void {
    if (!hits.length && !this.marked.length) return;
    this.marked = hits;
    this.marksChanged.fire();
  }
}

/** Names and paths come from the repository: they are shown as they are, never as Markdown. */
function tooltip(hit: Hit): vscode.MarkdownString {
  const text = new vscode.MarkdownString(`**${hit.score.toFixed(2)}** `).appendText(`${hit.language} ${hit.kind} ${hit.name}`);
  text.appendMarkdown("\n\n").appendText(`${hit.path}:${hit.code_line}`).appendMarkdown("\n");
  for (const reason of hit.reasons) text.appendMarkdown("\n- ").appendText(reason);
  return text;
}
