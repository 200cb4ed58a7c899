; The file is the module.
(haskell (header module: (_) @name)) @module

; Definitions
(declarations (data_type name: (_) @name) @type)
(declarations (newtype name: (_) @name) @type)
(declarations (type_synomym name: (_) @name) @type)
(class name: (_) @name) @interface
(instance name: (_) @behaviour patterns: (type_patterns . (_) @name)) @implementation
(declarations [(function name: (_) @name) (bind name: (_) @name)] @function)
(declarations (function (infix operator: (_) @name)) @function)
(class_declarations (function name: (_) @name) @function)
(instance_declarations [(function name: (_) @name) (bind name: (_) @name)] @function)

; What stands before a definition and belongs to it
[(comment) (haddock)] @leading
(signature) @leading

; Shape
(import module: (_) @use)
(apply function: (variable) @call)
(apply function: (qualified) @call)
(infix operator: (infix_id) @call)
(conditional) @control.if
(guards) @control.guard
[(case) (lambda_case)] @control.case
(do) @control.do
(lambda) @control.lambda
(list_comprehension) @control.comprehension
