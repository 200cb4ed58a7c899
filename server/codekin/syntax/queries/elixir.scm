; Containers
(call target: (identifier) @_word (arguments . (_) @name)
  (#eq? @_word "defmodule")) @module
(call target: (identifier) @_word (arguments . (_) @name)
  (#eq? @_word "defprotocol")) @protocol
(call target: (identifier) @_word (arguments . (_) @name)
  (#eq? @_word "defimpl")) @implementation
(call target: (identifier) @_word (arguments . (_) @name) (do_block)
  (#eq? @_word "describe")) @describe

; Definitions
(call target: (identifier) @_word (arguments . (_) @name)
  (#any-of? @_word "def" "defp")) @function
(call target: (identifier) @_word (arguments . (_) @name)
  (#any-of? @_word "defmacro" "defmacrop")) @macro
(call target: (identifier) @_word (arguments . (_) @name)
  (#any-of? @_word "defguard" "defguardp")) @guard
(call target: (identifier) @_word (arguments . (_) @name)
  (#eq? @_word "defdelegate")) @delegate
(call target: (identifier) @_word (arguments . (_) @name) (do_block)
  (#any-of? @_word "test" "property")) @test

; What stands before a definition and belongs to it
(comment) @leading
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute)
  (#any-of? @_attribute "doc" "spec" "impl" "deprecated" "since" "tag" "dialyzer" "decorate")) @leading

; Shape
(call target: (identifier) @call)
(call target: (dot right: (identifier)) @call)
(binary_operator operator: "|>" right: (identifier) @call)
