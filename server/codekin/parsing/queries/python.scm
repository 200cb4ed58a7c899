; Definitions
(class_definition name: (identifier) @name body: (_) @body) @class
(function_definition name: (identifier) @name body: (_) @body) @function

; What stands before a definition and belongs to it
(decorated_definition) @wrapper
(comment) @leading
(block . (expression_statement (string) @doc))
(module . (expression_statement (string) @doc))

; Shape
(import_from_statement module_name: (_) @use)
(import_statement name: (dotted_name) @use)
(class_definition superclasses: (argument_list [(identifier) (attribute)] @behaviour))
(call function: (identifier) @call)
(call function: (attribute attribute: (identifier) @call))
(if_statement) @control.if
(conditional_expression) @control.if
(match_statement) @control.case
(for_statement) @control.for
(while_statement) @control.loop
(try_statement) @control.try
(raise_statement) @control.raise
(with_statement) @control.with
(lambda) @control.lambda
[(list_comprehension) (dictionary_comprehension) (set_comprehension) (generator_expression)] @control.comprehension
(yield) @control.generator
