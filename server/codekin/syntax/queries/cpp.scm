(namespace_definition name: (_)? @name) @namespace
(class_specifier name: (_) @name body: (_)) @class
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @struct
(function_definition) @function
(function_declarator declarator: (_) @name)
(operator_cast) @name
(template_declaration) @wrapper
(comment) @leading
(call_expression function: (_) @call)
