; The file is the module; a header or a script has none.
(source_file (module_attribute name: (_) @name)) @module

; Definitions
(fun_decl clause: (function_clause name: (_) @name)) @function
(record_decl name: (_) @name) @record
(pp_define lhs: (macro_lhs name: (_) @name)) @macro
(type_alias name: (type_name name: (_) @name)) @type
(opaque name: (type_name name: (_) @name)) @type

; What stands before a definition and belongs to it
(comment) @leading
(spec) @owned
(wild_attribute name: (attr_name name: (_) @_attribute) (#eq? @_attribute "doc")) @owned
(wild_attribute name: (attr_name name: (_) @_attribute) value: (_) @doc (#any-of? @_attribute "doc" "moduledoc"))
(callback) @consumer
[(spec) (callback) (type_alias) (opaque) (record_decl)] @quiet

; Shape
(pp_include file: (_) @use)
(pp_include_lib file: (_) @use)
(import_attribute module: (_) @use)
(behaviour_attribute name: (_) @behaviour)
(call expr: (atom) @call)
(call expr: (remote) @call)
(macro_call_expr name: (_) @call)
(internal_fun fun: (_) @call)
(if_expr) @control.if
(case_expr) @control.case
(receive_expr) @control.receive
[(try_expr) (catch_expr)] @control.try
(maybe_expr) @control.maybe
[(anonymous_fun) (internal_fun) (external_fun)] @control.lambda
[(list_comprehension) (binary_comprehension) (map_comprehension)] @control.comprehension
