; Containers
(module name: (_) @name) @module
(class name: (_) @name) @class

; Definitions
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(call
  method: (identifier) @_test
  arguments: (argument_list . (string) @name)
  block: (_)
  (#any-of? @_test "it" "specify" "test" "scenario")) @test
(call
  method: (identifier) @_test
  arguments: (argument_list . (_) @name)
  block: (_)
  (#any-of? @_test "describe" "context" "feature")) @describe

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(superclass (_) @behaviour)
(call !receiver method: (identifier) @_include arguments: (argument_list (constant) @behaviour)
  (#any-of? @_include "include" "extend" "prepend"))
(call !receiver method: (identifier) @_require arguments: (argument_list (string (string_content) @use))
  (#any-of? @_require "require" "require_relative"))
(call method: (identifier) @call)
[(if) (unless) (if_modifier) (unless_modifier) (conditional)] @control.if
[(case) (case_match)] @control.case
(for) @control.for
[(while) (until) (while_modifier) (until_modifier)] @control.loop
[(rescue) (rescue_modifier)] @control.try
(yield) @control.generator
[(lambda) (block) (do_block)] @control.lambda
