(class_definition name: (identifier) @name) @class
(function_definition name: (identifier) @name) @function
(decorated_definition) @wrapper
(comment) @leading
(call function: (_) @call)
