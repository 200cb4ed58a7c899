// What became of each suggestion, told to the server; and the switches for suggesting.
//
// The editor tells of a whole acceptance by running the command that the suggestion carries. What was
// shown, taken in part or left is seen from what was offered and from how the text went on.
import * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";

interface Offered { id: string; text: string; uri: string; offset: number; accepted: number }

type Notify = (method: string, params: unknown) => void;
type Provide = NonNullable<Middleware["provideInlineCompletionItems"]>;

export class Suggestions implements vscode.Disposable {
  private offered: Offered | undefined;
  private readonly watching: vscode.Disposable;
  /** Set by the server's owner; kept apart so that a test can listen. */
  notify: Notify = () => undefined;

  constructor() {
    this.watching = vscode.workspace.onDidChangeTextDocument((event) => { this.textChanged(event); });
  }

  /** Stands between the editor and the server: what passes through is what the editor may show. */
  readonly middleware: Middleware = {
    provideInlineCompletionItems: async (...[document, position, context, token, next]: Parameters<Provide>) => {
      const answer = await next(document, position, context, token);
      const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
      if (!token.isCancellationRequested) this.offer(document, position, items[0]);
      return answer;
    },
    executeCommand: async (command, args: unknown[], next) => {
      if (command === "codekin.didAccept") this.accepted(idIn(args[0]));
      return await (next(command, args) as Promise<unknown>);
    },
  };

  /** The command of a suggestion ran: all of it was taken. */
  accepted(id: string | undefined): void {
    if (this.offered?.id === id) this.offered = undefined;
  }

  dispose(): void {
    this.watching.dispose();
  }

  private offer(document: vscode.TextDocument, position: vscode.Position, item: vscode.InlineCompletionItem | undefined): void {
    const id = idOf(item);
    if (this.offered && this.offered.id !== id && !continues(this.offered, document, position)) this.leave(this.offered);
    if (!item || !id || this.offered?.id === id) return;
    const text = typeof item.insertText === "string" ? item.insertText : item.insertText.value;
    const from = item.range ? document.offsetAt(item.range.start) : document.offsetAt(position);
    this.offered = { id, text, uri: document.uri.toString(), offset: from, accepted: 0 };
    this.notify("codekin/didShow", { id });
  }

  private leave(offered: Offered, reason?: "typed"): void {
    this.offered = undefined;
    if (!offered.accepted) this.notify("codekin/didReject", reason ? { id: offered.id, reason } : { id: offered.id });
  }

  /** A part was taken when more than one character of it came in at its place at once; other text means that it was left. */
  private textChanged(event: vscode.TextDocumentChangeEvent): void {
    const offered = this.offered;
    const change = event.contentChanges[0];
    if (!offered || !change || event.document.uri.toString() !== offered.uri) return;
    const typed = event.document.getText().slice(offered.offset, change.rangeOffset + change.text.length);
    if (!offered.text.startsWith(typed)) {
      this.leave(offered, "typed");
    } else if (change.text.length > 1 && typed.length < offered.text.length) {
      offered.accepted = typed.length;
      this.notify("codekin/didPartiallyAccept", { id: offered.id, acceptedLength: typed.length });
    }
  }
}

/** Whether what stands before the cursor is the suggestion's own beginning: a newer one then only continues it. */
function continues(offered: Offered, document: vscode.TextDocument, position: vscode.Position): boolean {
  const cursor = document.offsetAt(position);
  const typed = document.getText().slice(offered.offset, cursor);
  return document.uri.toString() === offered.uri && cursor >= offered.offset && offered.text.startsWith(typed);
}

function idOf(item: vscode.InlineCompletionItem | undefined): string | undefined {
  return idIn(item?.command?.arguments?.[0]);
}

function idIn(argument: unknown): string | undefined {
  if (typeof argument !== "object" || argument === null || !("id" in argument)) return undefined;
  return typeof argument.id === "string" ? argument.id : undefined;
}

export function registerSuggestionCommands(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.inlineCompletion.trigger", () => vscode.commands.executeCommand("editor.action.inlineSuggest.trigger")),
    vscode.commands.registerCommand("codekin.inlineCompletion.toggle", toggle),
    vscode.commands.registerCommand("codekin.inlineCompletion.toggleLanguage", toggleLanguage),
  );
}

async function toggle(): Promise<void> {
  const settings = vscode.workspace.getConfiguration("codekin");
  const enabled = !settings.get<boolean>("completion.enabled", true);
  await settings.update("completion.enabled", enabled, vscode.ConfigurationTarget.Global);
  void vscode.window.setStatusBarMessage(`Codekin suggests code: ${enabled ? "on" : "off"}`, 3000);
}

async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (!language) return;
  const settings = vscode.workspace.getConfiguration("codekin");
  const off = settings.get<string[]>("completion.languages_off", []);
  const next = off.includes(language) ? off.filter((name) => name !== language) : [...off, language];
  await settings.update("completion.languages_off", next, vscode.ConfigurationTarget.Global);
  void vscode.window.setStatusBarMessage(`Codekin suggests ${language}: ${next.includes(language) ? "off" : "on"}`, 3000);
}
