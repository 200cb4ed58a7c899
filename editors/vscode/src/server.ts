// The server's process and the client that talks to it; everything else asks through `request`.
import * as vscode from "vscode";
import { LanguageClient, State } from "vscode-languageclient/node";
import type { LanguageClientOptions, Middleware } from "vscode-languageclient/node";
import { findProgram } from "./find";
import type { Program } from "./find";
import { ServerMissing, offerInstall } from "./install";
import type { Status } from "./protocol";
import { settingsMiddleware } from "./settings";
import { TraceChannel } from "./trace";

const FILES =
  "**/*.{ex,exs,cpp,cc,cxx,cppm,ixx,h,hpp,hh,hxx,ipp,inl,cu,cuh,mm,c,py,pyi,erl,hrl,escript,heex,leex,eex,sface,neex,gleam,md,markdown,livemd,rs,go,java,kt,kts,cs,js,mjs,cjs,jsx,ts,mts,cts,tsx,rb,rake,gemspec,ru,php,phtml,swift,scala,sc,sbt,lua,zig,hs,ml,jl,r,R,sh,bash,zsh,ksh,sql,proto,tf,hcl,yaml,yml}";
const LOST: Status = { busy: false, kind: "Error", message: "Codekin's server is not running." };

export class Server implements vscode.Disposable {
  readonly output = vscode.window.createOutputChannel("Codekin", { log: true });
  private readonly trace = new TraceChannel();
  private readonly changed = new vscode.EventEmitter<Status>();
  readonly onStatus = this.changed.event;
  status: Status = { busy: true, kind: "Normal", message: "Codekin is starting." };
  program: Program | undefined;
  private client: LanguageClient | undefined;
  private restarting: Promise<void> = Promise.resolve();

  constructor(private readonly middleware: Middleware) {}

  /** Whether the server answers. */
  get running(): boolean {
    return this.client?.state === State.Running;
  }

  /** Starts the server; what goes wrong is told once, with a button that mends it. */
  async start(): Promise<void> {
    this.setStatus({ busy: true, kind: "Normal", message: "Codekin is starting." });
    try {
      this.program = await findProgram();
      this.output.info(`Starting ${this.program.command} (found by ${this.program.origin}).`);
      this.client = this.createClient(this.program);
      await this.client.start();
      await vscode.commands.executeCommand("setContext", "codekin.running", true);
    } catch (error) {
      this.client = undefined; // it has stopped by itself, and its end is no news
      this.fail(error);
    }
  }

  async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    await vscode.commands.executeCommand("setContext", "codekin.running", false);
    await client?.dispose(2000).catch(() => undefined);
  }

  /** Several at once, as when two settings change, happen one after the other. */
  restart(): Promise<void> {
    this.restarting = this.restarting.then(async () => {
      await this.stop();
      await this.start();
    });
    return this.restarting;
  }

  /** Asks the server; what it refuses is shown in its own words and gives undefined. */
  async request<Answer>(method: string, params: unknown, token?: vscode.CancellationToken): Promise<Answer | undefined> {
    if (!this.client || !this.running) {
      void this.offerRestart();
      return undefined;
    }
    try {
      return await (token ? this.client.sendRequest<Answer>(method, params, token) : this.client.sendRequest<Answer>(method, params));
    } catch (error) {
      if (!(error instanceof vscode.CancellationError) && !token?.isCancellationRequested) {
        const message = error instanceof Error ? error.message : String(error);
        this.output.error(`${method}: ${message}`);
        void vscode.window.showErrorMessage(message);
      }
      return undefined;
    }
  }

  async notify(method: string, params: unknown): Promise<void> {
    if (this.client && this.running) await this.client.sendNotification(method, params);
  }

  showLogs(): void {
    this.output.show();
  }

  showTrace(): void {
    this.trace.channel.show();
  }

  dispose(): void {
    void this.stop();
    this.output.dispose();
    this.trace.dispose();
  }

  private createClient(program: Program): LanguageClient {
    const further = vscode.workspace.getConfiguration("codekin").get<string[]>("server.arguments", []);
    const executable = { command: program.command, args: [...program.arguments, "lsp", ...further] };
    const client = new LanguageClient("codekin", "Codekin", executable, this.options());
    client.onNotification("codekin/status", (status: Status) => { this.setStatus(status); });
    client.onDidChangeState(({ newState }) => { if (newState === State.Stopped && this.client === client) this.setStatus(LOST); });
    return client;
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: [{ scheme: "file", pattern: FILES }, { scheme: "untitled", language: "elixir" }, { scheme: "untitled", language: "cpp" }],
      initializationOptions: { showSimilarCommand: "codekin.showSimilar", status: true },
      outputChannel: this.output,
      traceOutputChannel: this.trace.channel,
      middleware: { ...settingsMiddleware, ...this.middleware },
      initializationFailedHandler: () => false,
    };
  }

  private fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.output.error(message);
    this.setStatus({ busy: false, kind: "Error", message });
    if (error instanceof ServerMissing) void offerInstall(error, this);
    else void this.offerRestart(`Codekin's server did not start (${message}); the log says why.`);
  }

  private async offerRestart(message = LOST.message): Promise<void> {
    const answer = await vscode.window.showErrorMessage(message, "Restart", "Show Logs");
    if (answer === "Restart") await this.restart();
    if (answer === "Show Logs") this.showLogs();
  }

  private setStatus(status: Status): void {
    this.status = status;
    this.changed.fire(status);
  }
}
