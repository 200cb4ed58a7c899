// The dashboard, inside the editor or in a browser.
import * as vscode from "vscode";
import type { Server } from "./server";

export function registerDashboard(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(vscode.commands.registerCommand("codekin.openDashboard", () => open(server)));
}

async function open(server: Server): Promise<void> {
  const answer = await server.request<{ url: string }>("codekin/dashboard", {});
  if (!answer) return;
  const url = await vscode.env.asExternalUri(vscode.Uri.parse(answer.url));
  const panel = vscode.window.createWebviewPanel("codekin.dashboard", "Codekin", vscode.ViewColumn.Active, { enableScripts: true, retainContextWhenHidden: true });
  panel.webview.html = page(url);
}

function page(url: vscode.Uri): string {
  const source = url.toString(true).replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  const origin = `${url.scheme}://${url.authority}`;
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; frame-src ${origin}; style-src 'unsafe-inline'">
<style>html, body, iframe { width: 100%; height: 100%; margin: 0; padding: 0; border: 0; }</style><title>Codekin</title></head>
<body><iframe src="${source}" title="Codekin dashboard"></iframe></body></html>`;
}
