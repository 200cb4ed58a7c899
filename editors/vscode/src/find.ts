// Finds the program that serves: setting, interpreter, the Python extension's interpreter, PATH.
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";
import * as vscode from "vscode";
import { ServerMissing } from "./install";

const run = promisify(execFile);
const OLDEST_PYTHON = [3, 11] as const;
const INSTALL = "pip install codekin";

/** How to start the server; `origin` says in words where it was found. */
export interface Program {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly origin: string;
}

/** The first program that can serve. Throws ServerMissing. */
export async function findProgram(): Promise<Program> {
  const set = trusted("server.path");
  if (set) return await named(set, "codekin.server.path");
  const interpreter = trusted("interpreter");
  if (interpreter) return await inEnvironment(interpreter, "codekin.interpreter");
  const selected = await selectedInterpreter();
  if (selected) {
    const found = await inEnvironment(selected, "the selected Python interpreter").catch(() => undefined);
    if (found) return found;
  }
  const onPath = await onSearchPath("codekin");
  if (onPath) return { command: onPath, arguments: [], origin: "the PATH" };
  const ignored = vscode.workspace.isTrusted ? "" : " (settings of this workspace do not count while it is not trusted)";
  throw new ServerMissing(`Codekin's server is not installed: run \`${INSTALL}\`, then try again, or set codekin.server.path${ignored}.`, INSTALL);
}

/** In a workspace that is not trusted, nothing that the workspace itself has set counts. */
function trusted(key: string): string {
  const found = vscode.workspace.getConfiguration("codekin").inspect<string>(key);
  const own = found?.globalValue ?? "";
  if (!vscode.workspace.isTrusted) return own;
  return found?.workspaceFolderValue ?? found?.workspaceValue ?? own;
}

async function named(command: string, setting: string): Promise<Program> {
  const found = path.isAbsolute(command) ? ((await canRun(command)) ? command : undefined) : await onSearchPath(command);
  if (!found) throw new ServerMissing(`${setting} names ${command}, which is no program that can be started: correct or clear the setting.`);
  return { command: found, arguments: [], origin: setting };
}

async function inEnvironment(python: string, origin: string): Promise<Program> {
  const script = "import sys, importlib.util as u; print(*sys.version_info[:2], int(u.find_spec('codekin') is not None))";
  const { stdout } = await run(python, ["-c", script], { timeout: 20_000 }).catch(() => {
    throw new ServerMissing(`${python} (from ${origin}) is no Python that can be started: choose another one.`);
  });
  const [major = 0, minor = 0, installed = 0] = stdout.trim().split(" ").map(Number);
  if (major < OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor < OLDEST_PYTHON[1])) {
    throw new ServerMissing(`${python} is Python ${major}.${minor}, and Codekin needs 3.11 or newer: choose another one.`);
  }
  if (!installed) {
    const command = `${quoted(python)} -m ${INSTALL}`;
    throw new ServerMissing(`Codekin is not installed for ${python}: run \`${command}\`.`, command);
  }
  return { command: python, arguments: ["-m", "codekin"], origin };
}

const quoted = (program: string): string => (/^[\w./:\\-]+$/.test(program) ? program : JSON.stringify(program));

interface PythonExtension {
  readonly environments?: {
    getActiveEnvironmentPath(): { path: string };
    resolveEnvironment(path: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

async function selectedInterpreter(): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonExtension>("ms-python.python");
  if (!extension || !vscode.workspace.isTrusted) return undefined;
  const { environments } = await extension.activate();
  if (!environments) return undefined;
  const resolved = await environments.resolveEnvironment(environments.getActiveEnvironmentPath());
  return resolved?.executable.uri?.fsPath;
}

async function onSearchPath(name: string): Promise<string | undefined> {
  const file = process.platform === "win32" ? `${name}.exe` : name;
  for (const folder of (process.env["PATH"] ?? "").split(path.delimiter).filter((part) => path.isAbsolute(part))) {
    const candidate = path.join(folder, file);
    if (await canRun(candidate)) return candidate;
  }
  return undefined;
}

async function canRun(program: string): Promise<boolean> {
  return await fs.access(program, fs.constants.X_OK).then(() => true, () => false);
}
