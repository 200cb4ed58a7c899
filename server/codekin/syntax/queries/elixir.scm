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
(call (do_block) @body)

; What stands before a definition and belongs to it
(comment) @leading
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute)
  (#any-of? @_attribute "doc" "spec" "impl" "deprecated" "since" "tag" "dialyzer" "decorate")) @leading
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . [(string) (sigil)] @doc))
  (#any-of? @_attribute "doc" "moduledoc"))
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . [(boolean) (alias)] @callback))
  (#eq? @_attribute "impl"))
(unary_operator operator: "@") @quiet

; Shape
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . (_) @behaviour))
  (#eq? @_attribute "behaviour"))
(call target: (identifier) @_word (arguments . [(alias) (call)] @use)
  (#any-of? @_word "use" "import"))
(call target: (identifier) @call)
(call target: (dot left: (alias) right: (identifier)) @call)
(call target: (dot left: (atom) right: (identifier)) @call)
(call target: (dot left: (identifier) right: (identifier)) @call (arguments))
(binary_operator operator: "|>" right: (identifier) @call)
(binary_operator operator: "|>") @control.pipe
(anonymous_function) @control.lambda
