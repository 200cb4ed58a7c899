; Containers
(Decl (VarDecl variable_type_function: (_) @name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl (ContainerDeclType "struct")))))) @struct
(Decl (VarDecl variable_type_function: (_) @name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl (ContainerDeclType "opaque")))))) @struct
(Decl (VarDecl variable_type_function: (_) @name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl (ContainerDeclType "enum")))))) @enum
(Decl (VarDecl variable_type_function: (_) @name
  (ErrorUnionExpr (SuffixExpr (ContainerDecl (ContainerDeclType . "union")))))) @struct

; Definitions
(Decl (FnProto function: (_) @name) (Block) @body) @function
(TestDecl [(STRINGLITERALSINGLE) (IDENTIFIER)] @name (Block) @body) @test

; What stands before a definition and belongs to it
[(doc_comment) (line_comment)] @leading

; Shape
(SuffixExpr (BUILTINIDENTIFIER) @_import (FnCallArguments (ErrorUnionExpr (SuffixExpr (STRINGLITERALSINGLE) @use)))
  (#eq? @_import "@import"))
(SuffixExpr . variable_type_function: (IDENTIFIER) @call . (FnCallArguments))
(FieldOrFnCall function_call: (_) @call)
[(IfStatement) (IfExpr)] @control.if
(SwitchExpr) @control.switch
(LoopStatement) @control.loop
