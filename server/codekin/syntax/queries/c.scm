(function_definition) @function
(function_declarator declarator: (identifier) @name)
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @struct
(comment) @leading
(call_expression function: (identifier) @call)
(call_expression function: (field_expression field: (_) @call))
