; Definitions
(function name: (_) @name body: (_) @body) @function
(function name: (_) @name !body) @function
(type_definition (type_name name: (_) @name)) @type
(type_alias (type_name name: (_) @name)) @type
(constant name: (_) @name) @constant

; What stands before a definition and belongs to it
[(comment) (statement_comment) (module_comment)] @leading
(attribute) @leading

; Shape
(import module: (_) @use)
(function_call function: (identifier) @call)
(function_call function: (field_access) @call)
(binary_expression operator: "|>" right: (identifier) @call)
(binary_expression operator: "|>" right: (field_access) @call)
(binary_expression operator: "|>") @control.pipe
(case) @control.case
(use) @control.use
(anonymous_function) @control.lambda
[(panic) (todo)] @control.raise
