-- The index of a team: a branch is a set of (path, blob), a blob is a list of chunks, a chunk points at its content.
-- Texts and vectors are stored once for each content hash, however many branches and forks have them.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE space (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  fingerprint text NOT NULL UNIQUE,
  name text NOT NULL,
  dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 4000),
  state text NOT NULL CHECK (state IN ('building', 'serving', 'kept', 'dropped'))
);
CREATE UNIQUE INDEX space_serving ON space (state) WHERE state = 'serving';

CREATE TABLE repository (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE,
  source text NOT NULL,
  added timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE branch (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repository integer NOT NULL REFERENCES repository ON DELETE CASCADE,
  name text NOT NULL,
  revision text NOT NULL DEFAULT '',
  files integer NOT NULL DEFAULT 0,
  chunks bigint NOT NULL DEFAULT 0,
  indexed timestamptz,
  problem text NOT NULL DEFAULT '',
  UNIQUE (repository, name)
);

CREATE TABLE content (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
  language text NOT NULL,
  body bytea NOT NULL,
  terms bytea NOT NULL,
  sketch bytea NOT NULL,
  words integer[] NOT NULL,
  sample smallint NOT NULL
);
CREATE INDEX content_words ON content USING gin (words);
CREATE INDEX content_sample ON content (sample, id);

CREATE TABLE blob (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key bytea NOT NULL UNIQUE CHECK (length(key) = 32)
);

CREATE TABLE chunk (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  blob bigint NOT NULL REFERENCES blob ON DELETE CASCADE,
  content bigint NOT NULL REFERENCES content,
  language text NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  name_key text NOT NULL,
  start_line integer NOT NULL,
  end_line integer NOT NULL,
  part integer NOT NULL,
  detail bytea NOT NULL
);
CREATE INDEX chunk_content ON chunk (content, blob);
CREATE INDEX chunk_blob ON chunk (blob);
CREATE INDEX chunk_name ON chunk (name_key);

CREATE TABLE tree (
  branch integer NOT NULL REFERENCES branch ON DELETE CASCADE,
  path text NOT NULL,
  object text NOT NULL,
  blob bigint NOT NULL REFERENCES blob,
  PRIMARY KEY (branch, path)
);
CREATE INDEX tree_blob ON tree (blob, branch);

-- How often each term occurs, for each branch and language, as the ranking reads it; made anew when a branch changed.
CREATE TABLE statistics (
  branch integer NOT NULL REFERENCES branch ON DELETE CASCADE,
  language text NOT NULL,
  chunks bigint NOT NULL,
  term_total bigint NOT NULL,
  counts bytea NOT NULL,
  PRIMARY KEY (branch, language)
);
