; Definitions: what is put together from other components
(component (start_component (component_name) @name)) @component
(slot (start_slot (slot_name) @name)) @slot

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(start_component (component_name) @call)
(self_closing_component (component_name) @call)
(directive (partial_expression_value) @control.block)
(special_attribute (special_attribute_name) @_name (#eq? @_name ":for")) @control.for
(special_attribute (special_attribute_name) @_name (#eq? @_name ":if")) @control.if
