; Containers
(class_declaration "class" (type_identifier) @name [(class_body) (enum_class_body)]? @body) @class
(class_declaration "interface" (type_identifier) @name (class_body)? @body) @interface
(object_declaration (type_identifier) @name (class_body)? @body) @class

; Definitions
(function_declaration (receiver_type [(user_type . (type_identifier) @owner) (nullable_type (user_type . (type_identifier) @owner))])
  (simple_identifier) @name (function_body) @body) @function
(function_declaration !receiver (simple_identifier) @name (function_body) @body) @function
(secondary_constructor) @constructor
(type_alias (type_identifier) @name) @type

; What stands before a definition and belongs to it
[(line_comment) (multiline_comment)] @leading

; Shape
(import_header (identifier) @use)
(delegation_specifier [(user_type) @behaviour (constructor_invocation (user_type) @behaviour)])
(modifiers (member_modifier) @callback (#eq? @callback "override"))
(call_expression . (simple_identifier) @call)
(call_expression . (navigation_expression (navigation_suffix (simple_identifier) @call)))
(if_expression) @control.if
(when_expression) @control.case
(for_statement) @control.for
[(while_statement) (do_while_statement)] @control.loop
(try_expression) @control.try
(lambda_literal) @control.lambda
