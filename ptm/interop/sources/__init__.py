"""Models on disk that others wrote or we did: runs, exports, imports, the Hub."""
