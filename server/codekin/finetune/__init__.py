"""Fine-tunes the embedding model on a workspace's own code: mine, train, evaluate, gate, publish.

`pipeline` runs the stages; `dataset/` mines, `trainers/` train, `evaluation/` measures, `gate` decides and
`publication` activates or rolls back.
"""
