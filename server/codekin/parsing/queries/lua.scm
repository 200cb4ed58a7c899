; Definitions
(function_declaration name: (identifier) @name body: (_)? @body) @function
(function_declaration name: (dot_index_expression table: (_) @owner field: (_) @name) body: (_)? @body) @function
(function_declaration name: (method_index_expression table: (_) @owner method: (_) @name) body: (_)? @body) @function
(assignment_statement
  (variable_list . name: (identifier) @name .)
  (expression_list . value: (function_definition body: (_)? @body) .)) @function
(assignment_statement
  (variable_list . name: (dot_index_expression table: (_) @owner field: (_) @name) .)
  (expression_list . value: (function_definition body: (_)? @body) .)) @function
(field name: (identifier) @name value: (function_definition body: (_)? @body)) @function

; What stands before a definition and belongs to it
(variable_declaration) @wrapper
(comment) @leading

; Shape
(function_call name: (identifier) @_require arguments: (arguments (string content: (_) @use)) (#eq? @_require "require"))
(function_call name: (identifier) @call)
(function_call name: (dot_index_expression) @call)
(function_call name: (method_index_expression method: (_) @call))
(if_statement) @control.if
(for_statement) @control.for
[(while_statement) (repeat_statement)] @control.loop
(goto_statement) @control.goto
(function_definition) @control.lambda
