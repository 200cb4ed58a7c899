// The settings that somebody has set: VS Code's defaults stay out, since they would win over the user's settings.toml.
import * as vscode from "vscode";
import type { Middleware } from "vscode-languageclient/node";

const SECTION = "codekin";
interface Table { [key: string]: unknown }

/** Answers `workspace/configuration` with what is set for a folder, the workspace or the user. */
export const settingsMiddleware: Middleware = {
  workspace: {
    configuration: ({ items }) => items.map(({ section, scopeUri }) =>
      section === SECTION ? explicitSettings(scopeUri === undefined ? undefined : vscode.Uri.parse(scopeUri)) : null),
  },
};

function explicitSettings(scope: vscode.Uri | undefined): Table {
  const settings = vscode.workspace.getConfiguration(SECTION, scope);
  const table: Table = {};
  for (const key of settingKeys()) {
    const found = settings.inspect(key);
    const value = found?.workspaceFolderValue ?? found?.workspaceValue ?? found?.globalValue;
    if (value !== undefined) put(table, key.split("."), value);
  }
  return table;
}

/** The keys that the extension's manifest declares, without "codekin.". */
function settingKeys(): string[] {
  const manifest = vscode.extensions.getExtension("codekin.codekin")?.packageJSON as
    { contributes: { configuration: { properties: Table } } } | undefined;
  return Object.keys(manifest?.contributes.configuration.properties ?? {}).map((key) => key.slice(SECTION.length + 1));
}

function put(table: Table, [first = "", ...rest]: string[], value: unknown): void {
  if (rest.length === 0) table[first] = value;
  else put((table[first] ??= {}) as Table, rest, value);
}
