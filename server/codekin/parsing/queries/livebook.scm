; inherits: markdown
; Cells of code
(fenced_code_block (info_string (language) @name)) @cell
