// Two chunks side by side: the functions alone, whatever stands around them in their files.
import * as path from "node:path";
import * as vscode from "vscode";
import { shortName } from "./hits";
import type { Hit, Hits } from "./protocol";
import type { Server } from "./server";

const SCHEME = "codekin-chunk";

/** Where a question was asked; without a range, the server knows how far the function there goes. */
export interface Origin { uri: vscode.Uri; position: vscode.Position; range?: vscode.Range; name?: string }

interface Chunk { uri: vscode.Uri; range: vscode.Range; name: string }

export function registerCompare(context: vscode.ExtensionContext, server: Server, current: () => Origin | undefined): void {
  context.subscriptions.push(
    vscode.workspace.registerTextDocumentContentProvider(SCHEME, { provideTextDocumentContent }),
    vscode.commands.registerCommand("codekin.compareSimilar", async (hit: Hit, origin: Origin | undefined = current()) => {
      const here = origin && (await chunkAt(server, origin));
      if (here) await compare(here, chunkOf(hit));
    }),
  );
}

async function compare(here: Chunk, there: Chunk): Promise<void> {
  await vscode.commands.executeCommand("vscode.diff", address(here), address(there), `${here.name} ↔ ${there.name}`, { preview: true });
}

export function chunkOf(hit: Hit): Chunk {
  return { uri: vscode.Uri.parse(hit.uri), range: wholeLines(hit), name: shortName(hit) };
}

async function chunkAt(server: Server, { uri, position, range, name = vscode.workspace.asRelativePath(uri) }: Origin): Promise<Chunk | undefined> {
  if (range) return { uri, range, name };
  const answer = await server.request<Hits>("codekin/similar", { textDocument: { uri: uri.toString() }, position, limit: 1 });
  return answer?.query && { uri, range: wholeLines(answer.query), name: shortName(answer.query) };
}

function wholeLines({ start_line, end_line }: { start_line: number; end_line: number }): vscode.Range {
  return new vscode.Range(start_line - 1, 0, end_line, 0);
}

/** The address says which lines of which file are meant; its ending selects the language. */
function address({ uri, range, name }: Chunk): vscode.Uri {
  const query = JSON.stringify([uri.toString(), range.start.line, range.end.line]);
  return vscode.Uri.from({ scheme: SCHEME, path: `/${name.replaceAll("/", "∕")}${path.extname(uri.path)}`, query });
}

async function provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
  const [file, start, end] = JSON.parse(uri.query) as [string, number, number];
  const document = await vscode.workspace.openTextDocument(vscode.Uri.parse(file));
  return document.getText(new vscode.Range(start, 0, end, 0));
}
