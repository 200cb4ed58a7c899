// The messages between this extension and the server, as types.

export interface Position { line: number; character: number }
export interface Range { start: Position; end: Position }

/** A place found, with a score between 0 and 1 and why it was found. */
export interface Hit {
  path: string;
  name: string;
  kind: string;
  language: string;
  start_line: number;
  end_line: number;
  /** Where the code begins, below its doc; so does the range. */
  code_line: number;
  score: number;
  reasons: string[];
  uri: string;
  range: Range;
}

export interface Hits {
  hits: Hit[];
  query?: { path: string; name: string; language: string; start_line: number; end_line: number };
  degraded?: string;
  ms: number;
}

export interface Groups { groups: Hit[][]; ms: number }

export interface Status {
  busy: boolean;
  message: string;
  kind: "Normal" | "Error" | "Warning" | "Inactive";
  folders?: Folder[];
}

/** A workspace folder; `done` of `total` files are indexed while `total` is above 0. */
export interface Folder {
  name: string;
  root: string;
  done: number;
  total: number;
  about?: {
    state?: string;
    files?: number;
    chunks?: number;
    model?: { name: string };
    finetune?: { running?: boolean; phase?: string; done?: number; total?: number };
    completion?: Record<string, unknown>;
  };
}

/** A place where the last edit must be carried on: `text` takes the place of what is in `range`. */
export interface NextEdit {
  id: string;
  textDocument: { uri: string; version?: number };
  range: Range;
  text: string;
  oldText: string;
  chance: number;
}

export interface NextEdits { edits: NextEdit[] }

/** One fine-tuning run. */
export interface Run {
  id: number | string;
  started: string;
  finished?: string;
  method: string;
  decision: string;
  reason: string;
  active: boolean;
  checkpoint?: string;
  before?: { map: number };
  after?: { map: number };
}

export interface History { runs: Run[]; active: string }

/** The argument of the command that shows similar code. */
export interface ShowSimilar { uri: string; position?: Position; range?: Range; hits?: Hit[] }
