; A file is one chunk, or its parts.
(comment) @leading
