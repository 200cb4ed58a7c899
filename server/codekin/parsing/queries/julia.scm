; Containers
(module_definition name: (_) @name) @module
(struct_definition (type_head [
  (identifier) @name
  (parametrized_type_expression . (_) @name)
  (binary_expression . (identifier) @name)
  (binary_expression . (parametrized_type_expression . (_) @name))
])) @struct

; Definitions
(function_definition (signature [
  (call_expression . (_) @name)
  (where_expression (call_expression . (_) @name))
  (typed_expression . (call_expression . (_) @name))
  (where_expression (typed_expression . (call_expression . (_) @name)))
  (identifier) @name
])) @function
(assignment . [
  (call_expression . (_) @name)
  (where_expression . (call_expression . (_) @name))
  (typed_expression . (call_expression . (_) @name))
]) @function
(macro_definition (signature (call_expression . (_) @name))) @macro

; What stands before a definition and belongs to it
[(line_comment) (block_comment)] @leading
(source_file (string_literal) @docstring)
(module_definition (block (string_literal) @docstring))
(macrocall_expression (macro_argument_list [(function_definition) (struct_definition) (assignment)])) @wrapper

; Shape
[(using_statement (_) @use) (import_statement (_) @use)]
(type_head (binary_expression (operator) . (_) @behaviour))
(call_expression . (_) @call)
(broadcast_call_expression . (_) @call)
(macrocall_expression (macro_identifier) @call)
[(if_statement) (ternary_expression)] @control.if
(for_statement) @control.for
(while_statement) @control.loop
(try_statement) @control.try
(do_clause) @control.lambda
(arrow_function_expression) @control.lambda
[(comprehension_expression) (generator)] @control.comprehension
