"""The features, one file each: convert in, ask the daemon, convert out."""
