"""The services of Codekin."""
