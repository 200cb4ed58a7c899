"""The HTTP routes, one module per group of features: read the request, call a service, write the response.

Importing them stays light (no torch, numpy or tantivy), since the daemon answers its first handshake after that.
"""
