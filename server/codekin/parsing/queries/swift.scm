; Containers
(class_declaration declaration_kind: ["class" "actor"] name: (_) @name body: (_) @body) @class
(class_declaration declaration_kind: "struct" name: (_) @name body: (_) @body) @struct
(class_declaration declaration_kind: "enum" name: (_) @name body: (_) @body) @enum
(class_declaration declaration_kind: "extension" name: (_) @name body: (_) @body) @implementation
(protocol_declaration name: (_) @name body: (_) @body) @protocol

; Definitions
(function_declaration name: [(simple_identifier) (custom_operator) (bang)] @name body: (_) @body) @function
(init_declaration "init" @name body: (_) @body) @constructor
(deinit_declaration "deinit" @name body: (_) @body) @destructor
(subscript_declaration "subscript" @name) @method
(property_declaration name: (pattern bound_identifier: (_) @name) computed_value: (_) @body) @property
(typealias_declaration name: (_) @name) @type

; What stands before a definition and belongs to it
[(comment) (multiline_comment)] @leading

; Shape
(import_declaration (_) @use)
(inheritance_specifier inherits_from: (_) @behaviour)
((member_modifier) @callback (#eq? @callback "override"))
(call_expression . (simple_identifier) @call)
(call_expression . (navigation_expression suffix: (navigation_suffix suffix: (_) @call)))
(if_statement) @control.if
(ternary_expression) @control.if
(guard_statement) @control.guard
(switch_statement) @control.switch
(for_statement) @control.for
[(while_statement) (repeat_while_statement)] @control.loop
[(do_statement) (try_expression)] @control.try
(await_expression) @control.await
(lambda_literal) @control.lambda
