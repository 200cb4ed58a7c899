; Definitions: `resource "kind" "name"` is named as it is referred to
(body (block (identifier) @owner . (string_lit (template_literal) @name) .  (block_start)) @resource)
(body (block (identifier) @_word . (string_lit (template_literal) @owner) . (string_lit (template_literal) @name)) @resource)
(config_file (body (block . (identifier) @name . (block_start)) @resource))

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(function_call (identifier) @call)
(conditional) @control.if
(for_expr) @control.for
