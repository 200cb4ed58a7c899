// After an edit: where must the same be done? Shows the likeliest place as a diff, by decorations alone.
//
// Tab goes there, or takes it where the cursor is there already; Escape dismisses it. Ghost text and menus come first:
// the keys are bound only while neither is visible.
import * as vscode from "vscode";
import type { NextEdit, NextEdits } from "./protocol";
import type { Server } from "./server";

const DELAY_MS = 300; // after the last change, behind the ghost text
const VISIBLE = "codekin.nextEditVisible";

export class NextEditView implements vscode.Disposable {
  private shown: NextEdit | undefined;
  private timer: NodeJS.Timeout | undefined;
  private asking: vscode.CancellationTokenSource | undefined;
  private readonly old = vscode.window.createTextEditorDecorationType({
    backgroundColor: new vscode.ThemeColor("diffEditor.removedTextBackground"), isWholeLine: true,
  });
  private readonly fresh = vscode.window.createTextEditorDecorationType({
    after: { color: new vscode.ThemeColor("editorGhostText.foreground"), backgroundColor: new vscode.ThemeColor("diffEditor.insertedTextBackground"), margin: "0 0 0 2em" },
  });
  private readonly watching: vscode.Disposable[];

  constructor(private readonly server: Server) {
    this.watching = [
      vscode.workspace.onDidChangeTextDocument((event) => { this.textChanged(event); }),
      vscode.window.onDidChangeActiveTextEditor(() => { this.draw(); }),
      vscode.commands.registerCommand("codekin.nextEdit.accept", () => this.accept()),
      vscode.commands.registerCommand("codekin.nextEdit.dismiss", () => this.dismiss()),
    ];
  }

  /** What is on the screen. */
  get current(): NextEdit | undefined {
    return this.shown;
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.asking?.cancel();
    vscode.Disposable.from(...this.watching, this.old, this.fresh).dispose();
  }

  private textChanged({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
    if (contentChanges.length === 0 || document !== vscode.window.activeTextEditor?.document) return;
    this.show(undefined);
    clearTimeout(this.timer);
    this.asking?.cancel();
    this.timer = setTimeout(() => void this.ask(document), DELAY_MS);
  }

  private async ask(document: vscode.TextDocument): Promise<void> {
    if (!vscode.workspace.getConfiguration("codekin", document).get<boolean>("next_edit.enabled", true)) return;
    const asking = this.asking = new vscode.CancellationTokenSource();
    const { version } = document;
    const textDocument = { uri: document.uri.toString() };
    const answer = await this.server.request<NextEdits>("codekin/nextEdit", { textDocument }, asking.token).catch(() => undefined);
    if (asking.token.isCancellationRequested || document.version !== version) return;
    this.show(answer?.edits[0]);
  }

  private show(edit: NextEdit | undefined): void {
    this.shown = edit;
    void vscode.commands.executeCommand("setContext", VISIBLE, edit !== undefined);
    this.draw();
  }

  private draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      const here = this.shown && isIn(editor, this.shown) ? this.shown : undefined;
      editor.setDecorations(this.old, here?.oldText ? [rangeOf(here)] : []);
      editor.setDecorations(this.fresh, here ? [newText(editor, here)] : pointer(editor, this.shown));
    }
  }

  /** Goes to the edit, or takes it as one step of undo. */
  private async accept(): Promise<void> {
    const edit = this.shown;
    const editor = vscode.window.activeTextEditor;
    if (!edit || !editor) return;
    const range = rangeOf(edit);
    if (isIn(editor, edit) && isAt(editor, range)) {
      this.show(undefined);
      await editor.edit((builder) => { builder.replace(range, edit.text); }, { undoStopBefore: true, undoStopAfter: true });
      return;
    }
    const opened = await vscode.window.showTextDocument(vscode.Uri.parse(edit.textDocument.uri));
    const line = opened.document.lineAt(Math.min(range.start.line, opened.document.lineCount - 1));
    const start = line.range.start.with(undefined, line.firstNonWhitespaceCharacterIndex);
    opened.selection = new vscode.Selection(start, start);
    opened.revealRange(range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.show(edit);
  }

  private async dismiss(): Promise<void> {
    const edit = this.shown;
    this.show(undefined);
    if (edit) await this.server.notify("codekin/dismissNextEdit", { id: edit.id });
  }
}

function rangeOf({ range: { start, end } }: NextEdit): vscode.Range {
  return new vscode.Range(start.line, start.character, end.line, end.character);
}

function isIn(editor: vscode.TextEditor, edit: NextEdit): boolean {
  return editor.document.uri.toString() === vscode.Uri.parse(edit.textDocument.uri).toString();
}

function isAt(editor: vscode.TextEditor, range: vscode.Range): boolean {
  const line = editor.selection.active.line;
  return line >= Math.min(range.start.line, editor.document.lineCount - 1) && line <= range.end.line;
}

/** The new lines behind the last old one, as decorations can show them; the whole text on hovering. */
function newText(editor: vscode.TextEditor, edit: NextEdit): vscode.DecorationOptions {
  const last = Math.min(rangeOf(edit).start.line + Math.max(edit.oldText.split("\n").length - 1, 0), editor.document.lineCount - 1);
  const lines = edit.text.split("\n").map((line) => line.trim()).filter(Boolean);
  const hoverMessage = new vscode.MarkdownString().appendCodeblock(edit.text, editor.document.languageId);
  const contentText = lines.length ? `→ ${lines.join(" ⏎ ")}` : "→ (deleted)";
  return { range: editor.document.lineAt(last).range, hoverMessage, renderOptions: { after: { contentText } } };
}

/** Where the next edit is, beside the cursor in another file. */
function pointer(editor: vscode.TextEditor, edit: NextEdit | undefined): vscode.DecorationOptions[] {
  if (!edit || editor !== vscode.window.activeTextEditor) return [];
  const name = edit.textDocument.uri.split("/").pop() ?? "";
  const contentText = `next edit: ${decodeURIComponent(name)}:${String(edit.range.start.line + 1)}`;
  return [{ range: editor.document.lineAt(editor.selection.active.line).range, renderOptions: { after: { contentText } } }];
}
