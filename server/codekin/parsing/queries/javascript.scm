; inherits: shared/ecmascript
(field_definition property: (_) @name value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @function
(class_heritage (_) @behaviour)
(jsx_opening_element name: (_) @call)
(jsx_self_closing_element name: (_) @call)
