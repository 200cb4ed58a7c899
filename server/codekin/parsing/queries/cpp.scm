; Containers
(namespace_definition name: (_)? @name body: (_) @body) @namespace
(class_specifier name: (_) @name body: (_) @body) @class
(struct_specifier name: (_) @name body: (_) @body) @struct
(union_specifier name: (_) @name body: (_) @body) @struct
(type_definition type: (struct_specifier !name body: (_)) declarator: (type_identifier) @name) @struct

; Definitions
(function_definition) @function
(function_definition body: (_) @body)
(function_definition (try_statement) @body)
(function_declarator declarator: (_) @name)
(operator_cast) @name
(declaration
  declarator: (init_declarator declarator: (identifier) @name value: (lambda_expression body: (_) @body))) @lambda
(expression_statement (assignment_expression
  left: (user_defined_literal (string_literal) @name) right: (lambda_expression body: (_) @body))) @test

; What stands before a definition and belongs to it
(template_declaration) @wrapper
(linkage_specification body: (function_definition)) @wrapper
(comment) @leading

; Shape
(preproc_include path: (_) @use)
(base_class_clause [(type_identifier) (qualified_identifier) (template_type)] @behaviour)
((virtual_specifier) @callback (#eq? @callback "override"))
(call_expression function: [(identifier) (qualified_identifier) (template_function)] @call)
(call_expression function: (field_expression field: (_) @call))
(if_statement) @control.if
(conditional_expression) @control.if
(switch_statement) @control.switch
[(for_statement) (for_range_loop)] @control.for
[(while_statement) (do_statement)] @control.loop
(try_statement) @control.try
(throw_statement) @control.throw
(lambda_expression) @control.lambda
[(co_await_expression) (co_yield_statement) (co_return_statement)] @control.coroutine
