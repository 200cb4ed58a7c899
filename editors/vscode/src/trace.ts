// The trace channel: what the setting asks for is written, whatever level the channel itself is set to.
import * as vscode from "vscode";

const SETTING = "codekin.trace.server";

export class TraceChannel implements vscode.Disposable {
  private readonly output = vscode.window.createOutputChannel("Codekin Trace", { log: true });
  private readonly levelChanged = new vscode.EventEmitter<vscode.LogLevel>();
  private readonly watching = vscode.workspace.onDidChangeConfiguration((event) => {
    if (event.affectsConfiguration(SETTING)) this.levelChanged.fire(level());
  });

  /** The channel as the client sees it: it asks for the level, and writes what it traces as what is to be shown. */
  readonly channel: vscode.LogOutputChannel = Object.create(this.output, {
    logLevel: { get: level },
    onDidChangeLogLevel: { value: this.levelChanged.event },
    trace: { value: (message: string) => { this.output.info(message); } },
  }) as vscode.LogOutputChannel;

  dispose(): void {
    this.watching.dispose();
    this.levelChanged.dispose();
    this.output.dispose();
  }
}

function level(): vscode.LogLevel {
  const wanted = vscode.workspace.getConfiguration().get<string>(SETTING, "off");
  return wanted === "off" ? vscode.LogLevel.Off : vscode.LogLevel.Trace;
}
