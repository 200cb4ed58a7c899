; Containers
(class_declaration name: (_) @name body: (_) @body) @class
(variable_declarator name: (identifier) @name value: (class body: (_) @body)) @class

; Definitions
[(function_declaration name: (_) @name body: (_) @body) (generator_function_declaration name: (_) @name body: (_) @body)] @function
(method_definition name: (_) @name body: (_) @body) @function
(variable_declarator
  name: (identifier) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body) (generator_function body: (_) @body)]) @function
(pair
  key: (_) @name
  value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @function
(assignment_expression
  left: (member_expression object: (_) @owner property: (_) @name)
  right: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @function
(expression_statement
  (call_expression
    function: (identifier) @_test
    arguments: (arguments . [(string) (template_string)] @name [(arrow_function) (function_expression)])
    (#any-of? @_test "it" "test")) @test)
(expression_statement
  (call_expression
    function: (identifier) @_test
    arguments: (arguments . [(string) (template_string)] @name [(arrow_function) (function_expression)])
    (#any-of? @_test "describe" "context" "suite")) @describe)

; What stands before a definition and belongs to it
(export_statement) @wrapper
[(lexical_declaration . (variable_declarator) .) (variable_declaration . (variable_declarator) .)] @wrapper
(comment) @leading

; Shape
(import_statement source: (_) @use)
(call_expression function: (identifier) @call)
(call_expression function: (member_expression property: (_) @call))
(new_expression constructor: (_) @call)
(if_statement) @control.if
(ternary_expression) @control.if
(switch_statement) @control.switch
[(for_statement) (for_in_statement)] @control.for
[(while_statement) (do_statement)] @control.loop
(try_statement) @control.try
(throw_statement) @control.throw
(await_expression) @control.await
(yield_expression) @control.generator
(arrow_function) @control.lambda
