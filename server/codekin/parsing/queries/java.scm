; Containers
(class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @interface
(annotation_type_declaration name: (_) @name body: (_) @body) @interface
(enum_declaration name: (_) @name body: (_) @body) @enum
(record_declaration name: (_) @name body: (_) @body) @record

; Definitions
(method_declaration name: (_) @name body: (_) @body) @method
(constructor_declaration name: (_) @name body: (_) @body) @constructor
(compact_constructor_declaration name: (_) @name body: (_) @body) @constructor
(method_declaration (modifiers (marker_annotation name: (_) @_test)) body: (_) (#match? @_test "Test$")) @test

; What stands before a definition and belongs to it
[(line_comment) (block_comment)] @leading

; Shape
(import_declaration (_) @use)
(superclass (_) @behaviour)
(super_interfaces (type_list (_) @behaviour))
(extends_interfaces (type_list (_) @behaviour))
(modifiers (marker_annotation name: (_) @_override) (#eq? @_override "Override")) @callback
(method_invocation name: (_) @call)
(object_creation_expression type: (_) @call)
(if_statement) @control.if
(ternary_expression) @control.if
(switch_expression) @control.switch
[(for_statement) (enhanced_for_statement)] @control.for
[(while_statement) (do_statement)] @control.loop
[(try_statement) (try_with_resources_statement)] @control.try
(throw_statement) @control.throw
(synchronized_statement) @control.lock
(lambda_expression) @control.lambda
