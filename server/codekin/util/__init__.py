"""Small parts that any room may use: files, locks, processes, mounts, names."""
