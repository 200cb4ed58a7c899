; Definitions
(create_table (object_reference) @name) @table
(create_view (object_reference) @name) @table
(create_materialized_view (object_reference) @name) @table
(create_function (object_reference) @name) @function
(create_trigger . (keyword_create) (object_reference) @name) @function
(create_type (object_reference) @name) @type

; What stands before a definition and belongs to it
(statement [
  (create_table) (create_view) (create_materialized_view) (create_function) (create_trigger) (create_type)
]) @wrapper
[(comment) (marginalia)] @leading

; Shape
(invocation (object_reference) @call)
(relation (object_reference) @call)
(case) @control.case
(join) @control.join
(cte) @control.with
