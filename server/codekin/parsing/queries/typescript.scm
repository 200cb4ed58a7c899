; inherits: shared/ecmascript
(abstract_class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @interface
(enum_declaration name: (_) @name body: (_) @body) @enum
[(internal_module name: (_) @name body: (_) @body) (module name: (_) @name body: (_) @body)] @namespace
(type_alias_declaration name: (_) @name) @type
(public_field_definition name: (_) @name value: [(arrow_function body: (_) @body) (function_expression body: (_) @body)]) @function
(extends_clause value: (_) @behaviour)
(implements_clause (_) @behaviour)
(extends_type_clause type: (_) @behaviour)
