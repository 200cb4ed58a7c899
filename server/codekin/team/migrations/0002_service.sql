-- Who may ask what, what was asked, and the work that waits: a job is a branch, due again at each poll.
CREATE TABLE token (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
  repositories text[],
  created timestamptz NOT NULL DEFAULT now(),
  expires timestamptz,
  revoked timestamptz
);

CREATE TABLE audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  token text NOT NULL,
  route text NOT NULL,
  status integer NOT NULL,
  milliseconds real NOT NULL,
  results integer NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE job (
  branch integer PRIMARY KEY REFERENCES branch ON DELETE CASCADE,
  due timestamptz NOT NULL DEFAULT now(),
  worker text NOT NULL DEFAULT '',
  leased timestamptz
);
CREATE INDEX job_due ON job (due);
