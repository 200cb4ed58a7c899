; Whatever Elixir defines is a call: which words define what stands in the language's row (`forms`).
(call target: (identifier) (arguments)) @form
(call (do_block) @body)

; What stands before a definition and belongs to it, the attributes and Phoenix's declarations wherever they stand
(comment) @leading
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute)
  (#any-of? @_attribute "doc" "spec" "impl" "deprecated" "since" "tag" "dialyzer" "decorate")) @owned
(call target: (identifier) @_declaration (arguments . (atom)) (#any-of? @_declaration "attr" "slot")) @owned
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute)
  (#any-of? @_attribute "callback" "macrocallback")) @consumer
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . [(string) (sigil)] @doc))
  (#any-of? @_attribute "doc" "moduledoc"))
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . [(boolean) (alias)] @callback))
  (#eq? @_attribute "impl"))
(unary_operator operator: "@") @quiet

; Shape
(sigil (sigil_name) @_sigil (quoted_content) @embedded (#any-of? @_sigil "H" "LVN" "F"))
(unary_operator operator: "@" operand: (call target: (identifier) @_attribute (arguments . (_) @behaviour))
  (#eq? @_attribute "behaviour"))
(call target: (identifier) @call)
(call target: (dot left: (alias) right: (identifier)) @call)
(call target: (dot left: (atom) right: (identifier)) @call)
(call target: (dot left: (identifier) right: (identifier)) @call (arguments))
(binary_operator operator: "|>" right: (identifier) @call)
(binary_operator operator: "|>") @control.pipe
(anonymous_function) @control.lambda
