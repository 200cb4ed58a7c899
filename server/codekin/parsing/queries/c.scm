; Definitions
(function_definition) @function
(function_definition body: (_) @body)
(function_declarator declarator: (identifier) @name)
(struct_specifier name: (_) @name body: (_) @body) @struct
(union_specifier name: (_) @name body: (_) @body) @struct
(type_definition type: (struct_specifier !name body: (_)) declarator: (type_identifier) @name) @struct

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(preproc_include path: (_) @use)
(call_expression function: (identifier) @call)
(call_expression function: (field_expression field: (_) @call))
(if_statement) @control.if
(switch_statement) @control.switch
(for_statement) @control.for
[(while_statement) (do_statement)] @control.loop
(goto_statement) @control.goto
