; Containers
(type_declaration (type_spec name: (_) @name type: (struct_type (field_declaration_list) @body)) @struct)
(type_declaration (type_spec name: (_) @name type: (interface_type)) @interface)
(type_declaration
  (type_spec name: (_) @name type: [(function_type) (map_type) (slice_type) (array_type) (channel_type)]) @type)

; Definitions
(function_declaration name: (_) @name body: (_) @body) @function
(method_declaration
  receiver: (parameter_list
    (parameter_declaration
      type: [
        (type_identifier) @owner
        (generic_type type: (_) @owner)
        (pointer_type (type_identifier) @owner)
        (pointer_type (generic_type type: (_) @owner))
      ]))
  name: (_) @name
  body: (_) @body) @method
(short_var_declaration
  left: (expression_list . (identifier) @name .)
  right: (expression_list . (func_literal body: (_) @body) .)) @lambda

; What stands before a definition and belongs to it
(type_declaration . (type_spec) .) @wrapper
(comment) @leading

; Shape
(import_spec path: (_) @use)
(call_expression function: (identifier) @call)
(call_expression function: (selector_expression) @call)
(if_statement) @control.if
[(expression_switch_statement) (type_switch_statement)] @control.switch
(select_statement) @control.select
(for_statement) @control.for
(defer_statement) @control.defer
(go_statement) @control.go
(func_literal) @control.lambda
