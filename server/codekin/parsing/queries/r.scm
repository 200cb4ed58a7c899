; Definitions
(binary_operator
  lhs: [(identifier) (string) (namespace_operator) (extract_operator)] @name
  operator: ["<-" "=" "<<-"]
  rhs: (function_definition body: (_) @body)) @function
(call
  function: (identifier) @_method
  arguments: (arguments . (argument value: (string content: (_) @name)))
  (#any-of? @_method "setMethod" "setGeneric")) @method
(call
  function: (identifier) @_class
  arguments: (arguments . (argument value: (string content: (_) @name)))
  (#any-of? @_class "setClass" "setRefClass" "R6Class")) @class
(call
  function: (identifier) @_test
  arguments: (arguments . (argument value: (string content: (_) @name)))
  (#any-of? @_test "test_that" "describe" "it")) @test

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(call function: (identifier) @_library arguments: (arguments (argument value: (_) @use))
  (#any-of? @_library "library" "require"))
(call function: (identifier) @call)
(call function: (namespace_operator) @call)
(if_statement) @control.if
(for_statement) @control.for
[(while_statement) (repeat_statement)] @control.loop
(function_definition) @control.lambda
