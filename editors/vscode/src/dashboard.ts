// The dashboard, inside the editor or in a browser; each address is good for one visit.
import * as vscode from "vscode";
import type { Server } from "./server";

export function registerDashboard(context: vscode.ExtensionContext, server: Server): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("codekin.openDashboard", () => openHere(server)),
    vscode.commands.registerCommand("codekin.openDashboardInBrowser", () => openInBrowser(server)),
  );
}

async function openHere(server: Server): Promise<void> {
  const url = await address(server);
  if (!url) return;
  const panel = vscode.window.createWebviewPanel("codekin.dashboard", "Codekin", vscode.ViewColumn.Active, { enableScripts: true, retainContextWhenHidden: true });
  panel.webview.html = page(await vscode.env.asExternalUri(url), themeName());
}

/** The address leads to the machine where the server runs; the editor forwards it when that is another one. */
async function openInBrowser(server: Server): Promise<void> {
  const url = await address(server);
  if (url) await vscode.env.openExternal(url);
}

async function address(server: Server): Promise<vscode.Uri | undefined> {
  const answer = await server.request<{ url: string }>("codekin/dashboard", {});
  return answer && vscode.Uri.parse(answer.url);
}

function themeName(): string {
  const { Light, HighContrastLight } = vscode.ColorThemeKind;
  return [Light, HighContrastLight].includes(vscode.window.activeColorTheme.kind) ? "light" : "dark";
}

function page(url: vscode.Uri, theme: string): string {
  const source = `${url.toString(true)}&theme=${theme}`.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  const origin = `${url.scheme}://${url.authority}`;
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; frame-src ${origin}; style-src 'unsafe-inline'">
<style>html, body, iframe { width: 100%; height: 100%; margin: 0; padding: 0; border: 0; }</style><title>Codekin</title></head>
<body><iframe src="${source}" title="Codekin dashboard"></iframe></body></html>`;
}
