; Containers
(module_definition (module_binding (module_name) @name body: (_)? @body)) @module
(module_type_definition (module_type_name) @name body: (_)? @body) @interface
(class_definition (class_binding (class_name) @name body: (_)? @body)) @class

; Definitions
(value_definition (let_binding pattern: (value_name) @name (parameter) body: (_) @body) @function)
(value_definition (let_binding pattern: (parenthesized_operator) @name (parameter) body: (_) @body) @function)
(value_definition (let_binding pattern: (value_name) @name . body: [(fun_expression) (function_expression)] @body) @function)
(structure (value_definition (let_binding pattern: (value_name) @name . body: (_)) @constant))
(compilation_unit (value_definition (let_binding pattern: (value_name) @name . body: (_)) @constant))
(method_definition (method_name) @name) @method
(type_definition (type_binding name: (_) @name) @type)

; What stands before a definition and belongs to it
[(value_definition) (type_definition)] @wrapper
(comment) @leading

; Shape
(open_module module: (_) @use)
(application_expression function: (_) @call)
(if_expression) @control.if
[(match_expression) (function_expression)] @control.case
(for_expression) @control.for
(while_expression) @control.loop
(try_expression) @control.try
(fun_expression) @control.lambda
