; Definitions
(function_definition name: (_) @name body: (_) @body) @function

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(command name: (command_name (word) @_source) . argument: (_) @use (#any-of? @_source "source" "."))
(command name: (command_name (word) @call))
(if_statement) @control.if
(case_statement) @control.case
[(for_statement) (c_style_for_statement)] @control.for
(while_statement) @control.loop
(pipeline) @control.pipe
