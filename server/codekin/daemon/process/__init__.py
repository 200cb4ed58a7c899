"""The process of Codekin."""
