; Containers
(mod_item name: (_) @name body: (_) @body) @module
(struct_item name: (_) @name body: (field_declaration_list) @body) @struct
(struct_item name: (_) @name body: (ordered_field_declaration_list)) @struct
(union_item name: (_) @name body: (_) @body) @struct
(enum_item name: (_) @name body: (_) @body) @enum
(trait_item name: (_) @name body: (_) @body) @trait
(impl_item type: (_) @name body: (_) @body) @implementation

; Definitions
(function_item name: (_) @name body: (_) @body) @function
(macro_definition name: (_) @name) @macro
((attribute_item (attribute (_) @_test)) . (function_item) @test (#match? @_test "^(test|(tokio|async_std)::test|rstest)$"))
(let_declaration pattern: (identifier) @name value: (closure_expression body: (block) @body)) @lambda

; What stands before a definition and belongs to it
[(line_comment) (block_comment)] @leading
(attribute_item) @leading

; Shape
(use_declaration argument: (_) @use)
(impl_item trait: (_) @behaviour)
(trait_item bounds: (trait_bounds (_) @behaviour))
(call_expression function: [(identifier) (scoped_identifier)] @call)
(call_expression function: (field_expression field: (_) @call))
(call_expression function: (generic_function function: (_) @call))
(macro_invocation macro: (_) @call)
(if_expression) @control.if
(match_expression) @control.case
(for_expression) @control.for
[(while_expression) (loop_expression)] @control.loop
(try_expression) @control.try
(await_expression) @control.await
(closure_expression) @control.lambda
(unsafe_block) @control.unsafe
