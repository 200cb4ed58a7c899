; Containers
(message (message_name) @name (message_body) @body) @struct
(enum (enum_name) @name (enum_body) @body) @enum
(service (service_name) @name) @interface

; Definitions
(rpc (rpc_name) @name) @method

; What stands before a definition and belongs to it
(comment) @leading

; Shape
(import path: (_) @use)
(message_or_enum_type) @call
