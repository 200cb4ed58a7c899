; Containers
(namespace_declaration name: (_) @name body: (_) @body) @namespace
(class_declaration name: (_) @name body: (_) @body) @class
(struct_declaration name: (_) @name body: (_) @body) @struct
(interface_declaration name: (_) @name body: (_) @body) @interface
(enum_declaration name: (_) @name body: (_) @body) @enum
(record_declaration name: (_) @name) @record

; Definitions
(method_declaration name: (_) @name body: (_) @body) @method
(local_function_statement name: (_) @name body: (_) @body) @function
(constructor_declaration name: (_) @name body: (_) @body) @constructor
(destructor_declaration name: (_) @name body: (_) @body) @destructor
(property_declaration name: (_) @name accessors: (accessor_list) @body) @property
(property_declaration name: (_) @name value: (_) @body) @property
(indexer_declaration "this" @name accessors: (_) @body) @property
(operator_declaration operator: _ @name body: (_) @body) @operator
(delegate_declaration name: (_) @name) @type
(method_declaration (attribute_list (attribute name: (_) @_test)) body: (_)
  (#any-of? @_test "Test" "Fact" "Theory" "TestMethod" "TestCase")) @test

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(using_directive (_) @use)
(base_list (_) @behaviour)
((modifier) @callback (#eq? @callback "override"))
(invocation_expression function: (identifier) @call)
(invocation_expression function: (member_access_expression name: (_) @call))
(object_creation_expression type: (_) @call)
(if_statement) @control.if
(conditional_expression) @control.if
[(switch_statement) (switch_expression)] @control.switch
[(for_statement) (foreach_statement)] @control.for
[(while_statement) (do_statement)] @control.loop
(try_statement) @control.try
[(throw_statement) (throw_expression)] @control.throw
(using_statement) @control.with
(await_expression) @control.await
(lambda_expression) @control.lambda
(query_expression) @control.comprehension
