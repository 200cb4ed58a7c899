; Containers
(class_definition name: (_) @name body: (_)? @body) @class
(object_definition name: (_) @name body: (_)? @body) @class
(trait_definition name: (_) @name body: (_)? @body) @trait
(enum_definition name: (_) @name body: (_) @body) @enum

; Definitions
(function_definition name: (_) @name body: (_) @body) @function
(given_definition name: (_) @name body: (_) @body) @class
(type_definition name: (_) @name) @type

; What stands before a definition and belongs to it
[(comment) (block_comment)] @leading
(annotation) @leading

; Shape
(import_declaration path: (_) @use)
(extends_clause type: (_) @behaviour)
(modifiers "override" @callback)
(call_expression function: (identifier) @call)
(call_expression function: (field_expression field: (_) @call))
(call_expression function: (generic_function function: (identifier) @call))
(instance_expression . (_) @call)
(if_expression) @control.if
(match_expression) @control.case
(for_expression) @control.for
[(while_expression) (do_while_expression)] @control.loop
(try_expression) @control.try
(throw_expression) @control.throw
(lambda_expression) @control.lambda
