"""Text generation: decoder, sampling, drafts, prompts, and the service that shares them."""
