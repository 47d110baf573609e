"""Scores of pairs: retrieval, classes by words, the spread of the embeddings."""
