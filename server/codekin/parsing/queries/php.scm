; Containers
(class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @interface
(trait_declaration name: (_) @name body: (_) @body) @trait
(enum_declaration name: (_) @name body: (_) @body) @enum
(namespace_definition name: (_) @name body: (_) @body) @namespace

; Definitions
(function_definition name: (_) @name body: (_) @body) @function
(method_declaration name: (_) @name body: (_) @body) @method

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(namespace_use_clause [(qualified_name) (name)] @use)
(base_clause (_) @behaviour)
(class_interface_clause (_) @behaviour)
(use_declaration (name) @behaviour)
(function_call_expression function: (_) @call)
(member_call_expression name: (_) @call)
(scoped_call_expression name: (_) @call)
(object_creation_expression (name) @call)
(if_statement) @control.if
(conditional_expression) @control.if
(switch_statement) @control.switch
(match_expression) @control.case
[(for_statement) (foreach_statement)] @control.for
[(while_statement) (do_statement)] @control.loop
(try_statement) @control.try
(throw_expression) @control.throw
(yield_expression) @control.generator
[(arrow_function) (anonymous_function)] @control.lambda
